package fs

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/matrixfs/matrixfs/transfer"
)

// outbound is a file that is being sent, or was delivered: an entry of a room.
// A program that overwrites it starts a new offer, and thus a new body.
type outbound struct {
	node
	room *room
	xattrs

	// mu guards all below.
	mu   sync.Mutex
	name string // in the room; temporary, it may be
	body body
	meta meta
	open int // descriptors for writing
	// openers are the processes that have opened it for writing, while it is
	// open.
	openers map[int]bool
	closes  int // how many closes have begun
	// writers are the processes that have written to body; lastWriter is
	// the thread that did last.
	writers    map[int]bool
	lastWriter caller

	toldEnd body // that watchers know to be delivered; guarded by room.mu
}

// meta is what chmod, chown and touch set. Nothing here depends on it.
type meta struct {
	mode         uint32
	uid, gid     uint32
	atime, mtime time.Time
	dated        bool // mtime was set: writing does not change it
}

// maxWriters bounds how many processes are remembered to have written, and to
// have opened.
const maxWriters = 1024

var (
	_ gofs.NodeOpener    = (*outbound)(nil)
	_ gofs.NodeGetattrer = (*outbound)(nil)
	_ gofs.NodeSetattrer = (*outbound)(nil)
)

func newOutbound(r *room, name string, mode uint32, b body) *outbound {
	now := time.Now()
	return &outbound{
		node: node{m: r.m}, room: r, name: name, body: b,
		meta: meta{mode: mode & 0o777, uid: r.m.uid, gid: r.m.gid, atime: now, mtime: now},
	}
}

// current gives the body that is being written.
func (o *outbound) current() body {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.body
}

// identity is how the file shows under /proc.
func (o *outbound) identity() identity {
	o.mu.Lock()
	defer o.mu.Unlock()
	return identity{o.StableAttr().Ino, o.name}
}

// failed reports whether the file was not and will not be delivered: such an
// entry is not listed.
func (o *outbound) failed() bool { return o.current().err() != nil }

// rename gives the file the name that the peer will see, if it is not too
// late.
func (o *outbound) rename(name string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.name = name
	o.body.rename(name)
}

// Getattr implements gofs.NodeGetattrer.
func (o *outbound) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	o.attr(&out.Attr)
	return 0
}

func (o *outbound) attr(a *fuse.Attr) {
	o.mu.Lock()
	defer o.mu.Unlock()
	a.Ino = o.StableAttr().Ino // go-fuse does not fill it in after Setattr
	a.Mode = unix.S_IFREG | o.m.permissions(o.meta.mode)
	a.Uid, a.Gid = o.meta.uid, o.meta.gid
	a.Nlink = 1
	a.Size = uint64(o.body.extent())
	a.Blocks = (a.Size + 511) / 512
	a.Blksize = maxWrite
	a.SetTimes(&o.meta.atime, &o.meta.mtime, &o.meta.mtime)
}

// Setattr implements gofs.NodeSetattrer: chmod, chown, touch and truncate.
func (o *outbound) Setattr(op context.Context, f gofs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if o.m.announcer.alter(op) {
		o.attr(&out.Attr)
		return 0
	}
	if size, ok := in.GetSize(); ok {
		h, _ := f.(*sender)
		if err := o.truncate(int64(size), h != nil && h.wrote.Load()); err != nil {
			return o.m.errno(err)
		}
	}
	o.setMeta(in)
	o.attr(&out.Attr)
	return 0
}

func (o *outbound) setMeta(in *fuse.SetAttrIn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if mode, ok := in.GetMode(); ok {
		o.meta.mode = mode & 0o777
	}
	if uid, ok := in.GetUID(); ok {
		o.meta.uid = uid
	}
	if gid, ok := in.GetGID(); ok {
		o.meta.gid = gid
	}
	if t, ok := in.GetATime(); ok {
		o.meta.atime = t
	}
	if t, ok := in.GetMTime(); ok {
		o.meta.mtime, o.meta.dated = t, true
	}
}

// truncate sets the size. Emptying a file that was sent starts a new offer:
// that is what opening with O_TRUNC, and cp onto an existing file, come to.
// own says that the writer itself asks.
func (o *outbound) truncate(size int64, own bool) error {
	s := o.current()
	if size > 0 || !s.isEnded() {
		if s.isEnded() {
			return errSent
		}
		if !own && !s.isAhead(size) {
			return syscall.EBUSY // somebody else is writing it
		}
		err := s.resize(size)
		if err != nil && !errors.Is(err, syscall.EBUSY) && (own || s.extent() == 0) {
			o.spoil(s)
		}
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.body != s:
		return syscall.EBUSY // somebody else was quicker
	case o.open == 0 && s.extent() > 0:
		return errSent // truncate(2): nobody would ever close it
	case o.open == 0:
		return nil
	}
	b, err := o.room.newBody(offeredName(o.name))
	if err != nil {
		return err
	}
	o.body = b
	o.writers, o.lastWriter, o.meta.dated = nil, 0, false
	return nil
}

// spoil cancels the offer of a file that could not be changed as its program
// wants: it is not what that means to send, and many programs close it in good
// order all the same.
func (o *outbound) spoil(s body) {
	if !s.isFinishing() && !o.isPrivate() {
		s.cancel()
	}
}

// Open implements gofs.NodeOpener. What was sent is not kept, so it can't be
// read; a program may read what it is writing, as far as it is still here.
func (o *outbound) Open(op context.Context, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	if flags&unix.O_ACCMODE == unix.O_RDONLY {
		if o.current().isEnded() {
			return nil, 0, syscall.EACCES
		}
		return &reviewer{o}, senderFlags, 0
	}
	c := callerOf(op)
	if o.m.isUnseen(op) || o.isPrivate() && !o.kept(c, flags) {
		return nil, 0, syscall.EACCES
	}
	o.room.relist(o)
	return o.newSender(c), senderFlags, 0
}

// isPrivate reports whether the file is never offered.
func (o *outbound) isPrivate() bool {
	b, ok := o.current().(*spooled)
	return ok && b.out == nil
}

// isOpen reports whether a program has the file open for writing.
func (o *outbound) isOpen() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.open > 0
}

// openedBy reports whether the process of the thread has it open for writing,
// or had it while others still have.
func (o *outbound) openedBy(c caller) bool {
	process := c.process()
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.openers[process]
}

// kept is room.keeps for a file that is there.
func (o *outbound) kept(c caller, flags uint32) bool {
	name := o.identity().name
	o.room.mu.Lock()
	defer o.room.mu.Unlock()
	return o.room.keeps(c, name, flags)
}

// newSender counts one more descriptor for writing, of the thread's process.
func (o *outbound) newSender(c caller) *sender {
	process := c.process()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.open++
	if o.openers == nil {
		o.openers = map[int]bool{}
	}
	if len(o.openers) < maxWriters {
		o.openers[process] = true
	}
	return &sender{file: o}
}

// remember notes that the process of the thread has written, and whether it is
// the first to.
func (o *outbound) remember(c caller) (first bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.meta.dated {
		o.meta.mtime = time.Now()
	}
	if c == o.lastWriter && o.writers != nil {
		return false
	}
	first = o.writers == nil
	if first {
		o.writers = map[int]bool{}
	}
	if o.lastWriter = c; len(o.writers) < maxWriters {
		o.writers[c.process()] = true
	}
	return first
}

// wroteBy reports whether the process of the thread has written.
func (o *outbound) wroteBy(c caller) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.writers[c.process()]
}

// held reports whether somebody else still holds the file when the thread
// closes it. Of several that close it at once, the last one decides.
func (o *outbound) held(c caller) bool {
	o.mu.Lock()
	o.closes++
	closes := o.closes
	o.mu.Unlock()
	if o.m.held(o.identity(), c) {
		return true
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.closes != closes
}

// release counts one descriptor less. A file that nobody finished is
// cancelled with the last.
func (o *outbound) release() {
	o.mu.Lock()
	o.open--
	last, b := o.open == 0, o.body
	if last {
		o.openers = nil
	}
	o.mu.Unlock()
	if last {
		b.release()
	}
}

// reviewer is an open descriptor of a file being sent that can only be read.
type reviewer struct{ file *outbound }

var (
	_ gofs.FileReader  = (*reviewer)(nil)
	_ gofs.FileFsyncer = (*reviewer)(nil)
)

// Read implements gofs.FileReader.
func (h *reviewer) Read(_ context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	return h.file.readBack(dest, off)
}

// Fsync implements gofs.FileFsyncer: sync(1) opens a file only to read.
func (h *reviewer) Fsync(context.Context, uint32) syscall.Errno { return h.file.fsync() }

// readBack reads what was written. What has left can't be read: that is not an
// error of the disk, so it is not EIO.
func (o *outbound) readBack(dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	n, err := o.current().read(dest, off)
	if errors.Is(err, transfer.ErrBehind) {
		return nil, syscall.EACCES
	}
	if err != nil {
		return nil, o.m.errno(err)
	}
	return fuse.ReadResultData(dest[:n]), 0
}
