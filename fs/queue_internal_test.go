package fs

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestQueue does all that can be done to a queue, beside a model of it.
func TestQueue(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	random := func(n int) []byte {
		p := make([]byte, n)
		for i := range p {
			p[i] = byte(r.Uint32())
		}
		return p
	}
	var q queue
	var model []byte
	rewritten := 0
	for range 50_000 {
		at := r.IntN(len(model) + 1)
		switch r.IntN(8) {
		case 0:
			if len(model) < 3000 {
				gap, p := r.IntN(100), random(r.IntN(30)+1)
				q.push(segment{int64(gap), p})
				model = append(append(model, make([]byte, gap)...), p...)
			}
		case 1:
			if len(model) < 3000 {
				q.push(segment{zeros: 7})
				model = append(model, make([]byte, 7)...)
			}
		case 2:
			if p := q.next(); p != nil {
				n := r.IntN(min(len(p), 20)) + 1
				if !bytes.Equal(p, model[:len(p)]) {
					t.Fatal("next gives something else")
				}
				q.pop(n)
				model = model[n:]
			}
		case 3:
			if r.IntN(20) == 0 {
				q.truncate(int64(at))
				model = model[:at]
			}
		case 4, 5:
			p := random(r.IntN(len(model) - at + 1))
			if q.rewrite(p, int64(at)) {
				copy(model[at:], p)
				rewritten++
			}
		default:
			p := make([]byte, r.IntN(200))
			n := q.read(p, int64(at))
			if !bytes.Equal(p[:n], model[at:min(len(model), at+len(p))]) {
				t.Fatalf("%d bytes of %d at %d are read, which are not those", n, len(p), at)
			}
		}
		held := 0
		for _, g := range q.segments {
			held += len(g.data)
		}
		if q.length != int64(len(model)) || q.held != held {
			t.Fatalf("%d bytes, should be %d; %d of them are held, should be %d", q.length, len(model), q.held, held)
		}
	}
	if rewritten < 1000 {
		t.Errorf("only %d times anything was rewritten", rewritten)
	}
}

// TestQueueBounded: gaps can be filled only so far.
func TestQueueBounded(t *testing.T) {
	var q queue
	q.push(segment{zeros: 1 << 40})
	for i := range int64(maxSegments) {
		q.rewrite([]byte("x"), i*10)
	}
	if len(q.segments) > maxSegments || q.rewrite([]byte("x"), 1<<30) {
		t.Errorf("%d segments, and more can come", len(q.segments))
	}
	q = queue{}
	q.push(segment{zeros: 1 << 40})
	big := make([]byte, 1<<20)
	for i := range int64(maxQueue / (1 << 20)) {
		if !q.rewrite(big, i<<20) {
			t.Fatalf("refused after %d MiB", i)
		}
	}
	if q.rewrite(big, 1<<30) {
		t.Error("there is no bound")
	}
}
