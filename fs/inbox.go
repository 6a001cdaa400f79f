package fs

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/matrixfs/matrixfs/transfer"
)

// inbox is the directory of the files that others offer.
type inbox struct {
	directory
	changes <-chan struct{}
	stop    func()

	mu     sync.Mutex // guards all below
	files  map[*transfer.Incoming]*inbound
	names  map[string]*inbound
	listed []fuse.DirEntry     // names in order; nil: to be made
	told   map[string]*inbound // what watchers know of names
}

var (
	_ child              = (*inbox)(nil)
	_ gofs.NodeGetattrer = (*inbox)(nil)
	_ gofs.NodeLookuper  = (*inbox)(nil)
	_ gofs.NodeReaddirer = (*inbox)(nil)
	_ gofs.NodeUnlinker  = (*inbox)(nil)
)

func newInbox(m *Mounted) *inbox {
	b := &inbox{directory: directory{node: node{m: m}}}
	b.changes, b.stop = m.options.Exchange.Subscribe()
	return b
}

// refresh takes over the list of offers if it has changed. An offer keeps its
// name for as long as it is there. mu is held.
func (b *inbox) refresh() {
	select {
	case <-b.changes:
	default:
		if b.names != nil {
			return
		}
	}
	before, named := b.files, b.names
	b.files, b.names, b.listed = map[*transfer.Incoming]*inbound{}, map[string]*inbound{}, nil
	list := b.m.options.Exchange.Incoming()
	for _, in := range list {
		if f := before[in]; f != nil {
			b.files[in], b.names[f.name] = f, f
		}
	}
	for _, in := range list {
		if b.files[in] == nil {
			name := unique(SafeName(in.Status().Name), func(s string) bool { return b.names[s] != nil })
			f := newInbound(b.m, name, in)
			b.files[in], b.names[name] = f, f
		}
	}
	if !maps.Equal(b.names, named) {
		b.touch()
	}
}

// Getattr implements gofs.NodeGetattrer.
func (b *inbox) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	b.fill(&out.Attr)
	return 0
}

func (b *inbox) fill(a *fuse.Attr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refresh()
	b.attr(a, 0o700)
}

// Lookup implements gofs.NodeLookuper. It accepts nothing.
func (b *inbox) Lookup(op context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	if n, errno, mine := b.m.announcer.lookup(op, b.EmbeddedInode(), name, out); mine {
		return n, errno
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refresh()
	f := b.names[name]
	if f == nil {
		return nil, syscall.ENOENT
	}
	f.attr(&out.Attr)
	return f.EmbeddedInode(), 0
}

// Readdir implements gofs.NodeReaddirer: oldest first, because the inodes
// count up.
func (b *inbox) Readdir(context.Context) (gofs.DirStream, syscall.Errno) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refresh()
	if b.listed == nil {
		var list []fuse.DirEntry
		for name, f := range b.names {
			list = append(list, entry(name, f.EmbeddedInode()))
		}
		slices.SortFunc(list, func(x, y fuse.DirEntry) int { return cmp.Compare(x.Ino, y.Ino) })
		b.listed = append(b.dots(), list...)
	}
	return gofs.NewListDirStream(b.listed), 0
}

// Unlink implements gofs.NodeUnlinker: it rejects an offer, cancels a transfer
// and forgets a file.
func (b *inbox) Unlink(op context.Context, name string) syscall.Errno {
	if errno, mine := b.m.announcer.vanish(op, b.EmbeddedInode(), name); mine {
		return errno
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refresh()
	f := b.names[name]
	if f == nil {
		return syscall.ENOENT
	}
	delete(b.names, name)
	delete(b.files, f.in)
	delete(b.told, name)
	b.listed = nil
	b.touch()
	f.in.Remove() // with the lock, or refresh would find it once more
	return 0
}
