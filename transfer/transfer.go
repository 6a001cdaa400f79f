package transfer

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// inboxSize bounds the messages that wait for one transfer. A peer needs a
// handful; what is over is dropped.
const inboxSize = 64

// cancelWait is how much later than the end of a connection the message that
// explains it may come. Homeservers take some ten milliseconds.
const cancelWait = time.Second

// transfer is what an outgoing and an incoming one have in common: a state
// that only step changes, a context that ends with it, and an inbox that its
// one goroutine empties.
type transfer struct {
	x     *Exchange
	id    ID
	room  RoomID
	log   *slog.Logger
	inbox chan Received

	// ctx ends when the transfer does, with the reason as its cause.
	ctx    context.Context
	cancel context.CancelCauseFunc
	// done is closed when the transfer has ended.
	done chan struct{}

	mu      sync.Mutex // guards all below, and what the outer type says
	changed broadcast  // woken at every change
	state   State
	err     error // why it ended, if not well
	info    FileInfo
	hash    *Hash // of the whole file, where the offer tells
	peer    Peer
	trust   Trust
	bytes   int64 // what the receiving device has
	meter   meter
	path    string
	pathOf  func() string // nil while not connected; empty where not known
	created time.Time
	expires time.Time
	ended   time.Time
}

func (t *transfer) init(x *Exchange, dir Direction, room RoomID, id ID) {
	t.x, t.room, t.id = x, room, id
	t.log = x.log.With("room", room, "transfer", id, "direction", dir.String())
	t.inbox = make(chan Received, inboxSize)
	t.done = make(chan struct{})
	t.created = time.Now()
	t.ctx, t.cancel = context.WithCancelCause(x.ctx)
}

// step lets e happen, if the state allows it, and reports whether it did. why
// is the reason where e is an end other than evComplete.
func (t *transfer) step(e event, why error) bool {
	t.mu.Lock()
	to, ok := t.state.next(e)
	if !ok {
		t.mu.Unlock()
		return false
	}
	t.log.Debug("transfer", "event", e.String(), "from", t.state.String(), "to", to.String(), "reason", why)
	t.state = to
	if to.Ended() {
		t.err = why
		t.ended = time.Now()
		t.lookAtPath() // the connection goes next
		t.pathOf = nil
		close(t.done)
	}
	t.changed.wake()
	t.mu.Unlock()
	if to.Ended() && to != Delivered {
		t.cancel(why)
	}
	t.x.notify()
	return true
}

// end ends the transfer for a reason, which nil makes a good one. The first
// end is the end: a later one changes nothing.
func (t *transfer) end(why error) bool {
	e := endEvent(why)
	if t.step(e, why) {
		return true
	}
	// A reason that does not fit the state (a refusal after the answer) ends
	// the transfer all the same. Only completing has to fit.
	return e != evComplete && t.step(evFail, why)
}

// endEvent gives the event that an error amounts to.
func endEvent(why error) event {
	switch {
	case why == nil:
		return evComplete
	case errors.Is(why, ErrRejected):
		return evReject
	case errors.Is(why, ErrExpired):
		return evExpire
	case errors.Is(why, ErrElsewhere):
		return evElsewhere
	case errors.Is(why, ErrCancelled), errors.Is(why, ErrAborted), errors.Is(why, ErrClosed):
		return evCancel
	}
	return evFail
}

// deliver hands a message to the transfer's goroutine. It never waits.
func (t *transfer) deliver(r Received) {
	select {
	case t.inbox <- r:
	default:
		t.log.Debug("inbox full, message dropped", "type", r.Message.EventType(), "from", r.From.String())
	}
}

// tell sends a message that the transfer does not depend on, and reports
// whether it went out.
func (t *transfer) tell(ctx context.Context, m Message) bool {
	_, err := t.x.cfg.Signaller.Send(ctx, t.room, m)
	if err != nil {
		t.log.Info("message not sent", "type", m.EventType(), "error", err)
	}
	return err == nil
}

// tellCancel tells the room why we ended the transfer. The transfer's own
// context has ended by now, so one of its own is used, with a bound. It reports
// whether the message went out.
func (t *transfer) tellCancel(reason string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	return t.tell(ctx, &Cancel{ID: t.id, Ext: t.x.extension(reason)})
}

// clarify looks behind a lost connection: a peer that ends a transfer hangs up
// too, and its message comes by another way. So a loss waits a moment for a
// better reason.
func (t *transfer) clarify(err error) error {
	if !errors.Is(err, ErrLost) {
		return err
	}
	timer := time.NewTimer(cancelWait)
	defer timer.Stop()
	select {
	case <-t.ctx.Done():
		return context.Cause(t.ctx)
	case <-timer.C:
		return err
	}
}

// lookAtPath brings path up to date. mu is held.
func (t *transfer) lookAtPath() {
	if t.pathOf != nil {
		if path := t.pathOf(); path != "" {
			t.path = path
		}
	}
}

// progress notes how much the receiving device has.
func (t *transfer) progress(bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.bytes = bytes
	t.meter.note(bytes, time.Now())
}

// connected notes that there is a connection, and how to ask for its path:
// that may be known only when the peer's candidates have come.
func (t *transfer) connected(path func() string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pathOf = path
	t.meter.note(t.bytes, time.Now())
}

// isOffered reports whether nobody has accepted yet.
func (t *transfer) isOffered() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state == Offered
}

// ID is the transfer_id. It is unique only together with the room and the
// user who chose it.
func (t *transfer) ID() ID { return t.id }

// Done is closed when the transfer has ended.
func (t *transfer) Done() <-chan struct{} { return t.done }

// Err gives why the transfer ended; nil while it lives, and when the file was
// delivered.
func (t *transfer) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

func (t *transfer) status(dir Direction) Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lookAtPath()
	s := Status{
		ID: t.id, Direction: dir, Room: t.room, Peer: t.peer, Trust: t.trust,
		Name: t.info.Name, MIMEType: t.info.MIMEType, Size: t.info.Size,
		Bytes: t.bytes, State: t.state, Path: t.path,
		Created: t.created, Ended: t.ended,
	}
	if t.state == Offered {
		s.Expires = t.expires
	}
	if t.state == Streaming {
		s.Rate = t.meter.rate(t.bytes, time.Now())
	}
	if t.err != nil {
		s.Err = t.err.Error()
	}
	if t.hash != nil {
		s.SHA256 = t.hash.String()
	}
	return s
}
