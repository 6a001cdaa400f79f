package transfer

// windowSize bounds the bytes of one outgoing file that are in memory: written
// by the program, and not yet acknowledged by the peer. It is several times
// what a data channel keeps in flight, so that a writer and the network need
// not take turns.
const windowSize = 8 << 20

// MaxWrite is the longest slice that Outgoing.Write takes: the largest write
// of FUSE.
const MaxWrite = 1 << 20

// window holds the bytes from acked to end of a file. Three marks move
// forward only: acked ≤ sent ≤ end. It is a ring that grows as needed, so a
// small file costs little. The mutex of its Outgoing guards it.
type window struct {
	ring             []byte
	acked, sent, end int64
}

// fits reports whether n more bytes may be written now.
func (w *window) fits(n int) bool { return w.end-w.acked+int64(n) <= windowSize }

// write appends p, which must fit.
func (w *window) write(p []byte) {
	w.grow(int(w.end-w.acked) + len(p))
	at := int(w.end % int64(len(w.ring)))
	n := copy(w.ring[at:], p)
	copy(w.ring, p[n:])
	w.end += int64(len(p))
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
		from := w.ring[off%int64(len(w.ring)):]
		from = from[:min(int64(len(from)), w.end-off)]
		to := bigger[off%int64(size):]
		off += int64(copy(to, from))
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
	at := w.sent % int64(len(w.ring))
	n := min(w.end-w.sent, int64(len(w.ring))-at, int64(max))
	w.sent += n
	return w.ring[at : at+n : at+n]
}

// head gives up to max of the first bytes of the file, if they are still here.
func (w *window) head(max int) []byte {
	if w.acked != 0 || w.end == 0 {
		return nil
	}
	return w.ring[:min(int64(max), w.end, int64(len(w.ring)))]
}

// ack counts the bytes before off as acknowledged.
func (w *window) ack(off int64) { w.acked = max(w.acked, min(off, w.sent)) }
