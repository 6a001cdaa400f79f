package transfer_test

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/matrixfs/matrixfs/transfer"
)

// stages bring an offer of 8 MiB to where somebody goes back in it. They give
// how to receive the rest.
var stages = []struct {
	name  string
	bring func(*testing.T, *house, *transfer.Outgoing) (receive func() []byte)
	// front is what becomes of a change near the start of the file.
	front error
}{
	{"before the invite", func(t *testing.T, h *house, _ *transfer.Outgoing) func() []byte { return h.take(t) }, nil},
	{"offered", func(t *testing.T, h *house, o *transfer.Outgoing) func() []byte {
		o.Invite()
		awaitState(t, h.alice.Exchange, o, transfer.Offered)
		return h.take(t)
	}, nil},
	{"partly acknowledged", stall, transfer.ErrBehind},
}

// take gives what reads the file on bob's side.
func (h *house) take(t *testing.T) func() []byte {
	return func() []byte {
		got, err := readAll(h.ctx, awaitOffer(t, h.bob.Exchange))
		wantErr(t, "reading", err, nil)
		return got
	}
}

// stall has somebody accept who does not take more than what fits into the
// buffers on the way.
func stall(t *testing.T, h *house, o *transfer.Outgoing) func() []byte {
	s := newStranger(t, h, o.ID(), 0)
	goOn := make(chan struct{})
	letGo := sync.OnceFunc(func() { close(goOn) })
	t.Cleanup(letGo)
	result := s.receiveWith(0, func(webrtc.DataChannelMessage) { <-goOn })
	o.Invite()
	for before := int64(-1); before <= 0 || before != o.Status().Bytes; time.Sleep(300 * time.Millisecond) {
		before = o.Status().Bytes // until no more moves
	}
	return func() []byte {
		letGo()
		return bytes.Join(<-result, nil)
	}
}

// TestGoBack changes, cuts and reads back a file at every stage.
func TestGoBack(t *testing.T) {
	const size, front, back = 8 << 20, 40, 6 << 20
	for _, c := range stages {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, nil)
			o, err := h.alice.Exchange.Offer(h.Room, "a.bin")
			if err != nil {
				t.Fatal(err)
			}
			want := content(size)
			if err := write(h.ctx, o, want); err != nil {
				t.Fatal(err)
			}
			receive := c.bring(t, h, o)
			header := []byte("a header that is known at the end")
			check := func(off int, outcome error) {
				wantErr(t, "Rewrite", o.Rewrite(header, int64(off)), outcome)
				if outcome == nil {
					copy(want[off:], header)
				}
				p := make([]byte, 100)
				n, err := o.ReadBack(p, int64(off))
				wantErr(t, "ReadBack", err, outcome)
				if err == nil && !bytes.Equal(p[:n], want[off:][:100]) {
					t.Errorf("at %d something else is read back", off)
				}
			}
			check(front, c.front)
			check(back, nil)
			wantErr(t, "Rewrite beyond the end", o.Rewrite(header, size-1), transfer.ErrBehind)
			if n, err := o.ReadBack(make([]byte, 100), size-1); n != 1 || err != nil {
				t.Errorf("reading back at the end: %d, %v", n, err)
			}
			wantErr(t, "Truncate, at the back", o.Truncate(back+10), nil)
			want = want[:back+10]
			wantErr(t, "Truncate, at the front", o.Truncate(front), c.front)
			if c.front == nil {
				want = want[:front]
			}
			if err := write(h.ctx, o, header); err != nil {
				t.Fatal(err)
			}
			want = append(want, header...)
			done := make(chan error, 1)
			go func() { done <- o.Finish(h.ctx) }()
			if got := receive(); !bytes.Equal(got, want) {
				t.Errorf("%d bytes arrived, which are not the %d that the file has in the end", len(got), len(want))
			}
			wantErr(t, "Finish", <-done, nil)
			if o.Rewrite(nil, 0) == nil || o.Truncate(0) == nil {
				t.Error("a file that was delivered can be changed")
			}
			_, err = o.ReadBack(header, 0)
			wantErr(t, "ReadBack after the end", err, transfer.ErrBehind)
		})
	}
}

// TestGoBackCancelled: the reason for the end is what a program sees.
func TestGoBackCancelled(t *testing.T) {
	h := newHouse(t, nil)
	o, err := h.alice.Exchange.Offer(h.Room, "a.bin")
	if err != nil {
		t.Fatal(err)
	}
	if err := write(h.ctx, o, content(10)); err != nil {
		t.Fatal(err)
	}
	impatient, stop := context.WithCancel(h.ctx)
	stop()
	wantErr(t, "Finish", o.Finish(impatient), context.Canceled)
	if o.Rewrite([]byte("x"), 0) == nil || o.Truncate(0) == nil {
		t.Error("a file that is finished can be changed")
	}
	o.Cancel()
	_, err = o.ReadBack(make([]byte, 1), 0)
	wantErr(t, "ReadBack", err, transfer.ErrBehind)
	wantErr(t, "Rewrite", o.Rewrite([]byte("x"), 0), transfer.ErrAborted)
	wantErr(t, "Truncate", o.Truncate(0), transfer.ErrAborted)
}

// TestSyncAfterTruncate: what is cut off is not waited for.
func TestSyncAfterTruncate(t *testing.T) {
	h := newHouse(t, nil)
	o, err := h.alice.Exchange.Offer(h.Room, "a.bin")
	if err != nil {
		t.Fatal(err)
	}
	if err := write(h.ctx, o, content(1000)); err != nil {
		t.Fatal(err)
	}
	synced := make(chan error, 1)
	go func() { synced <- o.Sync(h.ctx) }()
	awaitState(t, h.alice.Exchange, o, transfer.Offered) // Sync asks for that
	wantErr(t, "Truncate", o.Truncate(10), nil)
	if err := awaitOffer(t, h.bob.Exchange).Accept(); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "Sync", <-synced, nil)
	o.Cancel()
}
