package transfer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

type noSignaller struct{}

func (noSignaller) Send(context.Context, RoomID, Message) (EventID, error) { return "", ErrOffline }
func (noSignaller) Retire(RoomID, ID)                                      {}
func (noSignaller) Members(RoomID) []UserID                                { return nil }
func (noSignaller) TURNServers(context.Context) ([]TURNServer, error)      { return nil, nil }

func testCache(t *testing.T, limit int64) *cache {
	c, err := newCache(t.TempDir(), limit)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// numbered is n bytes of which every 8 tell their own offset.
func numbered(off, n int64) []byte {
	p := make([]byte, n)
	for i := range p {
		at := off + int64(i)
		p[i] = byte(at>>(8*(at%8))) ^ byte(at)
	}
	return p
}

func TestSpoolWaits(t *testing.T) {
	s := testCache(t, 0).newSpool()
	m := s.enter()
	type result struct {
		n   int
		err error
	}
	got := make(chan result)
	p := make([]byte, 8)
	go func() {
		n, err := s.readAt(t.Context(), m, p, 4)
		got <- result{n, err}
	}()
	for i := range int64(3) {
		if err := s.append(t.Context(), numbered(i*4, 4)); err != nil {
			t.Fatal(err)
		}
	}
	if r := <-got; r.n != 8 || r.err != nil || !bytes.Equal(p, numbered(4, 8)) {
		t.Errorf("%+v %x", r, p)
	}
	// Past what has come, a read waits for the end to be known.
	go func() {
		n, err := s.readAt(t.Context(), m, p, 8)
		got <- result{n, err}
	}()
	s.finish(nil)
	s.finish(ErrLost) // only the first counts
	if r := <-got; r.n != 4 || r.err != io.EOF {
		t.Errorf("at the end: %+v", r)
	}
	if n, err := s.readAt(t.Context(), m, p, 100); n != 0 || err != io.EOF {
		t.Errorf("after the end: %d, %v", n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if n, err := s.readAt(ctx, m, p[:4], 0); n != 4 || err != nil {
		t.Errorf("what is here needs no waiting: %d, %v", n, err)
	}
	s.leave(m)
	s.drop()
}

func TestSpoolInterrupted(t *testing.T) {
	s := testCache(t, 0).newSpool()
	m := s.enter()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if n, err := s.readAt(ctx, m, make([]byte, 1), 0); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("%d, %v", n, err)
	}
	s.leave(m)
	s.drop()
}

// TestSpoolBroken: of a file that broke off, what came can be read, and the
// end is an error, never io.EOF.
func TestSpoolBroken(t *testing.T) {
	s := testCache(t, 0).newSpool()
	m := s.enter()
	_ = s.append(t.Context(), numbered(0, 10))
	s.finish(ErrLost)
	p := make([]byte, 10)
	if n, err := s.readAt(t.Context(), m, p, 0); n != 10 || err != nil {
		t.Errorf("what came: %d, %v", n, err)
	}
	for _, off := range []int64{5, 10, 11} {
		if n, err := s.readAt(t.Context(), m, p, off); n != 0 || !errors.Is(err, ErrLost) {
			t.Errorf("at %d: %d, %v", off, n, err)
		}
	}
	s.leave(m)
	s.drop()
}

// TestSpoolRing streams a file of many times the limit, in pieces that do not
// fit the ring evenly, with two readers of which the slower sets the pace.
func TestSpoolRing(t *testing.T) {
	const limit, total, step = minSpool, 5*minSpool + 12345, 700001
	c := testCache(t, limit)
	s := c.newSpool()
	read := func(m *readMark, done chan<- error) {
		p := make([]byte, 300007)
		for off := int64(0); ; {
			n, err := s.readAt(t.Context(), m, p, off)
			if !bytes.Equal(p[:n], numbered(off, int64(n))) {
				done <- errors.New("wrong bytes")
				return
			}
			off += int64(n)
			if err != nil || off == total {
				done <- err
				return
			}
		}
	}
	done := make(chan error, 2)
	a, b := s.enter(), s.enter()
	go read(a, done)
	go read(b, done)
	for off := int64(0); off < total; {
		n := min(step, total-off)
		if err := s.append(t.Context(), numbered(off, n)); err != nil {
			t.Fatal(err)
		}
		off += n
		if info, err := s.file.Stat(); err != nil || info.Size() > limit {
			t.Fatalf("%d bytes on disk, %v", info.Size(), err)
		}
	}
	s.finish(nil)
	for range 2 {
		if err := <-done; err != nil && err != io.EOF {
			t.Error(err)
		}
	}
	if _, err := s.readAt(t.Context(), a, make([]byte, 1), 0); !errors.Is(err, ErrPassed) {
		t.Errorf("a part that has been dropped: %v", err)
	}
	s.leave(a)
	s.leave(b)
	s.drop()
	if c.used != 0 || len(c.spools) != 0 || len(c.age) != 0 {
		t.Errorf("the cache still counts %d bytes", c.used)
	}
}

// TestSpoolSeekAhead: a reader that skips forward in a file larger than the
// cache is served, whatever it leaves behind.
func TestSpoolSeekAhead(t *testing.T) {
	const total = 3 * minSpool
	s := testCache(t, 1).newSpool()
	m := s.enter()
	got := make(chan error, 1)
	p := make([]byte, 100)
	go func() {
		_, err := s.readAt(t.Context(), m, p, total-100)
		got <- err
	}()
	for off := int64(0); off < total; off += 1 << 20 {
		if err := s.append(t.Context(), numbered(off, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-got; err != nil || !bytes.Equal(p, numbered(total-100, 100)) {
		t.Errorf("%v", err)
	}
	s.leave(m)
	s.drop()
}

// TestCacheGivesUpWhatWasRead: room is made by files that were read to the
// end, never by one that was not.
func TestCacheGivesUpWhatWasRead(t *testing.T) {
	const size = minSpool
	c := testCache(t, 3*size)
	evicted := make(chan *spool, 4)
	c.evict = func(s *spool) { evicted <- s; s.drop() }
	fill := func() *spool {
		s := c.newSpool()
		for off := int64(0); off < size; off += 1 << 20 {
			if err := s.append(t.Context(), make([]byte, 1<<20)); err != nil {
				t.Fatal(err)
			}
		}
		s.finish(nil)
		return s
	}
	unread, read := fill(), fill()
	m := read.enter()
	if _, err := read.readAt(t.Context(), m, make([]byte, 10), size-5); err != io.EOF {
		t.Fatal(err)
	}
	read.leave(m)
	third := fill()
	fourth := fill()
	if s := <-evicted; s != read {
		t.Error("another file than the one that was read had to go")
	}
	fifth := c.newSpool()
	if err := fifth.append(t.Context(), make([]byte, 1<<20)); err != nil {
		t.Errorf("a small file finds no room: %v", err)
	}
	if len(evicted) != 0 {
		t.Error("a file that nobody has read had to go")
	}
	for _, s := range []*spool{unread, third, fourth, fifth} {
		s.drop()
	}
}

// TestSpoolStalls: a file larger than the cache that nobody reads is given up,
// so that its sender does not wait for ever; one with a reader that takes its
// time is not.
func TestSpoolStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fill := func(s *spool) (time.Duration, error) {
			start := time.Now()
			for {
				if err := s.append(t.Context(), make([]byte, 1<<20)); err != nil {
					return time.Since(start), err
				}
			}
		}
		c := testCache(t, 1)
		s := c.newSpool()
		if waited, err := fill(s); !errors.Is(err, ErrAborted) || waited != stallLimit {
			t.Errorf("nobody reads: %v after %v", err, waited)
		}
		s.drop()
		s = c.newSpool()
		m := s.enter()
		time.AfterFunc(10*stallLimit, func() { s.leave(m) })
		if waited, err := fill(s); !errors.Is(err, ErrAborted) || waited != 11*stallLimit {
			t.Errorf("somebody reads slowly: %v after %v", err, waited)
		}
		s.drop()
	})
}

func TestSpoolDropWhileReading(t *testing.T) {
	c := testCache(t, 0)
	s := c.newSpool()
	m := s.enter()
	_ = s.append(t.Context(), []byte("still here"))
	s.finish(nil)
	s.drop()
	p := make([]byte, 10)
	if _, err := s.readAt(t.Context(), m, p, 0); err != nil || string(p) != "still here" {
		t.Errorf("%q, %v", p, err)
	}
	s.leave(m)
	if c.used != 0 || s.file != nil {
		t.Error("the last reader left, and the bytes are still there")
	}
}

func TestCacheLeavesNoNames(t *testing.T) {
	c := testCache(t, 0)
	s := c.newSpool()
	_ = s.append(t.Context(), []byte("x"))
	if names, err := os.ReadDir(c.dir); err != nil || len(names) != 0 {
		t.Errorf("%v in the cache's directory, %v", names, err)
	}
	if info, err := os.Stat(c.dir); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("others may look into the cache: %v, %v", info.Mode(), err)
	}
	s.drop()
}

// TestSpoolFailedGivesBack: a file that broke off takes no room once nobody
// reads it, and whoever comes later learns why.
func TestSpoolFailedGivesBack(t *testing.T) {
	for _, name := range []string{"reader goes first", "reader goes last", "never read"} {
		c := testCache(t, 0)
		s := c.newSpool()
		if err := s.append(t.Context(), numbered(0, 1000)); err != nil {
			t.Fatal(err)
		}
		if name == "reader goes first" {
			s.leave(s.enter())
		}
		if name == "reader goes last" {
			m := s.enter()
			s.finish(ErrLost)
			p := make([]byte, 8)
			if n, err := s.readAt(t.Context(), m, p, 0); n != 8 || err != nil {
				t.Errorf("%s: what has come reads as %d, %v", name, n, err)
			}
			s.leave(m)
		}
		s.finish(ErrLost)
		if c.used != 0 {
			t.Errorf("%s: %d bytes are taken", name, c.used)
		}
		m := s.enter()
		if n, err := s.readAt(t.Context(), m, make([]byte, 8), 0); n != 0 || !errors.Is(err, ErrLost) {
			t.Errorf("%s: a later reader gets %d, %v", name, n, err)
		}
		s.leave(m)
		if err := s.append(t.Context(), numbered(1000, 8)); !errors.Is(err, ErrLost) {
			t.Errorf("%s: appending: %v", name, err)
		}
	}
}
