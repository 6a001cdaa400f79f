package fs

import (
	"context"
	"sync/atomic"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// act is what has happened to an entry.
type act int

const (
	appeared act = iota + 1
	vanished
	moved   // to another name in the same directory
	altered // its attributes
)

// announcement is something that has happened to an entry without a system
// call. The crier makes a system call of it, and what that asks for is granted
// without any effect.
type announcement struct {
	act    act
	dir    *gofs.Inode // the directory
	path   string      // of the directory, from the root; the root's is ""
	name   string
	to     string           // the new name, if moved
	inode  *gofs.Inode      // the entry
	fill   func(*fuse.Attr) // its attributes
	target string           // where it leads, if it is a link
	// stands reports whether it is still true, and not told yet. told takes
	// note that it need not be told again. Both take locks.
	stands func() bool
	told   func()

	reached  atomic.Bool // the crier is known here: it came through the gate
	answered atomic.Bool // the call was granted, so the kernel raises the event
}

// grant takes note that the call was granted.
func (c *announcement) grant() {
	c.told()
	c.answered.Store(true)
}

// request gives the system call to make, with paths below the directory base.
func (c *announcement) request(base string) request {
	if c.path != "" {
		base += "/" + c.path
	}
	r := request{path: base + "/" + c.name}
	kind := c.inode.Mode()
	switch c.act {
	case appeared:
		r.call = map[uint32]call{unix.S_IFDIR: callMkdir, unix.S_IFLNK: callSymlink, unix.S_IFREG: callMknod}[kind]
		r.second = c.target
	case vanished:
		if r.call = callUnlink; kind == unix.S_IFDIR {
			r.call = callRmdir
		}
	case moved:
		r.call, r.second = callRename, base+"/"+c.to
	case altered:
		r.call = callTouch
	}
	return r
}

// gate is a directory that only the crier can find, because its name is a
// secret of this mount. The crier goes to the root by way of it, so that its
// calls never reach anything else that is mounted, or lies, in the same place.
type gate struct{ directory }

func (g *gate) fill(a *fuse.Attr) { g.attr(a, 0o500) }

// calls reports whether op is made by the crier.
func (a *announcer) calls(op context.Context) bool {
	if a == nil {
		return false
	}
	pid := a.pid.Load()
	return pid != 0 && callerOf(op) == caller(pid)
}

// asked gives what is being announced, if that is about name in dir.
func (a *announcer) asked(dir *gofs.Inode, name string) *announcement {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.current
	if c == nil || c.dir != dir || name != c.name && (c.act != moved || name != c.to) {
		return nil
	}
	return c
}

// lookup answers the crier if it looks up what it announces: what appears is
// not there yet, what has vanished is still there. mine says that it did;
// all other names are what they are for everybody.
func (a *announcer) lookup(op context.Context, dir *gofs.Inode, name string, out *fuse.EntryOut) (n *gofs.Inode, errno syscall.Errno, mine bool) {
	if !a.calls(op) {
		return nil, 0, false
	}
	if name == a.gateName {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.current == nil || dir != a.m.root.EmbeddedInode() {
			return nil, syscall.ENOENT, true
		}
		a.current.reached.Store(true)
		a.gate.fill(&out.Attr)
		return a.gate.EmbeddedInode(), 0, true
	}
	c := a.asked(dir, name)
	if c == nil || c.act == altered {
		return nil, 0, false
	}
	if c.act == appeared || name != c.name || !c.stands() {
		return nil, syscall.ENOENT, true
	}
	c.fill(&out.Attr)
	return c.inode, 0, true
}

// appear answers MKNOD, MKDIR and SYMLINK: nobody but the crier may.
func (a *announcer) appear(op context.Context, dir *gofs.Inode, name string, kind uint32, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	if !a.calls(op) {
		return nil, syscall.EPERM
	}
	c := a.asked(dir, name)
	if c == nil || c.act != appeared || c.inode.Mode() != kind {
		return nil, syscall.EPERM
	}
	c.fill(&out.Attr)
	c.grant()
	return c.inode, 0
}

// vanish answers UNLINK and RMDIR of the crier; mine says that it was one.
func (a *announcer) vanish(op context.Context, dir *gofs.Inode, name string) (errno syscall.Errno, mine bool) {
	if !a.calls(op) {
		return 0, false
	}
	c := a.asked(dir, name)
	if c == nil || c.act != vanished {
		return syscall.ENOENT, true
	}
	c.grant()
	return 0, true
}

// move answers RENAME of the crier; mine says that it was one.
func (a *announcer) move(op context.Context, dir *gofs.Inode, name, to string) (errno syscall.Errno, mine bool) {
	if !a.calls(op) {
		return 0, false
	}
	c := a.asked(dir, name)
	if c == nil || c.act != moved || c.to != to {
		return syscall.ENOENT, true
	}
	c.grant()
	return 0, true
}

// alter reports whether a SETATTR is one of the crier: then nothing is to be
// changed.
func (a *announcer) alter(op context.Context) bool {
	if !a.calls(op) {
		return false
	}
	a.mu.Lock()
	c := a.current
	a.mu.Unlock()
	if c != nil && c.act == altered {
		c.grant()
	}
	return true
}
