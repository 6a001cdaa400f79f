package fs

import (
	"context"
	"syscall"

	"github.com/matrixfs/matrixfs/transfer"
)

// overwrite changes what has been accepted, as far as p goes, and returns how
// much of p that is. All of that must still be here: in the queue, or in the
// window of the transfer.
func (s *stream) overwrite(ctx context.Context, p []byte, off int64) (int, error) {
	if err := s.out.Err(); err != nil || s.isAhead(off) {
		return 0, err
	}
	brief, cancel := s.stay(ctx)
	defer cancel()
	if s.take(brief) != nil {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return 0, transfer.ErrBehind // somebody wants at the inode
	}
	defer s.yield()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return 0, transfer.ErrBehind
	}
	p = p[:max(0, min(int64(len(p)), s.end-off))]
	handed := s.end - s.queue.length
	k := max(0, min(int64(len(p)), handed-off))
	if k > 0 {
		if err := s.out.Rewrite(p[:k], off); err != nil {
			return 0, err
		}
	}
	if !s.queue.rewrite(p[k:], off+k-handed) {
		if k == 0 {
			return 0, transfer.ErrBehind
		}
		return int(k), nil // the rest comes again
	}
	return len(p), nil
}

// cut forgets what has been accepted from off on, if all of that is still here.
// It never waits.
func (s *stream) cut(off int64) error {
	if s.isAhead(off) {
		return nil
	}
	select {
	case s.turn <- struct{}{}:
	default:
		return syscall.EBUSY // somebody waits for the peer to take it
	}
	defer s.yield()
	s.mu.Lock()
	defer s.mu.Unlock()
	handed := s.end - s.queue.length
	switch {
	case s.ended:
		return errSent
	case off >= handed:
		s.queue.truncate(off - handed)
	default:
		if err := s.out.Truncate(off); err != nil {
			return err
		}
		s.queue = queue{}
	}
	s.end = off
	return nil
}

// read gives what was written at off, as far as it is still here; the error is
// ErrBehind where it is not. It never waits.
func (s *stream) read(p []byte, off int64) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return 0, transfer.ErrBehind
	}
	p = p[:max(0, min(int64(len(p)), s.size-off))]
	handed := s.end - s.queue.length
	if k := min(int64(len(p)), handed-off); k > 0 {
		if n, err = s.out.ReadBack(p[:k], off); err != nil {
			return 0, err
		}
	}
	if n < len(p) {
		n += s.queue.read(p[n:], off+int64(n)-handed)
		clear(p[n:]) // ftruncate made the file longer
	}
	return len(p), nil
}
