package fs

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/matrixfs/matrixfs/transfer"
)

// minFree is what the files of a store leave free on the disk: the state of
// the account may be on it, too.
const minFree = 64 << 20

// store holds the files that are written to disk before they are offered,
// within a limit. It is safe for concurrent use.
type store struct {
	dir   string
	limit int64

	closing sync.WaitGroup // files

	mu   sync.Mutex // guards all below
	used int64      // the lengths of all files, holes too
}

// newStore makes the directory, for this user alone.
func newStore(dir string, limit int64) (*store, error) {
	if limit <= 0 {
		limit = transfer.DefaultCacheSize
	}
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = os.Chmod(dir, 0o700)
	}
	if err != nil {
		return nil, fmt.Errorf("files can't be kept on disk before they are offered: %w", err)
	}
	return &store{dir: dir, limit: limit}, nil
}

// create makes a file that has no name, so that a crash leaves nothing.
func (s *store) create() (*os.File, error) {
	f, err := os.CreateTemp(s.dir, "spool-")
	if err != nil {
		return nil, diskError(err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, diskError(err)
	}
	return f, nil
}

// discard closes a file. It does not wait: for a large one it takes time.
func (s *store) discard(f *os.File) { s.closing.Go(func() { f.Close() }) }

// wait waits until all files that are done with are closed.
func (s *store) wait() {
	if s != nil {
		s.closing.Wait()
	}
}

// reserve takes room for n bytes more, or says that there is none.
func (s *store) reserve(n int64) error {
	var disk unix.Statfs_t
	if n > 0 && unix.Statfs(s.dir, &disk) == nil && int64(disk.Bavail)*int64(disk.Bsize) < n+minFree {
		return syscall.ENOSPC
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n > s.limit-s.used {
		return syscall.ENOSPC
	}
	s.used += n
	return nil
}

// giveBack takes back the room for n bytes.
func (s *store) giveBack(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used -= n
}

// diskError gives what a program is told of an error of the disk.
func diskError(err error) error {
	for _, plain := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG, syscall.EOPNOTSUPP} {
		if errors.Is(err, plain) {
			return plain
		}
	}
	return fmt.Errorf("%w: %v", transfer.ErrCache, err)
}
