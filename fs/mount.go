package fs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/matrixfs/matrixfs/transfer"
)

const (
	// maxWrite is the longest WRITE and READ: the largest that the kernel
	// allows without root's help. Longer is faster.
	maxWrite = 1 << 20
	// politeness is how long Close gives programs to leave by themselves, now
	// that they get errors, before it takes the mount from under them.
	politeness = 500 * time.Millisecond
	// drainTimeout bounds how long Close waits for the kernel to let go. It
	// does so at once, except where a program of an ordinary user still has a
	// file open or stands in a directory, and /sys/fs/fuse is not mounted.
	drainTimeout = 2 * time.Second
)

// Options says what to mount, and where.
type Options struct {
	// Mountpoint is an empty directory of the user.
	Mountpoint string
	// Rooms and Exchange are what is shown. Both are needed.
	Rooms    Rooms
	Exchange Exchange
	// Self is the sender that the attributes of outgoing files name. It may
	// be empty.
	Self transfer.Peer
	// Readers says who accepts an offer by reading it.
	Readers Readers
	// Ask makes that nobody: an offer is accepted by its attribute
	// user.matrix.accept, and can't be read before.
	Ask bool
	// Announce makes the command of a process that runs Announce. It tells
	// watchers of the tree (inotify) of what changes by itself, as file managers
	// need; nil: nobody is told. It has no effect but on Linux.
	Announce func() *exec.Cmd
	// SpoolDir, if set, is where files are written before they are offered:
	// then programs can write them in any order. It is made if need be.
	SpoolDir string
	// SpoolSize bounds the bytes there, of all files together; 0 means
	// transfer.DefaultCacheSize.
	SpoolSize int64
	// Logger gets what can't be returned as an error; nil discards it.
	Logger *slog.Logger
	// AllowOther lets every user of this machine do in the mount what its own
	// user may do, but send files only where that user is root. See
	// CheckAllowOther.
	AllowOther bool
	// Debug logs every operation, at debug level.
	Debug bool
}

// Mounted is a mounted tree. It is safe for concurrent use.
type Mounted struct {
	options   Options
	log       *slog.Logger
	point     string // Options.Mountpoint, absolute and without symbolic links
	root      *root
	announcer *announcer // nil: nothing is announced
	kernel    *kernelSide
	policy    *policy
	spool     *store    // nil where files leave while they are being written
	device    uint32    // the minor device number, which names the connection
	started   time.Time // when it was mounted
	uid, gid  uint32
	inode     atomic.Uint64 // the inode number given out last

	// closing ends when Close begins: whatever waits, waits for it too.
	closing context.Context
	shut    context.CancelFunc
	served  chan struct{} // closed when no operation will ever come again

	background sync.WaitGroup // what goes on after an operation is over
	unmounting sync.Mutex     // one Close at a time
}

// Mount mounts the tree and returns when it can be used. A mount left dead by
// a crash is replaced. Errors are one line that says what to do; errors.Is
// tells ErrNoFUSE, ErrBusy, ErrNotDir and ErrPermission apart.
func Mount(o Options) (*Mounted, error) {
	if o.Rooms == nil || o.Exchange == nil {
		return nil, errors.New("a mount needs rooms and an exchange")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.AllowOther {
		if err := CheckAllowOther(); err != nil {
			return nil, err
		}
	}
	m, err := mount(o)
	if err != nil && isDead(o.Mountpoint) {
		// A fusermount3 whose program was killed has got in between.
		m, err = mount(o)
	}
	return m, err
}

// mount tries once.
func mount(o Options) (*Mounted, error) {
	point, err := claimMountpoint(o.Mountpoint)
	if err != nil {
		return nil, err
	}
	m := &Mounted{
		options: o, log: o.Logger, point: point, started: time.Now(),
		uid: uint32(os.Getuid()), gid: uint32(os.Getgid()), served: make(chan struct{}),
	}
	if o.SpoolDir != "" {
		if m.spool, err = newStore(o.SpoolDir, o.SpoolSize); err != nil {
			return nil, err
		}
	}
	m.inode.Store(firstInode())
	m.closing, m.shut = context.WithCancel(context.Background())
	m.policy = &policy{readers: o.Readers, ask: o.Ask, log: o.Logger, told: map[string]bool{}}
	if o.Announce != nil && canAnnounce {
		m.announcer = newAnnouncer(m)
	}
	m.root = newRoot(m)
	if err := m.serve(); err != nil {
		m.shut()
		m.root.close()
		return nil, err
	}
	return m, nil
}

// serve mounts, and starts answering.
func (m *Mounted) serve() error {
	options := m.fuseOptions()
	m.kernel = &kernelSide{RawFileSystem: gofs.NewNodeFS(m.root, options)}
	server, err := fuse.NewServer(m.kernel, m.point, &options.MountOptions)
	if err != nil {
		return fmt.Errorf("%w: mounting on %s failed (%s): see what fusermount3 wrote above", ErrNoFUSE, m.point, strings.TrimSpace(err.Error()))
	}
	closeOnExec()
	if m.announcer != nil {
		m.announcer.begin()
	}
	go func() {
		defer close(m.served)
		server.Serve()
		m.shut()
		m.root.close()
		m.background.Wait()
		m.spool.wait()
	}()
	// The mount is there; what is asked of it waits until Serve runs. WaitMount
	// would open a file in it: a process that is killed while it waits for
	// itself can't die, and holds the connection, which can't end.
	if m.device, err = deviceOf(m.point); err != nil {
		return errors.Join(fmt.Errorf("the mount on %s does not answer: %w", m.point, err), m.Close())
	}
	return nil
}

func (m *Mounted) fuseOptions() *gofs.Options {
	never := time.Duration(0)
	logger := slog.NewLogLogger(m.log.Handler(), slog.LevelDebug)
	return &gofs.Options{
		EntryTimeout: &never, AttrTimeout: &never,
		// The mode says all: that of a room which refuses has no w.
		NullPermissions: true,
		Logger:          logger,
		MountOptions: fuse.MountOptions{
			Options:    []string{"nosuid", "nodev", "noexec"},
			AllowOther: m.options.AllowOther,
			FsName:     "matrixfs",
			Name:       "matrixfs",
			MaxWrite:   maxWrite,
			// What READDIRPLUS tells is not kept, with timeouts of zero: ls would
			// pay for it, and ls -l would ask again.
			DisableReadDirPlus: true,
			// So that a file which is still coming in can be mapped.
			ExtraCapabilities: fuse.CAP_DIRECT_IO_ALLOW_MMAP,
			DirectMount:       !haveFusermount() && os.Geteuid() == 0,
			Logger:            logger,
			Debug:             m.options.Debug,
		},
	}
}

// Mountpoint is where the tree is mounted: absolute, without symbolic links.
func (m *Mounted) Mountpoint() string { return m.point }

// Wait waits until the tree is unmounted, by Close or by somebody else, and no
// operation is under way.
func (m *Mounted) Wait() { <-m.served }

// Close unmounts. Whatever waits in a read, a write or a close gets an error
// at once. Programs that keep files open lose them.
func (m *Mounted) Close() error {
	m.shut()
	m.unmounting.Lock()
	defer m.unmounting.Unlock()
	if m.awaitServed(0) {
		return nil
	}
	if on := mountOn(m.point); on != nil && on.minor != m.device {
		m.log.Warn("unmounted by somebody else, and a program still uses it", "mountpoint", m.point)
		return nil // what is mounted there now is not ours
	}
	err := unmount(m.point, false)
	for start := time.Now(); err != nil && time.Since(start) < politeness; {
		if m.awaitServed(50 * time.Millisecond) {
			return nil
		}
		err = unmount(m.point, false)
	}
	if err != nil {
		abortConnection(m.device)
		if err = unmount(m.point, true); err != nil && !m.awaitServed(0) {
			return fmt.Errorf("%s can't be unmounted: %w", m.point, err)
		}
	}
	if !m.awaitServed(drainTimeout) {
		m.log.Warn("a program still uses the mount, which is gone", "mountpoint", m.point)
	}
	return nil
}

// awaitServed waits at most d for the end of all operations.
func (m *Mounted) awaitServed(d time.Duration) bool {
	select {
	case <-m.served:
		return true
	case <-time.After(d):
	}
	select {
	case <-m.served:
		return true
	default:
		return false
	}
}

// waiting gives the context for an operation that waits: it ends when the
// kernel interrupts the operation, or when the mount closes. cancel must be
// called, and leaves no goroutine behind.
func (m *Mounted) waiting(op context.Context) (ctx context.Context, cancel context.CancelFunc) {
	ctx, stop := context.WithCancel(m.closing)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		select {
		case <-op.Done():
			stop()
		case <-ctx.Done():
		}
	}()
	return ctx, func() { stop(); <-gone }
}

// errno gives the errno for err. What ended because the mount closes is not
// taken for an interruption: a program would try again.
func (m *Mounted) errno(err error) syscall.Errno {
	if errors.Is(err, context.Canceled) && m.closing.Err() != nil {
		err = errUnmounted
	}
	return errnoOf(m.log, err)
}
