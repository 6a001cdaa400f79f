package transfer

import (
	"fmt"
	"os"
	"sync"
)

const (
	// DefaultCacheSize is how much disk space received files take at most
	// where nobody says otherwise, in bytes.
	DefaultCacheSize = 4 << 30
	// minSpool is what each transfer gets even if the cache is full, so that
	// a file can stream through. With maxIncoming it bounds the excess.
	minSpool = 16 << 20
)

// cache holds the received bytes of all transfers, within one limit. Each
// transfer has a spool of it.
type cache struct {
	dir   string
	limit int64
	// evict is called without a lock for a spool that lost its place.
	evict func(*spool)

	mu     sync.Mutex // guards all below; taken after a spool's mutex
	used   int64
	spools map[*spool]int64 // what each holds
	age    []*spool         // complete and read to the end, oldest first
}

// newCache makes the directory, for this user alone.
func newCache(dir string, limit int64) (*cache, error) {
	if limit <= 0 {
		limit = DefaultCacheSize
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrCache, err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrCache, err)
	}
	return &cache{dir: dir, limit: limit, spools: map[*spool]int64{}, evict: func(*spool) {}}, nil
}

// newSpool makes a spool. Its file is made when the first byte comes.
func (c *cache) newSpool() *spool {
	return &spool{cache: c, marks: map[*readMark]struct{}{}}
}

// create makes a file that has no name, so that a crash leaves nothing.
func (c *cache) create() (*os.File, error) {
	f, err := os.CreateTemp(c.dir, "received-")
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrCache, err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, fmt.Errorf("%w: %v", ErrCache, err)
	}
	return f, nil
}

// reserve lets s hold n bytes more, if there is room or s is still small. To
// make room it gives up files that somebody has read to the end: the caller
// has to evict those once it holds no lock.
func (c *cache) reserve(s *spool, n int64) (ok bool, victims []*spool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.used+n > c.limit && len(c.age) > 0 {
		v := c.age[0]
		c.age = c.age[1:]
		c.used -= c.spools[v]
		delete(c.spools, v)
		victims = append(victims, v)
	}
	ok = c.used+n <= c.limit || c.spools[s]+n <= minSpool
	if ok {
		c.used += n
		c.spools[s] += n
	}
	return ok, victims
}

// release takes back what s holds.
func (c *cache) release(s *spool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.used -= c.spools[s]
	delete(c.spools, s)
	c.keep(s)
}

// spare says that s may be given up when room is needed.
func (c *cache) spare(s *spool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.spools[s]; ok {
		c.keep(s)
		c.age = append(c.age, s)
	}
}

// need says that s is being read and may not be given up.
func (c *cache) need(s *spool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keep(s)
}

// keep takes s off the list of what may be given up. mu is held.
func (c *cache) keep(s *spool) {
	for i, v := range c.age {
		if v == s {
			c.age = append(c.age[:i], c.age[i+1:]...)
			return
		}
	}
}
