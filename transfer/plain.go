package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// The plain stream of MSC2354: the bytes of the file as binary messages, in
// order. With a size in the invite the file is complete at exactly that many
// bytes, and the receiver closes the channel. Without one the sender closes it
// at the end.
const (
	// inFlight bounds what is sent and not acknowledged. pion drops silently
	// what overflows its 1 MB receive buffers, so it is less than that.
	inFlight = 768 << 10
	// closeWait is how long a side that has done its part waits for the other
	// to close the channel. A plain peer that never does has the file all the
	// same; a matrixfs closes only when it has it.
	closeWait     = 5 * time.Second
	closeWaitOurs = 30 * time.Second
)

// What went wrong, for the texts of errors.
const (
	errClosedEarly   = "the other device closed the channel early"
	errClosedNever   = "the other device did not confirm the end"
	errConnectionEnd = "the connection ended"
)

// stream sends the file and waits until the peer has it. ours says that the
// peer is a matrixfs. closed tells how the peer's direction of the link ended;
// gone is closed when the connection has.
func (o *Outgoing) stream(l link, closed <-chan error, gone <-chan struct{}, ours bool) error {
	low := make(chan struct{}, 1)
	poke := func() {
		select {
		case low <- struct{}{}:
		default:
		}
	}
	peerClosed := false
	for {
		msg, idle, changed := o.nextMessage(l)
		if msg != nil {
			if err := l.Send(msg); err != nil {
				return lost(err)
			}
			continue
		}
		if idle == idleEnd {
			break
		}
		mark := 0
		if idle == idleFull {
			mark = inFlight - l.MaxMessage()
		}
		l.NotifyLow(mark, poke)
		if idle != idleEmpty && l.Buffered() <= mark {
			continue // it fell before we asked to be told
		}
		select {
		case <-changed:
		case <-low:
		case err := <-closed:
			if !errors.Is(err, io.EOF) {
				return lost(err)
			}
			if !o.allSent() {
				return fmt.Errorf("%w: %s", ErrCancelled, errClosedEarly)
			}
			peerClosed, closed = true, nil
		case <-gone:
			return fmt.Errorf("%w: %s", ErrLost, errConnectionEnd)
		case <-o.ctx.Done():
			return context.Cause(o.ctx)
		}
	}
	if peerClosed {
		return nil
	}
	return o.confirm(l, closed, gone, ours)
}

// drain reads and drops what a receiver sends, which in a plain stream is
// nothing, until it closes.
func drain(l link) error {
	buf := make([]byte, maxMessage)
	for {
		if _, err := l.Recv(buf); err != nil {
			return err
		}
	}
}

func lost(err error) error { return fmt.Errorf("%w: %v", ErrLost, err) }

// idle says why there is nothing to send.
type idle int

const (
	idleEmpty  idle = iota // everything written is sent and acknowledged
	idleUnsure             // everything written is sent, not all acknowledged
	idleFull               // enough is in flight
	idleEnd                // the whole file is acknowledged
)

// nextMessage notes what has been acknowledged, and gives the next message or
// why there is none.
func (o *Outgoing) nextMessage(l link) ([]byte, idle, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	w := &o.window
	buffered := l.Buffered()
	before := w.acked
	w.ack(w.sent - int64(buffered))
	if w.acked != before {
		o.bytes = w.acked
		o.meter.note(o.bytes, time.Now())
		o.changed.wake()
	}
	ready := w.end
	if o.withholds() {
		ready = min(ready, o.size-1)
	}
	state := idleEmpty
	switch {
	case w.sent < ready && buffered+l.MaxMessage() > inFlight:
		state = idleFull
	case w.sent < ready:
		return w.next(int(min(ready-w.sent, int64(l.MaxMessage())))), 0, nil
	case buffered > 0:
		state = idleUnsure
	case o.finished:
		state = idleEnd
	}
	return nil, state, o.changed.wait()
}

// withholds reports whether the last byte has to wait: for a plain peer the
// file is whole with the last byte of the announced size, and so it is not sent
// before it is sure that no more will come. mu is held.
func (o *Outgoing) withholds() bool { return o.frozen && o.size >= 0 && !o.finished }

// allSent reports whether a peer that closes the channel now may have the
// whole file: its size was announced, and so much has been sent.
func (o *Outgoing) allSent() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.size >= 0 && o.window.sent == o.size
}

// confirm waits for the peer to close its side, after all is acknowledged.
func (o *Outgoing) confirm(l link, closed <-chan error, gone <-chan struct{}, ours bool) error {
	o.mu.Lock()
	announced := o.size >= 0
	o.mu.Unlock()
	if !announced {
		if err := l.Close(); err != nil {
			return lost(err)
		}
	}
	wait := closeWait
	if ours {
		wait = closeWaitOurs
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case err := <-closed:
		if errors.Is(err, io.EOF) || !ours {
			return nil
		}
		return lost(err)
	case <-gone:
		if !ours {
			return nil
		}
		return fmt.Errorf("%w: %s", ErrLost, errConnectionEnd)
	case <-timer.C:
		if !ours {
			return nil
		}
		return fmt.Errorf("%w: %s", ErrLost, errClosedNever)
	case <-o.ctx.Done():
		return context.Cause(o.ctx)
	}
}

// receive takes the bytes of the file until it is complete, and returns nil
// only then.
func (in *Incoming) receive(l link, gone <-chan struct{}) error {
	result := make(chan error, 1)
	go func() { result <- in.store(l) }() // both ways out of here wait for it
	select {
	case err := <-result:
		return err
	case <-gone:
	case <-in.ctx.Done():
		in.goodbye() // before the connection goes, which alone would look like a loss
	}
	// This ends Recv, after what has come already: that may complete the file.
	in.hangUp()
	return <-result
}

// store writes what comes to the cache. It runs until the file is complete,
// the link ends, or the transfer does.
func (in *Incoming) store(l link) error {
	ctx := in.ctx
	size := in.size()
	buf := make([]byte, maxMessage)
	to := newChecker(in.spool, in.hash)
	var held int64
	for size < 0 || held < size {
		n, err := l.Recv(buf)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, io.EOF) && size < 0:
			return nil
		case errors.Is(err, io.EOF):
			return ErrShort
		case errors.Is(err, errMessageSize):
			return ErrTooLong
		case err != nil:
			return lost(err)
		case size >= 0 && held+int64(n) > size:
			return ErrTooLong
		}
		if err := to.add(ctx, buf[:n]); err != nil {
			return err
		}
		held += int64(n)
		in.progress(held)
	}
	if err := to.finish(ctx); err != nil {
		return err
	}
	return l.Close()
}
