package fs

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/matrixfs/matrixfs/transfer"
)

// spooled is the content of a file that is written to disk first, and offered
// when it is whole: with its size and its hash. Programs can write it in any
// order, and read what they have written. It is safe for concurrent use.
type spooled struct {
	offering
	out   *transfer.Outgoing // nil for a file that is kept private
	store *store
	// turn has a place for whoever changes the file, or hands it on: one at a
	// time.
	turn chan struct{}

	mu    sync.Mutex // guards all below
	file  *os.File   // nil where there are no bytes
	size  int64      // how long it is
	room  int64      // what it takes in the store, at least size
	ended bool       // there are no writes any more
	gone  bool       // the bytes are forgotten
}

// newSpooled makes the body of a file to offer, or of a private one.
func newSpooled(s *store, out *transfer.Outgoing) *spooled {
	b := &spooled{offering: offer{out}, out: out, store: s, turn: make(chan struct{}, 1)}
	if out == nil {
		b.offering = &private{}
	}
	return b
}

func (s *spooled) take(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *spooled) yield() { <-s.turn }

// write implements content.
func (s *spooled) write(ctx context.Context, p []byte, off int64) (int, error) {
	if err := s.take(ctx); err != nil {
		return 0, err
	}
	defer s.yield()
	f, err := s.reserve(off + int64(len(p)))
	if errors.Is(err, errSent) && !s.isAhead(off) {
		err = transfer.ErrBehind
	}
	if err != nil {
		return 0, err
	}
	n, err := f.WriteAt(p, off)
	if n == 0 && err != nil {
		return 0, s.diskError(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.size = max(s.size, off+int64(n))
	return n, nil
}

// reserve gives the file, with room for n bytes. The caller has the turn.
func (s *spooled) reserve(n int64) (*os.File, error) {
	if err := s.err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.gone {
		return nil, errSent
	}
	if s.file == nil {
		f, err := s.store.create()
		if err != nil {
			return nil, err
		}
		s.file = f
	}
	if n > s.room {
		if err := s.store.reserve(n - s.room); err != nil {
			return nil, err
		}
		s.room = n
	}
	return s.file, nil
}

// diskError gives what a program is told of an error of the file: it may have
// been closed because the offer is over.
func (s *spooled) diskError(err error) error {
	if over := s.err(); over != nil {
		return over
	}
	return diskError(err)
}

// read implements content.
func (s *spooled) read(p []byte, off int64) (int, error) {
	s.mu.Lock()
	f, over := s.file, s.ended || s.gone
	s.mu.Unlock()
	switch {
	case over:
		return 0, transfer.ErrBehind
	case f == nil:
		return 0, nil
	}
	n, err := f.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, s.diskError(err)
	}
	return n, nil
}

// change does what is no write, without waiting. n is how long the file has to
// be for it.
func (s *spooled) change(n int64, f func(*os.File) error) error {
	if err := s.err(); err != nil {
		return err
	}
	if s.isEnded() {
		return errSent
	}
	select {
	case s.turn <- struct{}{}:
	default:
		return syscall.EBUSY
	}
	defer s.yield()
	file, err := s.reserve(n)
	if err != nil {
		return err
	}
	if err := f(file); err != nil {
		return s.diskError(err)
	}
	return nil
}

// resize implements content.
func (s *spooled) resize(n int64) error {
	if n == s.extent() {
		return s.err()
	}
	return s.change(n, func(f *os.File) error {
		if err := f.Truncate(n); err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.gone {
			s.store.giveBack(s.room - n)
			s.room, s.size = n, n
		}
		return nil
	})
}

// erase implements content.
func (s *spooled) erase(off, n int64) error {
	return s.change(0, func(f *os.File) error { return punchHole(f, off, n) })
}

// extent implements content.
func (s *spooled) extent() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size
}

// isAhead implements content.
func (s *spooled) isAhead(off int64) bool { return off >= s.extent() }

// nudge implements content: no write waits for long.
func (*spooled) nudge() {}

// hint implements offering: how long the file is, the end will tell.
func (*spooled) hint(int64) {}

// announce implements offering: nobody is told before the end.
func (*spooled) announce() {}

// sync implements body: what is written is on disk.
func (s *spooled) sync(context.Context) error { return s.err() }

// conclude implements body. A private file never comes to an end.
func (s *spooled) conclude() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = s.out != nil
}

// finish implements body.
func (s *spooled) finish(ctx context.Context) error {
	if s.out == nil {
		return s.err()
	}
	if err := s.take(ctx); err != nil {
		return err
	}
	s.conclude()
	err := s.hand(ctx)
	s.yield()
	if err != nil && ctx.Err() == nil {
		s.cancel() // it is not what the file is
	}
	if err == nil {
		err = s.out.Finish(ctx)
	}
	if err == nil || !errors.Is(err, ctx.Err()) {
		s.discard()
	}
	return err
}

// hand gives the whole file to the transfer. The caller has the turn.
func (s *spooled) hand(ctx context.Context) error {
	if err := s.err(); err != nil {
		return err
	}
	s.mu.Lock()
	f, size, gone := s.file, s.size, s.gone
	s.mu.Unlock()
	off := s.out.Written()
	switch {
	case gone && off < size:
		return transfer.ErrAborted
	case f == nil || gone:
		return nil // it is empty, or handed on
	}
	if off == 0 {
		sum, err := s.sum(ctx, f)
		if err != nil {
			return err
		}
		s.out.SetSize(size)
		s.out.SetHash(sum)
	}
	return s.each(ctx, f, off, func(p []byte) error {
		_, err := s.out.Write(ctx, p)
		return err
	})
}

// sum gives the hash of the file.
func (s *spooled) sum(ctx context.Context, f *os.File) (*transfer.Hash, error) {
	sum := sha256.New()
	err := s.each(ctx, f, 0, func(p []byte) error {
		_, err := sum.Write(p)
		return err
	})
	h := transfer.Hash(sum.Sum(nil))
	return &h, err
}

// each calls do with the bytes of the file from off on.
func (s *spooled) each(ctx context.Context, f *os.File, off int64, do func([]byte) error) error {
	buf := make([]byte, 128<<10)
	for ctx.Err() == nil {
		n, err := f.ReadAt(buf, off)
		switch {
		case n > 0:
			if err := do(buf[:n]); err != nil {
				return err
			}
			off += int64(n)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return s.diskError(err)
		}
	}
	return ctx.Err()
}

// isEnded implements body.
func (s *spooled) isEnded() bool { return s.err() != nil || s.isFinishing() }

// isFinishing implements body.
func (s *spooled) isFinishing() bool {
	if s.err() != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// release implements body. A private file stays until it is removed.
func (s *spooled) release() {
	if s.out != nil && !s.isFinishing() {
		s.cancel()
	}
}

// cancel implements offering.
func (s *spooled) cancel() {
	s.offering.cancel()
	s.discard()
}

// discard forgets the bytes.
func (s *spooled) discard() {
	s.mu.Lock()
	f := s.file
	s.store.giveBack(s.room)
	s.file, s.room, s.gone = nil, 0, true
	s.mu.Unlock()
	if f != nil {
		s.store.discard(f)
	}
}

// private is the offering of a file that is never offered.
type private struct{ gone atomic.Bool }

var _ offering = (*private)(nil)

func (p *private) err() error {
	if p.gone.Load() {
		return transfer.ErrAborted
	}
	return nil
}

func (p *private) cancel()     { p.gone.Store(true) }
func (*private) rename(string) {}
func (*private) hint(int64)    {}
func (*private) announce()     {}

func (p *private) status() transfer.Status {
	s := transfer.Status{State: transfer.Preparing, Size: -1}
	if p.gone.Load() {
		s.State = transfer.Cancelled
	}
	return s
}
