package transfer

import "errors"

// errFinished: somebody wants to change a file that is finished.
var errFinished = errors.New("write after the end of the file")

// Rewrite puts p over what was written at off. All of p must lie within what
// has been written, and none of it may have left: otherwise nothing changes and
// the error is ErrBehind. Before somebody has accepted, nothing has left. It
// never waits. Like Write, it needs the one goroutine that writes.
func (o *Outgoing) Rewrite(p []byte, off int64) error {
	return o.change(func(w *window) bool { return w.rewrite(p, off) })
}

// Truncate makes what has been written n bytes long, so that Write goes on
// there. None of what is cut off may have left: otherwise nothing changes and
// the error is ErrBehind. It never waits.
func (o *Outgoing) Truncate(n int64) error {
	return o.change(func(w *window) bool { return w.truncate(n) })
}

// change lets f change what has not been sent.
func (o *Outgoing) change(f func(*window) bool) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.state.Ended():
		return o.errEnded()
	case o.finished:
		return errFinished
	case !f(&o.window):
		return ErrBehind
	}
	o.changed.wake() // there may be room again
	return nil
}

// ReadBack copies to p what was written at off, as far as the file goes, and
// returns how much that is. The peer must not have acknowledged any of it:
// otherwise, and once the transfer has ended, the error is ErrBehind.
func (o *Outgoing) ReadBack(p []byte, off int64) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.state.Ended() {
		return 0, ErrBehind // the bytes are being forgotten
	}
	n, ok := o.window.read(p, off)
	if !ok {
		return 0, ErrBehind
	}
	return n, nil
}
