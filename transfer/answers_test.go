package transfer_test

import (
	"bytes"
	"errors"
	"sync"
	"testing"

	"github.com/matrixfs/matrixfs/transfer"
	"github.com/matrixfs/matrixfs/transfer/transfertest"
)

// TestTwoAnswers: two devices of the receiver accept at once; one gets the
// file, the other is told that it was answered elsewhere. Plain ones see it
// from the order of the answers in the room.
func TestTwoAnswers(t *testing.T) {
	for _, plain := range []bool{false, true} {
		for range 5 {
			h := newHouse(t, nil)
			phone := h.Join(t, "@bob:test", "PHONE", nil)
			h.alice.Plain = plain
			want := content(300_000)
			_, done := h.offer(t, want)
			ins := []*transfer.Incoming{awaitOffer(t, h.bob.Exchange), awaitOffer(t, phone.Exchange)}
			var wg sync.WaitGroup
			errs := make([]error, 2)
			for i, in := range ins {
				wg.Go(func() {
					var got []byte
					if got, errs[i] = readAll(h.ctx, in); errs[i] == nil && !bytes.Equal(got, want) {
						t.Error("not what was sent")
					}
				})
			}
			wg.Wait()
			wantErr(t, "Finish", <-done, nil)
			if errs[0] != nil {
				errs[0], errs[1] = errs[1], errs[0]
			}
			wantErr(t, "the winner", errs[0], nil)
			wantErr(t, "the other", errs[1], transfer.ErrElsewhere)
			n := len(h.bob.Exchange.Incoming()) + len(phone.Exchange.Incoming())
			if n != 1 {
				t.Errorf("%d entries are left; one should vanish", n)
			}
		}
	}
}

// TestAnsweredElsewhereVanishes: an offer that another device has taken
// vanishes on those that did nothing.
func TestAnsweredElsewhereVanishes(t *testing.T) {
	for _, plain := range []bool{false, true} {
		h := newHouse(t, nil)
		carol := h.Join(t, "@carol:test", "CAROL", nil)
		h.alice.Plain = plain
		_, done := h.offer(t, content(10))
		idle := awaitOffer(t, carol.Exchange)
		if _, err := readAll(h.ctx, awaitOffer(t, h.bob.Exchange)); err != nil {
			t.Error(err)
		}
		wantErr(t, "Finish", <-done, nil)
		<-idle.Done()
		wantErr(t, "carol", idle.Err(), transfer.ErrElsewhere)
		if len(carol.Exchange.Incoming()) != 0 {
			t.Error("still listed for carol")
		}
	}
}

// TestBadAnswers: answers that can't be taken do not use up the offer.
func TestBadAnswers(t *testing.T) {
	h := newHouse(t, nil)
	_, done := h.offer(t, content(10))
	in := awaitOffer(t, h.bob.Exchange)
	for _, sdp := range []string{"x", "v=0", "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"} {
		h.Inject(transfer.Received{From: transfer.Peer{User: "@mallory:test"},
			Message: &transfer.Answer{ID: in.ID(), SDP: sdp}})
	}
	if _, err := readAll(h.ctx, in); err != nil {
		t.Error(err)
	}
	wantErr(t, "Finish", <-done, nil)
}

// TestLateAnswer: an answer to an offer that is over is told so, once.
func TestLateAnswer(t *testing.T) {
	h := newHouse(t, nil)
	o, done := h.offer(t, content(10))
	in := awaitOffer(t, h.bob.Exchange)
	blocked := make(chan struct{})
	h.Filter(func(_ transfer.Peer, m transfer.Message) error {
		if m.EventType() == transfer.EventCancel {
			select {
			case <-blocked:
			default:
				return errors.New("lost on the way")
			}
		}
		return nil
	})
	o.Cancel()
	<-done
	await(t, h.alice.Exchange, "the offer to be over", func() bool {
		for _, s := range h.alice.Exchange.Status() {
			if s.ID == o.ID() && !s.Ended.IsZero() {
				return true
			}
		}
		return false
	})
	close(blocked)
	_, err := readAll(h.ctx, in)
	wantErr(t, "reading", err, transfer.ErrCancelled)
	if n := h.count(transfer.EventCancel); n != 1 {
		t.Errorf("%d cancels", n)
	}
}

// TestStrangersMessages: what does not come from a device that it can belong
// to does nothing.
func TestStrangersMessages(t *testing.T) {
	h := newHouse(t, nil)
	h.Join(t, "@mallory:test", "MALLORY", nil)
	want := content(30 << 20)
	o, done := h.offer(t, want)
	in := awaitOffer(t, h.bob.Exchange)
	mallory := transfer.Peer{User: "@mallory:test"}
	cancel := transfer.Received{From: mallory, Message: &transfer.Cancel{ID: in.ID()}}
	chosen := transfer.Received{From: mallory, Message: &transfer.Candidates{ID: in.ID(), Ext: &transfer.Extension{
		Version: 1, Device: "ALICE", Chosen: &transfer.Chosen{User: "@mallory:test"}}}}
	otherDevice := transfer.Received{From: transfer.Peer{User: "@alice:test"}, Message: &transfer.Cancel{ID: in.ID(),
		Ext: &transfer.Extension{Version: 1, Device: "ANOTHER"}}}
	h.Inject(cancel)
	h.Inject(chosen)
	h.Inject(otherDevice)
	r := in.Open()
	defer r.Close()
	if _, err := r.ReadAt(h.ctx, make([]byte, 100), 0); err != nil {
		t.Fatal(err)
	}
	h.Inject(cancel)
	h.Inject(chosen)
	h.Inject(otherDevice)
	got, err := readAll(h.ctx, in)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	wantErr(t, "Finish", <-done, nil)
	if o.Status().Peer != h.bob.Self {
		t.Errorf("delivered to %v", o.Status().Peer)
	}
}

// TestOrphans: messages that overtake their invite are not lost.
func TestOrphans(t *testing.T) {
	h := newHouse(t, nil)
	h.Inject(transfer.Received{From: transfer.Peer{User: "@alice:test"}, Message: &transfer.Cancel{ID: "1"}})
	_, done := h.offer(t, content(10))
	in := awaitOffer(t, h.bob.Exchange)
	invite := *h.Log()[1].Message.(*transfer.Invite)
	invite.ID, invite.Ext = "1", nil
	h.Inject(transfer.Received{From: transfer.Peer{User: "@alice:test"}, Message: &invite})
	await(t, h.bob.Exchange, "the cancelled one to be over", func() bool {
		for _, s := range h.bob.Exchange.Status() {
			if s.ID == "1" && s.State == transfer.Cancelled {
				return true
			}
		}
		return false
	})
	if list := h.bob.Exchange.Incoming(); len(list) != 1 || list[0] != in {
		t.Errorf("%d listed", len(list))
	}
	in.Remove()
	<-done
}

// TestFlood: one sender can't fill the list, and others still get through.
func TestFlood(t *testing.T) {
	h := newHouse(t, nil)
	_, done := h.offer(t, content(10))
	first := awaitOffer(t, h.bob.Exchange)
	invite := *h.Log()[0].Message.(*transfer.Invite)
	invite.Ext = nil
	for range 3000 {
		m := invite
		m.ID = transfer.NewID()
		h.bob.Exchange.Receive(transfer.Received{Room: h.Room, From: transfer.Peer{User: "@mallory:test"}, Message: &m})
	}
	n := len(h.bob.Exchange.Incoming())
	if n > 300 {
		t.Errorf("%d offers of one flood are listed", n-1)
	}
	// Candidates and cancels for transfers that do not exist cost a bounded
	// amount too.
	for range 3000 {
		h.bob.Exchange.Receive(transfer.Received{Room: h.Room, From: transfer.Peer{User: "@mallory:test"},
			Message: &transfer.Candidates{ID: transfer.NewID()}})
	}
	if _, err := readAll(h.ctx, first); err != nil {
		t.Error(err)
	}
	wantErr(t, "Finish", <-done, nil)
}

// TestMinTrust: where trust is asked for, messages without it do nothing.
func TestMinTrust(t *testing.T) {
	hub := transfertest.NewHub(t)
	careful := func(c *transfer.Config) { c.MinTrust = transfer.TrustIdentity }
	h := &house{hub, hub.Join(t, "@alice:test", "ALICE", nil), hub.Join(t, "@bob:test", "BOB", careful), testContext(t)}
	o, done := h.offer(t, content(10))
	await(t, h.alice.Exchange, "the invite", func() bool { return o.Status().State == transfer.Offered })
	invite := h.Log()[0]
	again := *invite.Message.(*transfer.Invite)
	again.ID = "trusted"
	invite.Message, invite.Trust, invite.Event = &again, transfer.TrustIdentity, ""
	h.Inject(invite)
	in := awaitOffer(t, h.bob.Exchange)
	if in.ID() != "trusted" || len(h.bob.Exchange.Incoming()) != 1 || in.Status().Trust != transfer.TrustIdentity {
		t.Errorf("%+v and %d more", in.Status(), len(h.bob.Exchange.Incoming())-1)
	}
	o.Cancel()
	<-done
}

func TestTrustText(t *testing.T) {
	for trust := transfer.TrustNone; trust <= transfer.TrustVerified; trust++ {
		text, _ := trust.MarshalText()
		back := transfer.Trust(-1)
		if err := back.UnmarshalText(text); err != nil || back != trust {
			t.Errorf("%q reads back as %v, %v", text, back, err)
		}
	}
	if new(transfer.Trust).UnmarshalText([]byte("blind")) == nil {
		t.Error("a trust that does not exist was read")
	}
}

// TestRepeat: an invite that nobody has answered is sent once more, and is the
// same offer to those who know it.
func TestRepeat(t *testing.T) {
	h := newHouse(t, nil)
	invites := make(chan struct{}, 10)
	h.Filter(func(_ transfer.Peer, m transfer.Message) error {
		if _, ok := m.(*transfer.Invite); ok {
			invites <- struct{}{}
		}
		return nil
	})
	out, done := h.offer(t, content(10))
	in := awaitOffer(t, h.bob.Exchange)
	awaitState(t, h.alice.Exchange, out, transfer.Offered)
	<-invites
	h.alice.Exchange.Repeat("!other:test")
	h.alice.Exchange.Repeat(h.Room)
	<-invites
	h.alice.Exchange.Repeat(h.Room)
	if got, err := readAll(t.Context(), in); err != nil || len(got) != 10 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	wantErr(t, "Finish", <-done, nil)
	if len(invites) != 0 {
		t.Error("the invite was repeated again")
	}
	if list := h.bob.Exchange.Incoming(); len(list) != 1 {
		t.Errorf("%d offers", len(list))
	}
}
