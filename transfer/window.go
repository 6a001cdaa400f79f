package transfer

import "crypto/sha256"

// windowSize bounds the bytes of one outgoing file that are in memory: written
// by the program, and not yet acknowledged by the peer. It is several times
// what a data channel keeps in flight, so that a writer and the network need
// not take turns.
const windowSize = 8 << 20

// MaxWrite is the longest slice that Outgoing.Write takes: the largest write
// of FUSE.
const MaxWrite = 1 << 20

// window holds the bytes from acked to end of a file: acked ≤ sent ≤ end. Of
// these marks only end may move back, as far as sent: what has left can't be
// changed. It is a ring that grows as needed, so a small file costs little. The
// mutex of its Outgoing guards it.
type window struct {
	ring             []byte
	acked, sent, end int64
}

// fits reports whether n more bytes may be written now.
func (w *window) fits(n int) bool { return w.end-w.acked+int64(n) <= windowSize }

// write appends p, which must fit.
func (w *window) write(p []byte) {
	w.grow(int(w.end-w.acked) + len(p))
	off := w.end
	w.end += int64(len(p))
	w.put(p, off)
}

// rewrite puts p over what was written at off. It does so only if all of that
// is here and nothing of it has been sent.
func (w *window) rewrite(p []byte, off int64) bool {
	if off < w.sent || int64(len(p)) > w.end-off {
		return false
	}
	w.put(p, off)
	return true
}

// truncate forgets what was written from off on, if nothing of it has been
// sent.
func (w *window) truncate(off int64) bool {
	if off < w.sent || off > w.end {
		return false
	}
	w.end = off
	return true
}

// read copies to p what was written at off, and returns how much that is. It
// is less than all of p only where the file ends. Without ok, it has been
// acknowledged and is gone.
func (w *window) read(p []byte, off int64) (n int, ok bool) {
	if off < w.acked {
		return 0, false
	}
	for n < len(p) && off < w.end {
		k := copy(p[n:], w.run(off, w.end))
		n += k
		off += int64(k)
	}
	return n, true
}

// put copies p to where the bytes from off on are.
func (w *window) put(p []byte, off int64) {
	for len(p) > 0 {
		n := copy(w.run(off, w.end), p)
		p, off = p[n:], off+int64(n)
	}
}

// run gives the bytes from off on, as many as are in one piece before end.
func (w *window) run(off, end int64) []byte {
	at := off % int64(len(w.ring))
	n := min(end-off, int64(len(w.ring))-at)
	return w.ring[at : at+n : at+n]
}

// grow makes the ring large enough for n bytes. The ring is replaced, never
// changed in place, so a slice that next gave out stays right.
func (w *window) grow(n int) {
	if n <= len(w.ring) {
		return
	}
	size := max(64<<10, len(w.ring))
	for size < n {
		size *= 2
	}
	bigger := make([]byte, size)
	for off := w.acked; off < w.end; {
		off += int64(copy(bigger[off%int64(size):], w.run(off, w.end)))
	}
	w.ring = bigger
}

// next gives up to max bytes that have not been sent, in one piece, and counts
// them as sent. They stay valid until they are acknowledged. It gives nothing
// where all has been sent.
func (w *window) next(max int) []byte {
	if w.sent == w.end {
		return nil
	}
	p := w.run(w.sent, min(w.end, w.sent+int64(max)))
	w.sent += int64(len(p))
	return p
}

// head gives up to max of the first bytes of the file, if they are still here.
func (w *window) head(max int) []byte {
	if w.acked != 0 || w.end == 0 {
		return nil
	}
	return w.run(0, min(int64(max), w.end))
}

// ack counts the bytes before off as acknowledged.
func (w *window) ack(off int64) { w.acked = max(w.acked, min(off, w.sent)) }

// hash gives the SHA-256 of the whole file, none of which is acknowledged yet.
func (w *window) hash() *Hash {
	sum := sha256.New()
	for off := w.acked; off < w.end; {
		p := w.run(off, w.end)
		sum.Write(p)
		off += int64(len(p))
	}
	h := Hash(sum.Sum(nil))
	return &h
}
