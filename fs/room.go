package fs

import (
	"context"
	"maps"
	"slices"
	"sync"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/matrixfs/matrixfs/transfer"
)

// room is the directory of a room. Its entries are the files being sent to the
// room, and those delivered since the mount.
type room struct {
	directory
	id transfer.RoomID

	mu    sync.Mutex // guards all below
	info  Room
	files map[string]*outbound // those that failed too, until somebody looks
	told  map[string]*outbound // what watchers know of files; nil if nothing is announced
	// sought is the entry that was looked up last, and by which thread. GLib
	// looks at what it replaces before it makes a file whose name says nothing.
	sought   string
	soughtBy caller

	// Guarded by root.mu.
	name        string // in the root
	toldRefused bool   // what watchers know
}

var (
	_ gofs.NodeGetattrer = (*room)(nil)
	_ gofs.NodeSetattrer = (*room)(nil)
	_ gofs.NodeLookuper  = (*room)(nil)
	_ gofs.NodeReaddirer = (*room)(nil)
	_ gofs.NodeCreater   = (*room)(nil)
	_ gofs.NodeUnlinker  = (*room)(nil)
	_ gofs.NodeRenamer   = (*room)(nil)
)

func newRoom(m *Mounted, info Room) *room {
	r := &room{directory: directory{node: node{m: m}}, id: info.ID, info: info, files: map[string]*outbound{}, toldRefused: info.Refused != ""}
	if m.announcer != nil {
		r.told = map[string]*outbound{}
	}
	m.adopt(r, unix.S_IFDIR)
	return r
}

// update takes over what has changed about the room.
func (r *room) update(info Room) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.info = info
}

func (r *room) current() Room {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.info
}

// Getattr implements gofs.NodeGetattrer.
func (r *room) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	r.fill(&out.Attr)
	return 0
}

// Setattr implements gofs.NodeSetattrer. rsync -a sets the times of the
// directory it copies into; it may, but nothing changes.
func (r *room) Setattr(op context.Context, _ gofs.FileHandle, _ *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	r.m.announcer.alter(op)
	r.fill(&out.Attr)
	return 0
}

// fill gives the attributes: the mode says whether files may be sent.
func (r *room) fill(a *fuse.Attr) {
	mode := uint32(0o700)
	if r.current().Refused != "" {
		mode = 0o500
	}
	r.attr(a, mode)
}

// find gives the entry of that name. One that failed is forgotten now.
func (r *room) find(name string) *outbound {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.findLocked(name)
}

func (r *room) findLocked(name string) *outbound {
	o := r.files[name]
	if o != nil && o.failed() {
		delete(r.files, name)
		r.touch()
		return nil
	}
	return o
}

// relist makes sure that a file somebody has opened anew is listed: it may
// have failed, and been forgotten, since the kernel looked it up.
func (r *room) relist(o *outbound) {
	name := o.identity().name
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.files[name] == nil {
		r.files[name] = o
		r.touch()
	}
}

// Lookup implements gofs.NodeLookuper. Who looks a file up may want to remove
// or change it.
func (r *room) Lookup(op context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	if n, errno, mine := r.m.announcer.lookup(op, r.EmbeddedInode(), name, out); mine {
		return n, errno
	}
	o := r.find(name)
	if o == nil {
		return nil, syscall.ENOENT
	}
	r.seek(callerOf(op), name)
	o.current().nudge()
	o.attr(&out.Attr)
	return o.EmbeddedInode(), 0
}

// seek notes that a thread has looked up an entry.
func (r *room) seek(c caller, name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sought, r.soughtBy = name, c
}

// Readdir implements gofs.NodeReaddirer.
func (r *room) Readdir(context.Context) (gofs.DirStream, syscall.Errno) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.dots()
	for _, name := range slices.Sorted(maps.Keys(r.files)) {
		if o := r.findLocked(name); o != nil {
			list = append(list, entry(name, o.EmbeddedInode()))
		}
	}
	return gofs.NewListDirStream(list), 0
}

// Create implements gofs.NodeCreater: it offers a file to the room. Nobody is
// told before there are bytes.
func (r *room) Create(op context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*gofs.Inode, gofs.FileHandle, uint32, syscall.Errno) {
	if r.current().Refused != "" || r.m.isUnseen(op) {
		return nil, nil, 0, syscall.EACCES
	}
	if flags&unix.O_ACCMODE == unix.O_RDONLY {
		return nil, nil, 0, syscall.EACCES // nothing could be written to it
	}
	c := callerOf(op)
	offered := c.offers(name)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.findLocked(name) != nil {
		return nil, nil, 0, syscall.EEXIST
	}
	if _, known := finalName(name); !known && c != 0 && r.soughtBy == c {
		offered = offeredName(r.sought)
	}
	var b body
	var err error
	switch {
	case !becomesPrivate(name, offered) && !r.isBeside(name):
		b, err = r.newBody(offered)
	case r.keeps(c, name, flags):
		b, err = r.newPrivate()
	default:
		err = syscall.EACCES // it means to send it
	}
	if err != nil {
		return nil, nil, 0, r.m.errno(err)
	}
	o := newOutbound(r, name, mode, b)
	inode := r.m.adopt(o, unix.S_IFREG)
	r.files[name] = o
	r.touch()
	if r.told != nil {
		r.told[name] = o
	}
	o.attr(&out.Attr)
	h := o.newSender(c)
	h.probe = c.probes(name)
	return inode, h, senderFlags, 0
}

// newBody makes the body of a file that is offered under a name.
func (r *room) newBody(name string) (body, error) {
	out, err := r.m.options.Exchange.Offer(r.id, name)
	if err != nil {
		return nil, err
	}
	if r.m.spool == nil {
		return newStream(out), nil
	}
	return newSpooled(r.m.spool, out), nil
}

// newPrivate makes the body of a file that is never offered. There is a place
// for it only where files are on disk.
func (r *room) newPrivate() (body, error) {
	if r.m.spool == nil {
		return nil, syscall.EACCES
	}
	return newSpooled(r.m.spool, nil), nil
}

// isBeside reports whether the name is that of a file that SQLite makes beside
// one that is being written. mu is held.
func (r *room) isBeside(name string) bool {
	o := r.files[sideOf(name)]
	return o != nil && o.isOpen()
}

// keeps reports whether the thread's program, which opens a file of that name
// with flags, wants it for itself, beside the file it works on. Such a file is
// never offered: whoever copies one here must not take it for sent. Those who
// keep one read it too; those who copy only write. mu is held.
func (r *room) keeps(c caller, name string, flags uint32) bool {
	if flags&unix.O_ACCMODE != unix.O_RDWR {
		return false
	}
	if keptPrivate(name) {
		return c.isVim()
	}
	o := r.files[sideOf(name)]
	return o != nil && o.openedBy(c)
}

// Unlink implements gofs.NodeUnlinker: it cancels what is being sent, and
// forgets what was delivered.
func (r *room) Unlink(op context.Context, name string) syscall.Errno {
	if errno, mine := r.m.announcer.vanish(op, r.EmbeddedInode(), name); mine {
		return errno
	}
	r.mu.Lock()
	o := r.findLocked(name)
	delete(r.files, name)
	delete(r.told, name)
	r.mu.Unlock()
	if o == nil {
		return syscall.ENOENT
	}
	r.touch()
	o.current().cancel()
	return 0
}

// Rename implements gofs.NodeRenamer, within the room: many programs write
// under a temporary name.
func (r *room) Rename(_ context.Context, name string, to gofs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	if to.EmbeddedInode() != r.EmbeddedInode() {
		return syscall.EXDEV
	}
	if flags&^renameNoReplace != 0 {
		return syscall.EINVAL
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	o, old := r.findLocked(name), r.findLocked(newName)
	switch {
	case o == nil:
		return syscall.ENOENT
	case o.isPrivate() != keptPrivate(newName):
		return syscall.EACCES
	case old == o:
		return 0
	case old != nil && flags&renameNoReplace != 0:
		return syscall.EEXIST
	case old != nil:
		old.current().cancel()
	}
	delete(r.files, name)
	r.files[newName] = o
	r.touch()
	if r.told != nil {
		delete(r.told, name)
		r.told[newName] = o
	}
	o.rename(newName)
	return 0
}

// abandon cancels whatever is still being sent.
func (r *room) abandon() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range r.files {
		o.current().cancel()
	}
}
