package transfer_test

import (
	"bytes"
	"crypto/sha256"
	"testing"

	"github.com/matrixfs/matrixfs/transfer"
)

// TestHash offers files with their hashes, some of them false.
func TestHash(t *testing.T) {
	for _, c := range []struct {
		name      string
		size      int
		announced bool // the hash, before the first byte
		lie       bool
	}{
		{"finished before the invite", 1000, false, false},
		{"empty", 0, false, false},
		{"announced", 3_000_000, true, false},
		{"false", 3_000_000, true, true},
		{"false, in one message", 1000, false, true},
		{"false, empty", 0, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, nil)
			if c.lie {
				h.Filter(func(_ transfer.Peer, m transfer.Message) error {
					if in, ok := m.(*transfer.Invite); ok {
						other := *in.Ext.SHA256
						other[0] ^= 1
						in.Ext.SHA256 = &other
					}
					return nil
				})
			}
			want := content(c.size)
			sum := transfer.Hash(sha256.Sum256(want))
			o, err := h.alice.Exchange.Offer(h.Room, "a.bin")
			if err != nil {
				t.Fatal(err)
			}
			if c.announced {
				o.SetSize(int64(c.size))
				o.SetHash(&sum)
			}
			done := make(chan error, 1)
			go func() {
				err := write(h.ctx, o, want)
				if err == nil {
					err = o.Finish(h.ctx)
				}
				done <- err
			}()
			in := awaitOffer(t, h.bob.Exchange)
			if in.Status().SHA256 == "" || !c.lie && in.Status().SHA256 != sum.String() || o.Status().SHA256 != sum.String() {
				t.Errorf("offered as %q, received as %q", o.Status().SHA256, in.Status().SHA256)
			}
			got, err := readAll(h.ctx, in)
			if !c.lie {
				wantErr(t, "reading", err, nil)
				wantErr(t, "Finish", <-done, nil)
				if !bytes.Equal(got, want) {
					t.Error("not what was sent")
				}
				return
			}
			wantErr(t, "reading", err, transfer.ErrHash)
			wantErr(t, "Finish", <-done, transfer.ErrHash)
			if n := h.count(transfer.EventCancel); n != 1 {
				t.Errorf("%d cancels", n)
			}
			if len(h.bob.Exchange.Incoming()) != 1 || in.Status().Err == "" {
				t.Errorf("the entry should stay and say why: %+v", in.Status())
			}
			if c.size > 0 {
				r := in.Open()
				defer r.Close()
				_, err := r.ReadAt(h.ctx, make([]byte, 1), int64(c.size-1))
				wantErr(t, "the last byte", err, transfer.ErrHash)
			}
		})
	}
}

// TestNoHash: a file that is offered while it is being written has none, and
// neither has one whose size turned out wrong in time.
func TestNoHash(t *testing.T) {
	h := newHouse(t, nil)
	o, err := h.alice.Exchange.Offer(h.Room, "a.bin")
	if err != nil {
		t.Fatal(err)
	}
	o.SetSize(10)
	o.SetHash(new(transfer.Hash))
	if err := write(h.ctx, o, content(1000)); err != nil {
		t.Fatal(err)
	}
	o.Invite()
	if s := awaitOffer(t, h.bob.Exchange).Status(); s.SHA256 != "" || s.Size != -1 {
		t.Errorf("offered as %+v", s)
	}
	o.Cancel()
}
