package transfer

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// stallLimit is how long a full spool waits when no reader is there to empty
// it, before the transfer is given up: the sender is waiting too.
const stallLimit = 2 * time.Minute

// spool holds the received bytes of one file, from start to end, on disk. As
// long as the cache has room that is the whole file. Then the spool stops
// growing and becomes a ring, in which the oldest bytes make room once every
// reader has passed them; so a file of any size can stream through.
type spool struct {
	cache *cache

	mu         sync.Mutex // guards all below; taken before the cache's
	changed    broadcast
	file       *os.File
	start, end int64
	ring       int64 // its size once it has stopped growing, else 0
	over       bool  // no more bytes will come
	err        error // why not, if the file is not complete
	marks      map[*readMark]struct{}
	readWhole  bool // somebody has read the last byte
	dropped    bool // forgotten; the file goes with the last reader
}

// readMark is where a reader is. Everything before it may be dropped.
type readMark struct {
	spool *spool
	off   int64
}

// append adds p to the end. It waits while the ring is full.
func (s *spool) append(ctx context.Context, p []byte) error {
	if len(p) == 0 {
		return nil
	}
	if err := s.makeRoom(ctx, int64(len(p))); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.dropped:
		return ErrAborted
	case s.over:
		return s.err
	}
	if s.file == nil {
		f, err := s.cache.create()
		if err != nil {
			return err
		}
		s.file = f
	}
	err := s.pieces(p, s.end, func(b []byte, at int64) error {
		_, err := s.file.WriteAt(b, at)
		return err
	})
	if err != nil {
		return fmt.Errorf("%w: %v", ErrCache, err)
	}
	s.end += int64(len(p))
	s.changed.wake()
	return nil
}

// makeRoom waits until n bytes more can be held.
func (s *spool) makeRoom(ctx context.Context, n int64) error {
	var alone time.Time // since when nobody has been reading
	for {
		ok, victims, changed := s.tryRoom(n)
		for _, v := range victims {
			s.cache.evict(v)
		}
		if ok {
			return nil
		}
		if s.beingRead() {
			alone = time.Time{}
		} else if alone.IsZero() {
			alone = time.Now()
		}
		if err := awaitReader(ctx, changed, alone); err != nil {
			return err
		}
	}
}

// tryRoom reports whether n bytes more can be held; if not, something may have
// changed when changed is closed. The caller evicts the victims.
func (s *spool) tryRoom(n int64) (ok bool, victims []*spool, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ring == 0 {
		if ok, victims = s.cache.reserve(s, n); ok {
			return true, victims, nil
		}
		s.ring = s.end
	}
	need := s.end + n - s.ring
	if need <= s.floor() {
		s.start = max(s.start, need)
		return true, victims, nil
	}
	return false, victims, s.changed.wait()
}

func (s *spool) beingRead() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.marks) > 0
}

// awaitReader waits for a change, no longer than a reader may stay away.
func awaitReader(ctx context.Context, changed <-chan struct{}, alone time.Time) error {
	var limit <-chan time.Time
	if !alone.IsZero() {
		stall := time.NewTimer(stallLimit - time.Since(alone))
		defer stall.Stop()
		limit = stall.C
	}
	select {
	case <-changed:
		return nil
	case <-limit:
		return fmt.Errorf("%w: it is larger than the cache, and nobody reads it", ErrAborted)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// floor is the offset before which nobody needs the bytes. mu is held.
func (s *spool) floor() int64 {
	if len(s.marks) == 0 {
		return s.start
	}
	low := int64(1<<63 - 1)
	for m := range s.marks {
		low = min(low, m.off)
	}
	return low
}

// pieces calls f for the one or two places of the ring where the bytes p,
// which belong at off, are. mu is held.
func (s *spool) pieces(p []byte, off int64, f func(b []byte, at int64) error) error {
	for len(p) > 0 {
		at, n := off, int64(len(p))
		if s.ring > 0 {
			at = off % s.ring
			n = min(n, s.ring-at)
		}
		if err := f(p[:n], at); err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

// readAt fills p from off, waiting for what has not come. See Reader.ReadAt.
func (s *spool) readAt(ctx context.Context, m *readMark, p []byte, off int64) (int, error) {
	for {
		s.mu.Lock()
		if m.off != off {
			m.off = off
			s.changed.wake() // the ring may move on
		}
		n, err, ok := s.tryRead(m, p, off)
		changed := s.changed.wait()
		s.mu.Unlock()
		if ok {
			return n, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// tryRead reads if all of p is here, or is all there will ever be. mu is held:
// the ring must not move meanwhile.
func (s *spool) tryRead(m *readMark, p []byte, off int64) (n int, err error, ok bool) {
	want := off + int64(len(p))
	switch {
	case s.over && s.err != nil && (want > s.end || s.file == nil):
		return 0, s.err, true
	case off < s.start:
		return 0, ErrPassed, true
	case s.over && want > s.end:
		p = p[:max(0, s.end-off)]
		err = io.EOF
	case want > s.end:
		return 0, nil, false
	}
	bad := s.pieces(p, off, func(b []byte, at int64) error {
		_, err := s.file.ReadAt(b, at)
		return err
	})
	if bad != nil {
		return 0, fmt.Errorf("%w: %v", ErrCache, bad), true
	}
	m.off = off + int64(len(p))
	s.readWhole = s.readWhole || s.over && m.off == s.end
	s.changed.wake()
	return len(p), err, true
}

// finish says that no more bytes will come: the file is complete, or err says
// why not. Then the bytes go with the last reader. Only the first call counts.
func (s *spool) finish(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	s.over, s.err = true, err
	s.changed.wake()
	if err != nil && len(s.marks) == 0 {
		s.free()
	}
}

// enter registers a reader at the start of the file.
func (s *spool) enter() *readMark {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := &readMark{spool: s}
	s.marks[m] = struct{}{}
	s.cache.need(s)
	return m
}

// leave ends a reader.
func (s *spool) leave(m *readMark) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.marks[m]; !ok {
		return
	}
	delete(s.marks, m)
	s.changed.wake()
	switch {
	case len(s.marks) > 0:
	case s.dropped, s.err != nil:
		s.free()
	case s.readWhole:
		s.cache.spare(s)
	}
}

// drop forgets the bytes, as soon as no reader is there.
func (s *spool) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dropped {
		return
	}
	s.dropped = true
	s.changed.wake()
	if len(s.marks) == 0 {
		s.free()
	}
}

// free gives the disk space back. mu is held.
func (s *spool) free() {
	s.cache.release(s)
	if s.file != nil {
		s.file.Close()
		s.file = nil
	}
	if !s.over {
		s.over, s.err = true, ErrAborted
	}
	s.start = s.end // nothing is here any more
}
