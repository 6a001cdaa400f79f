package fs

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/matrixfs/matrixfs/transfer"
)

const (
	// slice is how long a WRITE still waits after somebody looked the file up.
	// The kernel holds the lock of the inode while a WRITE waits, and rm, mv,
	// chmod and touch of the file wait for that lock; rm and mv with the lock of
	// the directory in hand, so ls waits for them. All of them look the file up
	// first.
	slice = 50 * time.Millisecond
	// maxSlice is how long it waits as the queue fills up: what does not fit can
	// only be cut short, and not every program writes the rest once more.
	maxSlice = 300 * time.Millisecond
	// maxQueue bounds what is accepted by WRITEs that have given way.
	maxQueue = 8 << 20
	// company is how long after that no WRITE waits longer than a slice:
	// programs often look a file up, and then do several things with it.
	company = time.Second
	// piece is how much is handed on at a time. A slow peer makes room for a
	// piece long before it makes room for a whole WRITE.
	piece = 64 << 10
)

// errSent: a write after the end of the file.
var errSent = errors.New("the file has been sent")

// stream is the content of a file that leaves while it is being written: it
// turns writes at offsets into an unbroken sequence. What has not left yet can
// be changed. It is safe for concurrent use.
type stream struct {
	offer
	// turn has a place for whoever hands bytes to out, one at a time.
	turn chan struct{}

	// mu guards all below.
	mu sync.Mutex
	// end is how much has been accepted: handed to out, or in the queue.
	end int64
	// size is how long the file is, at least end: ftruncate and fallocate can
	// make it longer. What is missing at the end of the file is zeros.
	size int64
	// announced: out has been told the size, because somebody has set it.
	announced bool
	// queue is what has been accepted but not handed to out. Whoever takes
	// anything out of it, or changes it, has the turn.
	queue queue
	// ended: there are no writes any more.
	ended bool
	// crowded is until when a WRITE waits no longer than a slice; giveWay ends
	// the one that is waiting, if there is one.
	crowded time.Time
	giveWay context.CancelFunc
}

func newStream(out *transfer.Outgoing) *stream {
	return &stream{offer: offer{out}, turn: make(chan struct{}, 1)}
}

// write accepts bytes of p at off, and returns how many: all, unless somebody
// else wants at the inode, it must not wait any longer, and the queue is full.
// Then it accepts at least one byte, so that a program sees a short write and
// comes again. When ctx ends before anything is accepted, it returns ctx.Err().
func (s *stream) write(ctx context.Context, p []byte, off int64) (int, error) {
	n, err := s.overwrite(ctx, p, off)
	if err != nil || n == len(p) {
		return n, err
	}
	k, err := s.append(ctx, p[n:], off+int64(n))
	if n > 0 {
		err = nil // the next write will see it
	}
	return n + k, err
}

// append accepts bytes at the end, or after a gap.
func (s *stream) append(ctx context.Context, p []byte, off int64) (int, error) {
	if err := s.seek(off); err != nil {
		return 0, err
	}
	brief, cancel := s.stay(ctx)
	defer cancel()
	n, err := s.writeThrough(brief, p)
	switch {
	case err != nil && ctx.Err() == nil && brief.Err() != nil:
		return n + s.putOff(p[n:], n == 0), nil
	case n > 0:
		return n, nil
	case ctx.Err() != nil:
		return 0, ctx.Err()
	}
	return 0, err
}

// putOff queues p, or as much of it as still fits, and returns how much. If need
// be, it queues one byte of p beyond what fits.
func (s *stream) putOff(p []byte, need bool) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(len(p), max(maxQueue-s.queue.held, 0))
	if n == 0 && need {
		n = 1
	}
	if n > 0 {
		s.enqueue(segment{data: p[:n]})
	}
	return n
}

// stay gives the context for as long as a WRITE may wait. cancel must be
// called.
func (s *stream) stay(ctx context.Context) (brief context.Context, cancel context.CancelFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Now().Before(s.crowded) {
		return context.WithTimeout(ctx, s.sliceLocked())
	}
	brief, cancel = context.WithCancel(ctx)
	s.giveWay = cancel
	return brief, cancel
}

// nudge makes a WRITE that waits give way, soon.
func (s *stream) nudge() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.crowded = time.Now().Add(company)
	if s.giveWay != nil {
		time.AfterFunc(s.sliceLocked(), s.giveWay)
		s.giveWay = nil
	}
}

// sliceLocked is how long a WRITE may wait now. mu is held.
func (s *stream) sliceLocked() time.Duration {
	return slice + (maxSlice-slice)*time.Duration(min(s.queue.held, maxQueue))/maxQueue
}

// seek moves the end to off. What is skipped will be zeros.
func (s *stream) seek(off int64) error {
	if err := s.out.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case off < s.end:
		return transfer.ErrBehind // somebody else was quicker
	case s.ended:
		return errSent
	case off > s.end:
		s.enqueue(segment{zeros: off - s.end})
	}
	return nil
}

// writeThrough hands pieces of p to the transfer, after what is in the queue.
// It returns how much of p it has handed on when ctx ended.
func (s *stream) writeThrough(ctx context.Context, p []byte) (n int, err error) {
	if err := s.take(ctx); err != nil {
		return 0, err
	}
	defer s.yield()
	if err := s.drain(ctx); err != nil {
		return 0, err
	}
	for n < len(p) && err == nil {
		var k int
		k, err = s.out.Write(ctx, p[n:min(n+piece, len(p))])
		n += k
		s.mu.Lock()
		s.advance(int64(k))
		s.mu.Unlock()
	}
	return n, err
}

// take waits for the turn to hand bytes to the transfer.
func (s *stream) take(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *stream) yield() { <-s.turn }

// advance counts n bytes more. mu is held.
func (s *stream) advance(n int64) {
	s.end += n
	if s.end > s.size {
		s.size = s.end
		if s.announced {
			s.announced = false
			s.out.SetSize(-1)
		}
	}
}

// enqueue appends to the queue. mu is held.
func (s *stream) enqueue(g segment) {
	s.queue.push(g)
	s.advance(g.length())
}

// drain hands the queue to the transfer. The caller has the turn.
func (s *stream) drain(ctx context.Context) error {
	for {
		p := s.next()
		if p == nil {
			return nil
		}
		n, err := s.out.Write(ctx, p)
		if err != nil {
			return err
		}
		s.pop(n)
	}
}

// next gives the first piece of the queue, or nil.
func (s *stream) next() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queue.next()
}

// pop removes n bytes of the piece that next gave.
func (s *stream) pop(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue.pop(n)
}

// resize makes the file n bytes long, as ftruncate does. It never waits.
func (s *stream) resize(n int64) error {
	if err := s.out.Err(); err != nil {
		return err
	}
	if err := s.cut(n); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case n == s.size:
		return nil
	case s.ended:
		return errSent
	}
	s.size = n
	// A file that is emptied is going to be written.
	s.announced = n > s.end
	if s.announced {
		s.out.SetSize(n)
	} else {
		s.out.SetSize(-1)
	}
	return nil
}

// extent is how long the file is.
func (s *stream) extent() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size
}

// isAhead reports whether nothing has been accepted at off and behind it.
func (s *stream) isAhead(off int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return off >= s.end
}

// sync waits until the peer has everything written so far.
func (s *stream) sync(ctx context.Context) error {
	if err := s.take(ctx); err != nil {
		return err
	}
	err := s.drain(ctx)
	s.yield()
	if err != nil {
		return err
	}
	return s.out.Sync(ctx)
}

// finish ends the file and waits until it is delivered. If ctx ends first, it
// returns ctx.Err(), and finish may be called again.
func (s *stream) finish(ctx context.Context) error {
	if err := s.take(ctx); err != nil {
		return err
	}
	s.conclude()
	err := s.drain(ctx)
	s.yield()
	if err != nil {
		return err
	}
	return s.out.Finish(ctx)
}

// conclude ends the file: there will be no writes any more.
func (s *stream) conclude() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	if s.size > s.end {
		s.enqueue(segment{zeros: s.size - s.end})
	}
}

// isEnded reports whether there will be no writes any more.
func (s *stream) isEnded() bool { return s.out.Err() != nil || s.isFinishing() }

// isFinishing reports whether the file is on its way to a good end, or there.
func (s *stream) isFinishing() bool {
	if s.out.Err() != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// release cancels a file that nobody has finished.
func (s *stream) release() {
	if !s.isEnded() {
		s.cancel()
	}
}

// erase makes a part of the file zeros, which it is where nothing has been
// written.
func (s *stream) erase(off, _ int64) error {
	if !s.isAhead(off) {
		return transfer.ErrBehind
	}
	return s.err()
}
