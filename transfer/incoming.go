package transfer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Incoming is an offer made to us, and the file that it becomes. It is safe
// for concurrent use.
type Incoming struct {
	transfer
	from  Peer // who made the offer, with the device it claims
	offer string
	// decided: other answers mean nothing, because the offerer is a matrixfs
	// and will say who won, or because ours came first. Only run's goroutines
	// use it, one after the other.
	decided  bool
	declines declines      // if another device of ours made the offer; used like decided
	accept   chan struct{} // capacity 1: filled by whoever has accepted
	retired  bool          // run is done; guarded by Exchange.mu

	accepting sync.Mutex // held while the offer is accepted, or that is taken back

	// All below is guarded by transfer.mu.
	spool       *spool // set while accepted
	call        *call  // set while connected
	answer      EventID
	removed     bool
	saidGoodbye bool
}

func newIncoming(x *Exchange, r Received, m *Invite) *Incoming {
	in := &Incoming{from: claimed(r), offer: m.SDP, decided: m.Ext != nil, declines: declines{}, accept: make(chan struct{}, 1)}
	in.init(x, In, r.Room, m.ID)
	in.info, in.peer, in.trust = m.File, in.from, r.Trust
	if m.Ext != nil {
		in.hash = m.Ext.SHA256
	}
	in.state = Offered
	in.expires = in.created.Add(m.Lifetime - r.Age)
	in.created = in.created.Add(-r.Age)
	return in
}

// Accept accepts the offer. It never waits. It returns nil if the offer has
// been accepted already, and the reason if it is over.
func (in *Incoming) Accept() error {
	if err := in.Err(); err != nil {
		return err
	}
	in.accepting.Lock()
	defer in.accepting.Unlock()
	if in.started() {
		return in.Err()
	}
	sp := in.x.cache.newSpool()
	in.setSpool(sp)
	if !in.step(evAnswer, nil) {
		in.setSpool(nil)
		return in.Err()
	}
	// Whatever ends the transfer ends the waiting of its readers at once.
	context.AfterFunc(in.ctx, func() { sp.finish(context.Cause(in.ctx)) })
	in.accept <- struct{}{} // has room: only Offered can be accepted
	return in.Err()
}

// retract takes it back that the offer was accepted, because the answer could
// not be sent, and reports whether the offer stands. Whoever reads gets why.
func (in *Incoming) retract(why error) bool {
	in.accepting.Lock()
	defer in.accepting.Unlock()
	in.mu.Lock()
	sp := in.spool
	in.mu.Unlock()
	if !in.step(evRetract, nil) {
		return false
	}
	in.setSpool(nil)
	sp.finish(why)
	sp.drop()
	return true
}

func (in *Incoming) setSpool(sp *spool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.spool = sp
}

// Open prepares reading. It accepts nothing.
func (in *Incoming) Open() *Reader { return &Reader{in: in} }

// Remove rejects an offer that is not accepted, cancels a transfer in
// progress, and forgets a file that is complete. It never waits.
func (in *Incoming) Remove() {
	in.mu.Lock()
	in.removed = true
	in.mu.Unlock()
	if !in.step(evReject, errRejectedHere) {
		in.end(ErrAborted)
	}
	in.dropSpool()
	in.x.prune()
}

// errRejectedHere is ErrRejected seen from the side that rejects.
var errRejectedHere = fmt.Errorf("%w: declined here", ErrRejected)

// Cancel ends a transfer in progress, because its reader gave up. It has no
// effect on an offer that is not accepted, or on a file that is complete. It
// never waits.
func (in *Incoming) Cancel() {
	if !in.isOffered() {
		in.end(ErrAborted)
	}
}

// Status tells how the transfer stands.
func (in *Incoming) Status() Status { return in.status(In) }

// listed reports whether the file should be seen: while it lives, when it is
// complete, and when it broke off after somebody began to read it.
func (in *Incoming) listed() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	switch {
	case in.removed:
		return false
	case !in.state.Ended(), in.state == Delivered:
		return true
	case in.state == Failed, in.state == Cancelled:
		return in.spool != nil && !errors.Is(in.err, ErrAborted)
	}
	return false
}

func (in *Incoming) size() int64 {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.info.Size
}

// hangUp ends the connection, if there is one.
func (in *Incoming) hangUp() {
	in.mu.Lock()
	c := in.call
	in.lookAtPath()
	in.pathOf = nil // nobody shall wait for a connection that is going
	in.mu.Unlock()
	if c != nil {
		c.close()
	}
}

// run is the transfer's one goroutine.
func (in *Incoming) run() {
	in.end(in.drive()) // no effect if something else ended it
	in.goodbye()
	in.hangUp()
	in.x.retireIncoming(in)
}

// goodbye tells the sender, once, that we ended the transfer.
func (in *Incoming) goodbye() {
	in.mu.Lock()
	err, accepted, said := in.err, in.spool != nil, in.saidGoodbye
	in.saidGoodbye = true
	in.mu.Unlock()
	if said || err == nil {
		return
	}
	if errors.Is(err, errRejectedHere) {
		in.tellCancel(reasonRejected)
		return
	}
	for _, known := range []error{ErrCancelled, ErrElsewhere, ErrOffline, ErrNotAllowed} {
		if errors.Is(err, known) {
			return
		}
	}
	switch {
	case !accepted:
	case errors.Is(err, ErrHash):
		in.tellCancel(reasonHash)
	default:
		in.tellCancel(reasonCancelled)
	}
}

// drive takes the offer to its end, and returns why it ended.
func (in *Incoming) drive() error {
	var early early
	for {
		if err := in.awaitAccept(&early); err != nil {
			return err
		}
		err := in.take(early)
		if !errors.Is(err, ErrOffline) || !in.retract(err) {
			return err
		}
	}
}

// take answers the offer and gets the file. The error is ErrOffline if the
// answer could not be sent.
func (in *Incoming) take(early early) error {
	servers, err := in.x.cfg.Signaller.TURNServers(in.ctx)
	if err != nil {
		in.log.Info("no TURN servers", "error", err)
	}
	if in.x.cfg.RelayOnly && len(servers) == 0 {
		return errNoRelay
	}
	c, err := in.x.dialler.answer(in.offer, servers)
	if err != nil {
		return fmt.Errorf("%w: %v", ErrLost, err)
	}
	in.setCall(c)
	early.give(c, in.from)
	over, stop := context.WithCancel(in.ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() { in.listen(over, c) })
	if err := in.sendAnswer(c); err != nil {
		c.close()
		return err
	}
	l, err := c.open(in.ctx)
	if err != nil {
		return err
	}
	in.connected(c.path)
	in.step(evOpen, nil)
	if err := in.clarify(in.receive(l, c.gone)); err != nil {
		return err
	}
	in.complete()
	in.linger(c)
	return nil
}

func (in *Incoming) setCall(c *call) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.call = c
}

// complete makes the file's end known.
func (in *Incoming) complete() {
	in.mu.Lock()
	in.info.Size = in.bytes
	sp := in.spool
	in.mu.Unlock()
	sp.finish(nil)
	in.end(nil)
}

// linger keeps the connection until the sender has learnt that we have the
// file: it hangs up first.
func (in *Incoming) linger(c *call) {
	timer := time.NewTimer(closeWait)
	defer timer.Stop()
	select {
	case <-c.gone:
	case <-timer.C:
	case <-in.x.ctx.Done():
	}
}

// awaitAccept waits until the offer is accepted, for as long as it lives. It
// keeps the candidates that come.
func (in *Incoming) awaitAccept(early *early) error {
	timer := time.NewTimer(time.Until(in.expires))
	defer timer.Stop()
	for {
		select {
		case <-in.accept:
			return nil
		case r := <-in.inbox:
			if claimed(r).couldBe(in.from) {
				early.add(r)
			}
			if err := in.overheard(r); err != nil {
				return err
			}
		case <-timer.C:
			// Whoever accepted in the last moment has moved the state on.
			if in.step(evExpire, ErrExpired) {
				return ErrExpired
			}
		case <-in.ctx.Done():
			return context.Cause(in.ctx)
		}
	}
}

// overheard looks at a message of the room for one that ends the offer: the
// offerer's cancel, another answer, or a word of the offerer on who won. The
// offerer's word decides; where the offerer is no matrixfs there is none, and
// the first answer in the room does.
func (in *Incoming) overheard(r Received) error {
	fromOfferer := claimed(r).couldBe(in.from)
	switch m := r.Message.(type) {
	case *Cancel:
		if fromOfferer {
			return ErrCancelled
		}
		// Our own cancel comes back after the end, if this run sent it.
		if r.From.User == in.x.cfg.Self.User {
			return fmt.Errorf("%w: declined on another device, or by an earlier run", ErrElsewhere)
		}
		if in.from.User == in.x.cfg.Self.User && in.declines.add(in.x, in.room, r.From.User) {
			return ErrRejected // another device of ours made the offer
		}
	case *Candidates:
		if c := m.Ext.chosen(); c != nil && fromOfferer && !in.won(c) {
			return ErrElsewhere
		}
	case *Answer:
		if in.x.isEcho(r) && in.isOffered() {
			return fmt.Errorf("%w: an earlier run accepted it", ErrElsewhere)
		}
		if !in.decided && !in.x.isEcho(r) {
			return ErrElsewhere
		}
		in.decided = true
	}
	return nil
}

// won reports whether the offerer chose our answer.
func (in *Incoming) won(c *Chosen) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	self := in.x.cfg.Self
	return in.state != Offered && c.User == self.User &&
		(c.Device == self.Device || c.Device == "" && c.Event == in.answer)
}

// listen takes the messages that come after we accepted.
func (in *Incoming) listen(ctx context.Context, c *call) {
	for {
		select {
		case r := <-in.inbox:
			if err := in.overheard(r); err != nil {
				in.end(err)
			}
			addCandidates(c, in.from, r)
		case <-ctx.Done():
			return
		}
	}
}

// sendAnswer sends the answer with all candidates of this device in it.
func (in *Incoming) sendAnswer(c *call) error {
	c.gather(in.ctx)
	if in.ctx.Err() != nil {
		return context.Cause(in.ctx)
	}
	event, err := in.x.cfg.Signaller.Send(in.ctx, in.room, &Answer{
		ID: in.id, Lifetime: connectWait, SDP: c.description(), Ext: in.x.extension("")})
	if in.ctx.Err() != nil {
		return context.Cause(in.ctx)
	}
	in.mu.Lock()
	in.answer = event
	in.mu.Unlock()
	return err
}

// Reader reads an incoming file. Its methods are safe for concurrent use.
type Reader struct {
	in *Incoming

	mu     sync.Mutex // guards all below; taken before any other lock
	mark   *readMark  // set by the first read
	closed bool
}

// ReadAt accepts the offer if nobody has, waits until p can be filled, and
// fills it. It gives fewer bytes only together with io.EOF, and io.EOF only at
// the end of a file that is complete; otherwise the error says why there is no
// more. If ctx ends first it returns 0 and ctx.Err().
func (r *Reader) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	mark, err := r.begin()
	if mark == nil {
		return 0, err
	}
	return mark.spool.readAt(ctx, mark, p, off)
}

// begin accepts the offer and registers the reader with the spool, at the first
// call. A reader stays with its spool, even where the answer could not be sent:
// its file has failed then.
func (r *Reader) begin() (*readMark, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mark != nil || r.closed {
		return r.mark, ErrAborted
	}
	err := r.in.Accept()
	r.in.mu.Lock()
	sp := r.in.spool
	r.in.mu.Unlock()
	switch {
	case sp == nil && err == nil:
		return nil, ErrOffline // it was accepted, and taken back at once
	case sp == nil:
		return nil, err
	}
	r.mark = sp.enter()
	return r.mark, nil
}

func (in *Incoming) hasSpool(s *spool) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.spool == s
}

func (in *Incoming) dropSpool() {
	in.mu.Lock()
	sp := in.spool
	in.mu.Unlock()
	if sp != nil {
		sp.drop()
	}
}

// started reports whether bytes may be there, of a file that broke off.
func (in *Incoming) started() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.spool != nil
}

// Close ends the reader. It never waits, and cancels nothing.
func (r *Reader) Close() {
	r.mu.Lock()
	mark := r.mark
	r.closed = true
	r.mu.Unlock()
	if mark != nil {
		mark.spool.leave(mark)
	}
}
