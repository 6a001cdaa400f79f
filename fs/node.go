package fs

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// node is what all entries of the tree have in common.
type node struct {
	gofs.Inode
	m *Mounted
}

// firstInode is where the inode numbers of a mount start. They differ between
// mounts, so that a file of one is not taken for one of another under /proc.
// 52 bits are enough for 2^20 files, and exact in every program.
func firstInode() uint64 { return 1<<32 + rand.Uint64N(1<<31)<<20 }

// adopt gives a node its inode number.
func (m *Mounted) adopt(n gofs.InodeEmbedder, mode uint32) *gofs.Inode {
	return m.root.NewInode(context.Background(), n, gofs.StableAttr{Mode: mode, Ino: m.inode.Add(1)})
}

// permissions gives the mode that shows for one in which only the bits of the
// owner count. Where others may use the mount, they may do what the owner may.
func (m *Mounted) permissions(mode uint32) uint32 {
	if m.options.AllowOther {
		owner := mode & 0o700
		mode |= owner>>3 | owner>>6
	}
	return mode
}

// Statfs implements gofs.NodeStatfser. There is as much room as anybody asks
// for: file managers refuse to copy where they see less than they need.
func (*node) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	const size = 1 << 50 // 1 PiB
	*out = fuse.StatfsOut{Bsize: 4096, Frsize: 4096, NameLen: maxName, Files: 1 << 32, Ffree: 1 << 32}
	out.Blocks = size / 4096
	out.Bfree, out.Bavail = out.Blocks, out.Blocks
	return 0
}

// directory is a directory in which nothing can be changed.
type directory struct {
	node
	changed atomic.Pointer[time.Time] // when an entry last came or went; nil: when it was mounted
}

// touch notes that an entry came or went. Programs look for that: Dolphin takes
// away what is gone only from a directory whose time has changed.
func (d *directory) touch() {
	now := time.Now()
	d.changed.Store(&now)
}

func (d *directory) attr(a *fuse.Attr, mode uint32) {
	a.Ino = d.StableAttr().Ino
	a.Mode = unix.S_IFDIR | d.m.permissions(mode)
	a.Uid, a.Gid = d.m.uid, d.m.gid
	a.Nlink = 2
	a.Blksize = 4096
	changed := d.changed.Load()
	if changed == nil {
		changed = &d.m.started
	}
	a.SetTimes(changed, changed, changed)
}

// Create refuses; it implements gofs.NodeCreater.
func (*directory) Create(context.Context, string, uint32, uint32, *fuse.EntryOut) (*gofs.Inode, gofs.FileHandle, uint32, syscall.Errno) {
	return nil, nil, 0, syscall.EACCES
}

// Mkdir refuses all but the crier; it implements gofs.NodeMkdirer.
func (d *directory) Mkdir(op context.Context, name string, _ uint32, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	return d.m.announcer.appear(op, d.EmbeddedInode(), name, unix.S_IFDIR, out)
}

// Mknod refuses all but the crier; it implements gofs.NodeMknoder.
func (d *directory) Mknod(op context.Context, name string, _, _ uint32, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	return d.m.announcer.appear(op, d.EmbeddedInode(), name, unix.S_IFREG, out)
}

// Symlink refuses all but the crier; it implements gofs.NodeSymlinker.
func (d *directory) Symlink(op context.Context, _, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	return d.m.announcer.appear(op, d.EmbeddedInode(), name, unix.S_IFLNK, out)
}

// Link refuses; it implements gofs.NodeLinker.
func (*directory) Link(context.Context, gofs.InodeEmbedder, string, *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	return nil, syscall.EPERM
}

// Unlink refuses all but the crier; it implements gofs.NodeUnlinker.
func (d *directory) Unlink(op context.Context, name string) syscall.Errno {
	if errno, mine := d.m.announcer.vanish(op, d.EmbeddedInode(), name); mine {
		return errno
	}
	return syscall.EPERM
}

// Rmdir refuses all but the crier; it implements gofs.NodeRmdirer.
func (d *directory) Rmdir(op context.Context, name string) syscall.Errno {
	return d.Unlink(op, name)
}

// Rename refuses all but the crier; it implements gofs.NodeRenamer. To another
// directory, mv copies then.
func (d *directory) Rename(op context.Context, name string, to gofs.InodeEmbedder, newName string, _ uint32) syscall.Errno {
	if errno, mine := d.m.announcer.move(op, d.EmbeddedInode(), name, newName); mine {
		return errno
	}
	if to.EmbeddedInode() != d.EmbeddedInode() {
		return syscall.EXDEV
	}
	return syscall.EPERM
}

// Setattr refuses; it implements gofs.NodeSetattrer.
func (*directory) Setattr(context.Context, gofs.FileHandle, *fuse.SetAttrIn, *fuse.AttrOut) syscall.Errno {
	return syscall.EPERM
}

// dots starts a listing with the two entries that every directory has.
func (d *directory) dots() []fuse.DirEntry {
	return []fuse.DirEntry{
		{Name: ".", Mode: unix.S_IFDIR, Ino: d.StableAttr().Ino},
		{Name: "..", Mode: unix.S_IFDIR, Ino: d.m.root.StableAttr().Ino},
	}
}

// entry describes an entry in a listing.
func entry(name string, n *gofs.Inode) fuse.DirEntry {
	return fuse.DirEntry{Name: name, Mode: n.Mode(), Ino: n.StableAttr().Ino}
}
