package transfer

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestWindow moves a file through the window in random steps, and checks that
// every byte comes out once, in order, and that the bound holds.
func TestWindow(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var w window
	var want, got []byte
	var unacked [][]byte // slices that must stay right until acknowledged
	for len(want) < 40<<20 || w.sent < w.end {
		if n := r.IntN(MaxWrite); len(want) < 40<<20 && w.fits(n) {
			p := make([]byte, n)
			for i := range p {
				p[i] = byte(len(want) + i*7)
			}
			w.write(p)
			want = append(want, p...)
		}
		for range r.IntN(40) {
			if p := w.next(64 << 10); p != nil {
				got = append(got, p...)
				unacked = append(unacked, p)
			}
		}
		if w.end-w.acked > windowSize || len(w.ring) > windowSize {
			t.Fatalf("%d bytes in the window, ring of %d", w.end-w.acked, len(w.ring))
		}
		for n := r.IntN(len(unacked) + 1); n > 0; n-- {
			p := unacked[0]
			if !bytes.Equal(p, want[w.acked:w.acked+int64(len(p))]) {
				t.Fatal("bytes changed before they were acknowledged")
			}
			w.ack(w.acked + int64(len(p)))
			unacked = unacked[1:]
		}
	}
	if !bytes.Equal(got, want) {
		t.Error("what came out is not what went in")
	}
}

func TestWindowHead(t *testing.T) {
	var w window
	if w.head(10) != nil {
		t.Error("an empty window has a head")
	}
	w.write([]byte("hello"))
	if got := w.head(4); string(got) != "hell" {
		t.Errorf("head: %q", got)
	}
	w.next(5)
	w.ack(1 << 40)
	if w.acked != 5 {
		t.Errorf("more acknowledged than sent: %d", w.acked)
	}
	if w.head(4) != nil {
		t.Error("a head after it is gone")
	}
}
