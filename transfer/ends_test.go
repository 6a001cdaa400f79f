package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/matrixfs/matrixfs/transfer"
	"github.com/matrixfs/matrixfs/transfer/transfertest"
)

// house is a room with alice, who offers, and bob, who is offered.
type house struct {
	*transfertest.Hub
	alice, bob *transfertest.Member
	ctx        context.Context
}

func newHouse(t *testing.T, change func(*transfer.Config)) *house {
	h := transfertest.NewHub(t)
	return &house{h, h.Join(t, "@alice:test", "ALICE", change), h.Join(t, "@bob:test", "BOB", nil), testContext(t)}
}

// offer offers p, and gives what Finish returned through the channel.
func (h *house) offer(t *testing.T, p []byte) (*transfer.Outgoing, <-chan error) {
	t.Helper()
	o, err := h.alice.Exchange.Offer(h.Room, "a.bin")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		err := write(h.ctx, o, p)
		if err == nil {
			err = o.Finish(h.ctx)
		}
		done <- err
	}()
	return o, done
}

// count gives how many messages of a type the room has seen.
func (h *house) count(eventType string) int {
	n := 0
	for _, r := range h.Log() {
		if r.Message.EventType() == eventType {
			n++
		}
	}
	return n
}

func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestReject(t *testing.T) {
	h := newHouse(t, nil)
	o, done := h.offer(t, content(10))
	in := awaitOffer(t, h.bob.Exchange)
	start := time.Now()
	in.Remove()
	wantErr(t, "Finish", <-done, transfer.ErrRejected)
	if d := time.Since(start); d > time.Second {
		t.Errorf("it took %v to be told", d)
	}
	awaitState(t, h.alice.Exchange, o, transfer.Rejected)
	if len(h.bob.Exchange.Incoming()) != 0 {
		t.Error("a rejected offer is still listed")
	}
	if _, err := o.Write(h.ctx, []byte("x")); !errors.Is(err, transfer.ErrRejected) {
		t.Errorf("Write after the end: %v", err)
	}
	wantErr(t, "Accept", in.Accept(), transfer.ErrRejected)
}

// TestRejectByOneOfMany: in a room of three the offer stands until everybody
// has declined.
func TestRejectByOneOfMany(t *testing.T) {
	h := newHouse(t, nil)
	carol := h.Join(t, "@carol:test", "CAROL", nil)
	_, done := h.offer(t, content(10))
	awaitOffer(t, h.bob.Exchange).Remove()
	in := awaitOffer(t, carol.Exchange)
	if _, err := readAll(h.ctx, in); err != nil {
		t.Error(err)
	}
	wantErr(t, "Finish", <-done, nil)

	_, done = h.offer(t, content(10))
	awaitOffer(t, h.bob.Exchange).Remove()
	in.Remove()
	awaitOffer(t, carol.Exchange).Remove()
	wantErr(t, "Finish", <-done, transfer.ErrRejected)
}

// TestOwnDevices: a device of the same user is a peer like any other where
// there is nobody else, and does not decide for others where there is.
func TestOwnDevices(t *testing.T) {
	hub := transfertest.NewHub(t)
	h := &house{hub, hub.Join(t, "@alice:test", "LAPTOP", nil), hub.Join(t, "@alice:test", "PHONE", nil), testContext(t)}
	want := content(100_000)
	_, done := h.offer(t, want)
	in := awaitOffer(t, h.bob.Exchange)
	got, err := readAll(h.ctx, in)
	if err != nil || string(got) != string(want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	wantErr(t, "Finish", <-done, nil)
	if n := len(h.alice.Exchange.Incoming()); n != 0 {
		t.Errorf("the offering device is offered its own file")
	}
	in.Remove()
	_, done = h.offer(t, want)
	awaitOffer(t, h.bob.Exchange).Remove()
	wantErr(t, "declined by the only other device", <-done, transfer.ErrRejected)

	carol := h.Join(t, "@carol:test", "CAROL", nil)
	_, done = h.offer(t, want)
	awaitOffer(t, h.bob.Exchange).Remove()
	if _, err := readAll(h.ctx, awaitOffer(t, carol.Exchange)); err != nil {
		t.Error(err)
	}
	wantErr(t, "declined by an own device, taken by carol", <-done, nil)
}

// TestDeclinedOnAnotherDevice: what a person declines on one device is gone on
// the others.
func TestDeclinedOnAnotherDevice(t *testing.T) {
	h := newHouse(t, nil)
	h.Join(t, "@carol:test", "CAROL", nil) // keeps the offer alive
	phone := h.Join(t, "@bob:test", "PHONE", nil)
	_, done := h.offer(t, content(10))
	awaitOffer(t, phone.Exchange)
	awaitOffer(t, h.bob.Exchange).Remove()
	await(t, phone.Exchange, "the offer to vanish", func() bool { return len(phone.Exchange.Incoming()) == 0 })
	h.alice.Exchange.Close()
	<-done
}

func TestExpire(t *testing.T) {
	h := newHouse(t, func(c *transfer.Config) { c.Lifetime = 300 * time.Millisecond })
	o, done := h.offer(t, content(10))
	in := awaitOffer(t, h.bob.Exchange)
	if s := in.Status(); s.Expires.IsZero() || time.Until(s.Expires) > time.Second {
		t.Errorf("expires %v", s.Expires)
	}
	wantErr(t, "Finish", <-done, transfer.ErrExpired)
	await(t, h.bob.Exchange, "the offer to vanish", func() bool { return len(h.bob.Exchange.Incoming()) == 0 })
	if o.Status().State != transfer.Expired {
		t.Errorf("%+v", o.Status())
	}
	if _, err := readAll(h.ctx, in); !errors.Is(err, transfer.ErrExpired) {
		t.Errorf("reading what has expired: %v", err)
	}
	if n := h.count(transfer.EventCancel); n != 0 {
		t.Errorf("%d cancels; the clock tells everybody", n)
	}
}

// TestExpireWhileWriting: a writer that waits for the window is told too.
func TestExpireWhileWriting(t *testing.T) {
	h := newHouse(t, func(c *transfer.Config) { c.Lifetime = 300 * time.Millisecond })
	_, done := h.offer(t, content(20<<20))
	wantErr(t, "Write", <-done, transfer.ErrExpired)
}

func TestOldInvite(t *testing.T) {
	h := newHouse(t, nil)
	_, done := h.offer(t, content(10))
	awaitOffer(t, h.bob.Exchange).Remove()
	<-done
	invite := h.Log()[0]
	invite.Event = "" // as if it were new
	h.Inject(invite)  // the one that was declined, played again
	late := *invite.Message.(*transfer.Invite)
	late.ID, late.Lifetime = "late", time.Minute
	invite.Message, invite.Age = &late, time.Minute
	h.Inject(invite) // one that is too old
	fresh := late
	fresh.ID = "fresh"
	invite.Message, invite.Age = &fresh, time.Minute-10*time.Second
	h.Inject(invite)
	in := awaitOffer(t, h.bob.Exchange)
	if in.ID() != "fresh" || len(h.bob.Exchange.Incoming()) != 1 {
		t.Errorf("listed: %v and %d more", in.ID(), len(h.bob.Exchange.Incoming())-1)
	}
	if d := time.Until(in.Status().Expires); d > 10*time.Second || d < time.Second {
		t.Errorf("expires in %v", d)
	}
}

// TestCancel ends a transfer at every stage, from either side.
func TestCancel(t *testing.T) {
	for _, stage := range []transfer.State{transfer.Preparing, transfer.Offered, transfer.Connecting, transfer.Streaming} {
		for _, side := range []string{"sender", "receiver", "sender's exchange", "receiver's exchange"} {
			byReceiver := side[0] == 'r'
			if byReceiver && stage <= transfer.Offered {
				continue
			}
			t.Run(fmt.Sprintf("%v by %s", stage, side), func(t *testing.T) { cancelAt(t, stage, side) })
		}
	}
}

func cancelAt(t *testing.T, stage transfer.State, side string) {
	h := newHouse(t, nil)
	hold := make(chan struct{})
	t.Cleanup(func() { close(hold) })
	o, err := h.alice.Exchange.Offer(h.Room, "a.bin")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	var in *transfer.Incoming
	if stage == transfer.Connecting {
		// The answer does not get through.
		h.Filter(func(_ transfer.Peer, m transfer.Message) error {
			if m.EventType() == transfer.EventAnswer {
				<-hold
				return transfer.ErrOffline
			}
			return nil
		})
	}
	if stage > transfer.Preparing {
		go func() { done <- errors.Join(write(h.ctx, o, content(40<<20)), o.Finish(h.ctx)) }()
		in = awaitOffer(t, h.bob.Exchange)
	}
	if stage > transfer.Offered {
		if err := in.Accept(); err != nil {
			t.Fatal(err)
		}
		awaitState(t, h.bob.Exchange, in, stage)
	}
	if stage == transfer.Connecting {
		h.Filter(nil)
	}
	switch side {
	case "sender":
		o.Cancel()
		wantErr(t, "here", o.Err(), transfer.ErrAborted)
	case "receiver":
		in.Cancel()
		wantErr(t, "here", in.Err(), transfer.ErrAborted)
	case "sender's exchange":
		h.alice.Exchange.Close()
		wantErr(t, "here", o.Err(), transfer.ErrClosed)
	case "receiver's exchange":
		h.bob.Exchange.Close()
		wantErr(t, "here", in.Err(), transfer.ErrClosed)
	}
	if stage == transfer.Preparing {
		if len(h.Log()) != 0 {
			t.Error("the room was told of a file that was never offered")
		}
		return
	}
	<-in.Done()
	<-o.Done()
	if err := <-done; err == nil {
		t.Error("Finish says that the file arrived")
	}
	if side[0] == 's' {
		wantErr(t, "over there", in.Err(), transfer.ErrCancelled)
	} else if stage == transfer.Connecting {
		wantErr(t, "over there, where no answer came", o.Err(), transfer.ErrRejected)
	} else {
		wantErr(t, "over there", o.Err(), transfer.ErrCancelled)
	}
	if n := h.count(transfer.EventCancel); n > 1 {
		t.Errorf("%d cancels", n)
	}
}

// TestReaderAfterLoss: a reader of a file that breaks off gets the reason,
// never the end of the file, and the entry stays to say why.
func TestReaderAfterLoss(t *testing.T) {
	h := newHouse(t, nil)
	o, done := h.offer(t, content(40<<20))
	in := awaitOffer(t, h.bob.Exchange)
	r := in.Open()
	defer r.Close()
	buf := make([]byte, 100_000)
	if _, err := r.ReadAt(h.ctx, buf, 0); err != nil {
		t.Fatal(err)
	}
	o.Cancel()
	<-done
	_, err := r.ReadAt(h.ctx, buf, 40<<20-10)
	wantErr(t, "ReadAt", err, transfer.ErrCancelled)
	if len(h.bob.Exchange.Incoming()) != 1 || in.Status().Err == "" {
		t.Errorf("the entry should stay and say why: %+v", in.Status())
	}
	in.Remove()
	if len(h.bob.Exchange.Incoming()) != 0 {
		t.Error("the entry was removed, and is still there")
	}
}

// TestCancelBeforeAccept: an offer that is taken back vanishes.
func TestCancelBeforeAccept(t *testing.T) {
	h := newHouse(t, nil)
	o, done := h.offer(t, content(10))
	awaitOffer(t, h.bob.Exchange)
	o.Cancel()
	<-done
	await(t, h.bob.Exchange, "the offer to vanish", func() bool { return len(h.bob.Exchange.Incoming()) == 0 })
}

// TestRetire: however a transfer ends, both sides say once that it is over, and
// only after the last message.
func TestRetire(t *testing.T) {
	for _, accept := range []bool{true, false} {
		h := newHouse(t, nil)
		o, done := h.offer(t, content(10))
		in := awaitOffer(t, h.bob.Exchange)
		if accept {
			if _, err := readAll(h.ctx, in); err != nil {
				t.Error(err)
			}
		} else {
			in.Remove()
		}
		<-done
		h.alice.Exchange.Close()
		h.bob.Exchange.Close()
		for _, m := range []*transfertest.Member{h.alice, h.bob} {
			if ids := m.Retired(); len(ids) != 1 || ids[0] != o.ID() {
				t.Errorf("%v: %v", m.Self, ids)
			}
		}
	}
}

// TestRestart: an offer that a run of the program left untouched is not retired,
// and the next run may take it. One that the earlier run had answered or
// declined is over.
func TestRestart(t *testing.T) {
	h := newHouse(t, nil)
	want := content(100_000)
	o, done := h.offer(t, want)
	awaitOffer(t, h.bob.Exchange)
	h.bob.Exchange.Close()
	if ids := h.bob.Retired(); len(ids) != 0 {
		t.Errorf("an offer that nobody touched is retired: %v", ids)
	}
	again := h.Join(t, "@bob:test", "BOB", nil)
	for _, r := range h.Log() {
		again.Exchange.Receive(r)
	}
	if got, err := readAll(h.ctx, awaitOffer(t, again.Exchange)); err != nil || string(got) != string(want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	wantErr(t, "Finish", <-done, nil)

	for _, end := range []transfer.Message{
		&transfer.Answer{ID: o.ID(), SDP: "v=0", Ext: &transfer.Extension{Version: 1, Device: "BOB"}},
		&transfer.Cancel{ID: o.ID(), Ext: &transfer.Extension{Version: 1, Device: "BOB"}},
	} {
		third := h.Join(t, "@bob:test", "BOB", nil)
		third.Exchange.Receive(h.Log()[0])
		in := awaitOffer(t, third.Exchange)
		third.Exchange.Receive(transfer.Received{Room: h.Room, From: transfer.Peer{User: "@bob:test"}, Message: end})
		<-in.Done()
		wantErr(t, end.EventType(), in.Err(), transfer.ErrElsewhere)
	}
}

func TestOffline(t *testing.T) {
	h := newHouse(t, nil)
	h.Filter(func(transfer.Peer, transfer.Message) error { return fmt.Errorf("%w: no route", transfer.ErrOffline) })
	_, done := h.offer(t, content(10))
	wantErr(t, "Finish", <-done, transfer.ErrOffline)
}

// TestCloseRoom: a room that may not be used any more ends what is open in it.
func TestCloseRoom(t *testing.T) {
	h := newHouse(t, nil)
	_, done := h.offer(t, content(10))
	in := awaitOffer(t, h.bob.Exchange)
	h.alice.Exchange.CloseRoom("!other:test", "gone")
	h.bob.Exchange.CloseRoom(h.Room, "gone")
	wantErr(t, "in", in.Err(), transfer.ErrNotAllowed)
	h.alice.Exchange.CloseRoom(h.Room, "gone")
	wantErr(t, "Finish", <-done, transfer.ErrNotAllowed)
}

// TestCloseUser: what somebody who is ignored offers is not there any more, and
// what is offered to them is.
func TestCloseUser(t *testing.T) {
	h := newHouse(t, nil)
	h.offer(t, content(10))
	in := awaitOffer(t, h.bob.Exchange)
	h.alice.Exchange.CloseUser(h.bob.Self.User, "ignored")
	h.bob.Exchange.CloseUser(h.bob.Self.User, "ignored")
	if list := h.bob.Exchange.Incoming(); len(list) != 1 {
		t.Fatalf("%d offers", len(list))
	}
	h.bob.Exchange.CloseUser(h.alice.Self.User, "ignored")
	wantErr(t, "in", in.Err(), transfer.ErrNotAllowed)
	if list := h.bob.Exchange.Incoming(); len(list) != 0 {
		t.Fatalf("%d offers of somebody who is ignored", len(list))
	}
	if all := h.alice.Exchange.Status(); len(all) != 1 || all[0].State.Ended() {
		t.Fatalf("the sender's side: %+v", all)
	}
}

func TestClosedExchange(t *testing.T) {
	h := newHouse(t, nil)
	h.alice.Exchange.Close()
	if _, err := h.alice.Exchange.Offer(h.Room, "x"); !errors.Is(err, transfer.ErrClosed) {
		t.Errorf("Offer: %v", err)
	}
}
