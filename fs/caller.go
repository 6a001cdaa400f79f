package fs

import (
	"context"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// caller is the thread that an operation was made for, by its number. It is 0
// where the kernel does not tell: for a thread of another pid namespace.
type caller int

// maxCommand bounds how much of a command line is looked at, in bytes.
const maxCommand = 4096

// callerOf gives the thread that op was made for.
func callerOf(op context.Context) caller {
	if c, ok := fuse.FromContext(op); ok {
		return caller(c.Pid)
	}
	return 0
}

// isUnseen reports whether the thread belongs to a user whose programs hide from
// us what they hold open and how they end: from all but root, all others do. It
// could not be told then whether a file is whole.
func (m *Mounted) isUnseen(op context.Context) bool {
	if !m.options.AllowOther || m.uid == 0 {
		return false
	}
	c, ok := fuse.FromContext(op)
	return !ok || c.Uid != m.uid
}

// identity is what tells a file of ours under /proc.
type identity struct {
	inode uint64
	name  string // in its directory
}

// ending is how a thread that is closing its files comes to its end.
type ending struct {
	// executing: it becomes another program (execve); the kernel closes files
	// for it. Nothing else is known then.
	executing bool
	// exiting: it is ending; the kernel closes its files for it.
	exiting bool
	// failed: it was killed, or exits with a status that is not 0.
	failed bool
	// signal is what killed it, or 0.
	signal syscall.Signal
}

// lookAgain is how often a thread that was interrupted is looked at: the
// kernel reports the first signal only.
const lookAgain = 50 * time.Millisecond

// patient gives a context for a wait that a signal ends only if the thread is
// condemned: Ctrl-Z and a resized terminal must not make a close fail. The
// context also ends with that of the mount. cancel must be called, and leaves
// no goroutine behind.
func (m *Mounted) patient(op context.Context) (ctx context.Context, cancel context.CancelFunc) {
	ctx, stop := context.WithCancel(m.closing)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		select {
		case <-op.Done():
		case <-ctx.Done():
			return
		}
		look := time.NewTicker(lookAgain)
		defer look.Stop()
		for c := callerOf(op); !c.condemned(); {
			select {
			case <-look.C:
			case <-ctx.Done():
				return
			}
		}
		stop()
	}()
	return ctx, func() { stop(); <-gone }
}
