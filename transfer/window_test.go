package transfer

import (
	"bytes"
	"crypto/sha256"
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

// TestWindowGoesBack changes, cuts and reads what is in the window at random
// places, beside a model, and checks that what has left stays as it was.
func TestWindowGoesBack(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	random := func(n int) []byte {
		p := make([]byte, n)
		for i := range p {
			p[i] = byte(r.Uint32())
		}
		return p
	}
	var w window
	var model, left []byte // what the file is, and what has been sent of it
	type message struct {
		off int64
		p   []byte
	}
	var unacked []message
	for range 20_000 {
		off := int64(r.IntN(len(model)+2)) - 1
		switch r.IntN(3) { // where it is sure to matter
		case 0:
			off = max(0, w.sent-10+int64(r.IntN(100)))
		case 1:
			off = max(0, w.acked-3+int64(r.IntN(6)))
		}
		p := random(r.IntN(300))
		end := off + int64(len(p))
		switch r.IntN(6) {
		case 0:
			if len(model) < 1<<20 {
				w.write(p)
				model = append(model, p...)
			}
		case 1:
			if ok := w.rewrite(p, off); ok != (off >= w.sent && end <= w.end) {
				t.Fatalf("rewrite of %d bytes at %d: %v; sent %d, end %d", len(p), off, ok, w.sent, w.end)
			} else if ok {
				copy(model[off:], p)
			}
		case 2:
			off = w.end - int64(r.IntN(100))
			if ok := w.truncate(off); ok != (off >= w.sent) {
				t.Fatalf("truncate to %d: %v; sent %d", off, ok, w.sent)
			} else if ok {
				model = model[:off]
			}
		case 3:
			n, ok := w.read(p, off)
			if ok != (off >= w.acked) || ok && (n != int(max(0, min(end, w.end)-off)) || !bytes.Equal(p[:n], model[min(off, w.end):][:n])) {
				t.Fatalf("read of %d bytes at %d: %d, %v; acked %d, end %d", len(p), off, n, ok, w.acked, w.end)
			}
		case 4:
			sent := w.sent
			if m := w.next(r.IntN(200) + 1); m != nil {
				left = append(left, m...)
				unacked = append(unacked, message{sent, m})
			}
		case 5:
			if len(unacked) > 0 {
				w.ack(unacked[0].off + int64(len(unacked[0].p)))
				unacked = unacked[1:]
			}
		}
		for _, m := range unacked {
			if !bytes.Equal(m.p, left[m.off:m.off+int64(len(m.p))]) {
				t.Fatal("bytes changed after they were sent")
			}
		}
	}
	if !bytes.Equal(left, model[:len(left)]) || len(left) < 100_000 {
		t.Errorf("what was sent (%d bytes) is not what was written", len(left))
	}
}

func TestWindowHash(t *testing.T) {
	var w window
	if *w.hash() != sha256.Sum256(nil) {
		t.Error("the hash of nothing is wrong")
	}
	p := numbered(5, 1_000_000)
	w.write(p)
	if *w.hash() != sha256.Sum256(p) {
		t.Error("the hash is wrong")
	}
}
