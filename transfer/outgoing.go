package transfer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// inviteBytes and inviteDelay: the invite goes out at the first of so many
	// bytes, or so long after the first write. A small file is closed by then
	// and its size known; a slow one still shows up at once.
	inviteBytes = 1 << 20
	inviteDelay = 100 * time.Millisecond
)

// Outgoing is a file on offer to a room. It is safe for concurrent use, but
// only one goroutine at a time may Write.
type Outgoing struct {
	transfer

	// All below is guarded by transfer.mu.
	window   window
	sum      *Hash // announced by SetHash
	size     int64 // announced by SetSize, or negative
	urged    bool  // the invite is to go out now
	finished bool  // no more bytes will come
	frozen   bool  // the invite is made: name and size are fixed
	started  *time.Timer
	again    chan struct{} // capacity 1: the invite is to be sent once more
	repeated bool          // it was; guarded by Exchange.mu
	declines declines      // only run's goroutine uses it
	saidBye  bool          // the room was told of the end; used like declines
}

func newOutgoing(x *Exchange, room RoomID, name string) *Outgoing {
	o := &Outgoing{size: -1, declines: declines{}, again: make(chan struct{}, 1)}
	o.init(x, Out, room, NewID())
	o.info = FileInfo{Name: name, Size: -1}
	return o
}

// Write appends p to the file; it waits while the window is full. It takes all
// of p, at most MaxWrite bytes, or nothing: if ctx ends first it returns
// ctx.Err(), and once the transfer has ended the reason for that.
func (o *Outgoing) Write(ctx context.Context, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, o.Err()
	}
	if len(p) > MaxWrite {
		return 0, fmt.Errorf("a write of %d bytes is too long", len(p))
	}
	for {
		o.mu.Lock()
		switch {
		case o.state.Ended():
			defer o.mu.Unlock()
			return 0, o.errEnded()
		case o.finished:
			o.mu.Unlock()
			return 0, errFinished
		case o.size >= 0 && o.frozen && o.window.end+int64(len(p)) > o.size:
			o.mu.Unlock()
			o.end(ErrSize)
			return 0, ErrSize
		case o.window.fits(len(p)):
			o.window.write(p)
			if o.started == nil {
				o.started = time.AfterFunc(inviteDelay, o.Invite)
			}
			o.urged = o.urged || o.window.end >= inviteBytes
			o.changed.wake()
			o.mu.Unlock()
			return len(p), nil
		}
		changed := o.changed.wait()
		o.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// errEnded says why nothing can be written any more. mu is held.
func (o *Outgoing) errEnded() error {
	if o.err == nil {
		return errFinished
	}
	return o.err
}

// SetName sets the name that the peer will see. It has no effect once the
// invite is out.
func (o *Outgoing) SetName(name string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.frozen {
		o.info.Name = name
	}
}

// SetSize announces the exact size in bytes; a negative one takes that back.
// It has no effect once the invite is out. If the file turns out to be longer
// or shorter, the transfer is cancelled with ErrSize: a wrong size never
// delivers a wrong file.
func (o *Outgoing) SetSize(n int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.frozen {
		o.size = n
	}
}

// SetHash announces the SHA-256 of the whole file, of which SetSize has
// announced the size; nil takes that back. The peer gets it with the invite,
// and takes no other file for this one. It has no effect once the invite is
// out, and needs not be called for a file that is finished by then.
func (o *Outgoing) SetHash(h *Hash) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.frozen {
		o.sum = h
	}
}

// Invite sends the invite now instead of waiting for more bytes.
func (o *Outgoing) Invite() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.urged = true
	o.changed.wake()
}

// Written is how many bytes have been written.
func (o *Outgoing) Written() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.window.end
}

// Sync waits until the peer has acknowledged every byte written so far, but for
// the last byte of an announced size, which Finish sends. It returns the reason
// if the transfer ends first, ctx.Err() if ctx does.
func (o *Outgoing) Sync(ctx context.Context) error {
	o.mu.Lock()
	want := o.window.end
	o.mu.Unlock()
	if want == 0 {
		return nil
	}
	o.Invite()
	return o.await(ctx, func() bool {
		need := min(want, o.window.end) // what is cut off meanwhile will never be acknowledged
		if o.withholds() && need == o.size {
			need--
		}
		return o.window.acked >= need
	})
}

// Finish ends the file and waits until it is delivered: it returns nil exactly
// if the receiving device has every byte. If ctx ends first it returns
// ctx.Err() and the transfer goes on; Finish may be called again.
func (o *Outgoing) Finish(ctx context.Context) error {
	o.mu.Lock()
	o.finished = true
	o.changed.wake()
	wrong := o.frozen && o.size >= 0 && o.size != o.window.end
	o.mu.Unlock()
	if wrong {
		o.end(ErrSize)
	}
	return o.await(ctx, func() bool { return false })
}

// await waits until ok, which is called with mu held, or until the end.
func (o *Outgoing) await(ctx context.Context, ok func() bool) error {
	for {
		o.mu.Lock()
		done, err, good := o.state.Ended(), o.err, ok()
		changed := o.changed.wait()
		o.mu.Unlock()
		if done || good {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Cancel ends the transfer here. The peers are told in the background. After
// the end it does nothing.
func (o *Outgoing) Cancel() { o.end(ErrAborted) }

// Status tells how the transfer stands.
func (o *Outgoing) Status() Status {
	s := o.status(Out)
	if s.Size < 0 {
		o.mu.Lock()
		defer o.mu.Unlock()
		if s.Size = o.size; o.finished {
			s.Size = o.window.end
		}
	}
	return s
}

// run is the transfer's one goroutine.
func (o *Outgoing) run() {
	o.end(o.drive()) // no effect if something else ended it
	o.mu.Lock()
	if o.started != nil {
		o.started.Stop()
	}
	o.window = window{acked: o.window.acked, sent: o.window.sent, end: o.window.end}
	o.mu.Unlock()
	o.x.retireOutgoing(o)
}

// goodbye tells the room why the offer is over, unless those who are in it
// ended it or know by the clock.
func (o *Outgoing) goodbye() {
	o.mu.Lock()
	err := o.err
	o.mu.Unlock()
	for _, known := range []error{ErrRejected, ErrExpired, ErrCancelled, ErrHash, ErrOffline, ErrNotAllowed} {
		if errors.Is(err, known) {
			return
		}
	}
	if err != nil {
		o.saidBye = o.tellCancel(reasonCancelled)
	}
}

// drive takes the offer from the first byte to the end, and returns why it
// ended.
func (o *Outgoing) drive() (why error) {
	if err := o.awaitBytes(); err != nil {
		return err
	}
	c, sdp, err := o.x.dialler.offer()
	if err != nil {
		return fmt.Errorf("%w: %v", ErrLost, err)
	}
	defer c.close()
	defer func() {
		o.end(why)
		o.goodbye() // before the connection goes, which alone would look like a loss
	}()
	if err := o.invite(sdp); err != nil {
		return err
	}
	answer, err := o.awaitAnswer(sdp)
	if err != nil {
		return err
	}
	return o.connect(c, sdp, answer)
}

// awaitBytes waits for a reason to send the invite.
func (o *Outgoing) awaitBytes() error {
	for {
		o.mu.Lock()
		ready := o.urged || o.finished
		changed := o.changed.wait()
		o.mu.Unlock()
		if ready {
			return nil
		}
		select {
		case <-changed:
		case <-o.ctx.Done():
			return context.Cause(o.ctx)
		}
	}
}

// answered is the answer that won, and the candidates that came before it.
type answered struct {
	Received
	answer *Answer
	early  early
}

// awaitAnswer waits for the first answer that can be taken, for as long as the
// offer lives.
func (o *Outgoing) awaitAnswer(sdp string) (answered, error) {
	var early early // whose, the answer will tell
	timer := time.NewTimer(o.x.cfg.Lifetime)
	defer timer.Stop()
	for {
		select {
		case r := <-o.inbox:
			switch m := r.Message.(type) {
			case *Answer:
				if err := checkAnswer(m.SDP); err != nil {
					o.log.Info("answer refused", "from", r.From.String(), "error", err)
					continue
				}
				o.mu.Lock()
				o.peer, o.trust = claimed(r), r.Trust
				o.mu.Unlock()
				o.step(evAnswer, nil)
				return answered{r, m, early}, nil
			case *Candidates:
				early.add(r)
			case *Cancel:
				if err := o.decline(r); err != nil {
					return answered{}, err
				}
			}
		case <-o.again:
			o.repeat(sdp)
		case <-timer.C:
			return answered{}, ErrExpired
		case <-o.ctx.Done():
			return answered{}, context.Cause(o.ctx)
		}
	}
}

// decline counts a cancel that came before any answer.
func (o *Outgoing) decline(r Received) error {
	if o.declines.add(o.x, o.room, r.From.User) {
		return ErrRejected
	}
	return nil
}

// connect makes the connection that the answer leads to, and streams.
func (o *Outgoing) connect(c *call, offer string, a answered) error {
	servers, err := o.x.cfg.Signaller.TURNServers(o.ctx)
	if err != nil {
		o.log.Info("no TURN servers", "error", err)
	}
	if o.x.cfg.RelayOnly && len(servers) == 0 {
		return errNoRelay
	}
	if err := c.answered(offer, a.answer.SDP, servers); err != nil {
		return fmt.Errorf("%w: %v", ErrLost, err)
	}
	peer := claimed(a.Received)
	a.early.give(c, peer)
	over, stop := context.WithCancel(o.ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() { o.listen(over, c, peer) })
	wg.Go(func() { o.sendCandidates(c, a) })
	l, err := c.open(o.ctx)
	if err != nil {
		return err
	}
	o.connected(c.path)
	o.step(evOpen, nil)
	closed := make(chan error, 1)
	c.users.Go(func() { closed <- drain(l) })
	err = o.clarify(o.stream(l, closed, c.gone, a.answer.Ext != nil))
	o.end(err) // before the wait for what still has to be said
	return err
}

// listen takes the messages that come once there is a peer.
func (o *Outgoing) listen(ctx context.Context, c *call, peer Peer) {
	for {
		select {
		case r := <-o.inbox:
			switch m := r.Message.(type) {
			case *Candidates:
				addCandidates(c, peer, r)
			case *Cancel:
				if claimed(r).couldBe(peer) {
					o.end(m.why())
				}
			}
		case <-ctx.Done():
			return
		}
	}
}

// addCandidates takes the candidates of a message if the peer may have sent it.
func addCandidates(c *call, peer Peer, r Received) {
	m, ok := r.Message.(*Candidates)
	if !ok || !claimed(r).couldBe(peer) {
		return
	}
	for _, k := range m.Candidates {
		c.add(k)
	}
}

// sendCandidates sends ours in one batch, which also tells the other devices
// whose answer won. They wait for that, so it goes out even if the file has
// arrived meanwhile.
func (o *Outgoing) sendCandidates(c *call, a answered) {
	list := c.gather(o.ctx)
	if o.ctx.Err() != nil {
		return
	}
	ext := o.x.extension("")
	peer := claimed(a.Received)
	ext.Chosen = &Chosen{User: peer.User, Device: peer.Device, Event: a.Event}
	o.tell(o.ctx, &Candidates{ID: o.id, Candidates: list, Ext: ext})
}
