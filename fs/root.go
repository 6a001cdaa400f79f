package fs

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/matrixfs/matrixfs/transfer"
)

// incomingName is the directory of the files that others offer.
const incomingName = "incoming"

// root is the top of the tree: rooms, links to rooms, and the inbox.
type root struct {
	directory
	changes <-chan struct{}
	stop    func()

	mu      sync.Mutex // guards all below
	known   []Room     // what the tree was built of, by ID
	rooms   map[transfer.RoomID]*room
	entries map[string]child
	listed  []fuse.DirEntry // entries in order; nil: to be made
	// plain is the name of each room's plain link, which it keeps for as long
	// as the room has that name, and what it was made of.
	plain map[transfer.RoomID]plainLink
	inbox *inbox
	// told is what watchers know of entries; untold says that it may differ.
	told   map[string]child
	untold bool
}

// child is an entry of the root.
type child interface {
	gofs.InodeEmbedder
	fill(*fuse.Attr)
}

type plainLink struct{ of, name string }

var (
	_ gofs.NodeGetattrer = (*root)(nil)
	_ gofs.NodeLookuper  = (*root)(nil)
	_ gofs.NodeReaddirer = (*root)(nil)
)

func newRoot(m *Mounted) *root {
	r := &root{directory: directory{node: node{m: m}}, rooms: map[transfer.RoomID]*room{}}
	r.changes, r.stop = m.options.Rooms.Subscribe()
	r.inbox = newInbox(m)
	return r
}

// close ends the subscriptions, and cancels what is still being sent: nobody
// can write it any more.
func (r *root) close() {
	r.stop()
	r.inbox.stop()
	r.mu.Lock()
	rooms := slices.Collect(maps.Values(r.rooms))
	r.mu.Unlock()
	for _, room := range rooms {
		room.abandon()
	}
}

// refresh builds the tree anew if the rooms have changed. mu is held.
func (r *root) refresh() {
	select {
	case <-r.changes:
	default:
		if r.entries != nil {
			return
		}
	}
	if r.entries == nil {
		r.m.adopt(r.inbox, unix.S_IFDIR)
	}
	list := r.m.options.Rooms.Rooms()
	slices.SortFunc(list, func(a, b Room) int { return cmp.Compare(a.ID, b.ID) })
	list = slices.CompactFunc(list, func(a, b Room) bool { return a.ID == b.ID })
	if r.entries != nil && slices.EqualFunc(list, r.known, sameNames) {
		r.update(list)
	} else {
		r.build(list)
	}
	r.known, r.untold = list, true
}

// sameNames reports whether two rooms have the same entries.
func sameNames(a, b Room) bool {
	return a.ID == b.ID && a.Name == b.Name && a.Alias == b.Alias && a.Direct == b.Direct
}

// update takes over what has changed about rooms whose names are the same.
func (r *root) update(list []Room) {
	for i, info := range list {
		if info != r.known[i] {
			r.rooms[info.ID].update(info)
		}
	}
}

// build makes the entries: the real directories first, so that no link takes
// their names.
func (r *root) build(list []Room) {
	old := r.entries
	r.listed = nil
	r.touch()
	rooms := map[transfer.RoomID]*room{}
	r.entries = map[string]child{incomingName: r.inbox}
	dirs := map[transfer.RoomID]string{}
	for _, info := range list {
		dir := r.rooms[info.ID]
		if dir == nil {
			dir = newRoom(r.m, info)
		}
		dir.update(info)
		rooms[info.ID] = dir
		dir.name = r.add(SafeName(string(info.ID)), dir)
		dirs[info.ID] = dir.name
	}
	r.rooms = rooms
	for _, info := range list {
		for _, name := range []string{info.Alias, string(info.Direct)} {
			if name != "" {
				r.link(old, SafeName(name), dirs[info.ID])
			}
		}
	}
	r.addPlain(old, list, dirs)
}

// addPlain adds a link with a plain name for each room. A room that had one
// keeps it, whoever else comes by that name.
func (r *root) addPlain(old map[string]child, list []Room, dirs map[transfer.RoomID]string) {
	before := r.plain
	r.plain = map[transfer.RoomID]plainLink{}
	for _, keep := range []bool{true, false} {
		for _, info := range list {
			of := plainOf(info)
			had, kept := before[info.ID]
			if kept = kept && had.of == of; of == "" || kept != keep {
				continue
			}
			name := of
			if kept {
				name = had.name
			}
			r.plain[info.ID] = plainLink{of, r.link(old, name, dirs[info.ID])}
		}
	}
}

// plainOf gives the plain name for a room: its name, or what its alias or the
// other user is called on their server.
func plainOf(info Room) string {
	for _, name := range []string{info.Name, local(info.Alias), local(string(info.Direct))} {
		if name != "" {
			return plainName(name)
		}
	}
	return ""
}

// local gives "bob" for "@bob:example.org".
func local(id string) string {
	name, _, _ := strings.Cut(id, ":")
	return strings.TrimLeft(name, "#@")
}

// add puts c under name, or a numbered form of it, and returns that.
func (r *root) add(name string, c child) string {
	name = unique(name, func(s string) bool { return r.entries[s] != nil })
	r.entries[name] = c
	return name
}

// link adds a symbolic link. One that was there before stays the same inode.
func (r *root) link(old map[string]child, name, target string) string {
	name = unique(name, func(s string) bool { return r.entries[s] != nil })
	l, ok := old[name].(*link)
	if !ok || l.target != target {
		l = &link{node: node{m: r.m}, target: target}
		r.m.adopt(l, unix.S_IFLNK)
	}
	r.entries[name] = l
	return name
}

// Getattr implements gofs.NodeGetattrer.
func (r *root) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refresh()
	r.attr(&out.Attr, 0o500)
	return 0
}

// Lookup implements gofs.NodeLookuper.
func (r *root) Lookup(op context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	if n, errno, mine := r.m.announcer.lookup(op, r.EmbeddedInode(), name, out); mine {
		return n, errno
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refresh()
	c := r.entries[name]
	if c == nil {
		return nil, syscall.ENOENT
	}
	c.fill(&out.Attr)
	return c.EmbeddedInode(), 0
}

// Readdir implements gofs.NodeReaddirer.
func (r *root) Readdir(context.Context) (gofs.DirStream, syscall.Errno) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refresh()
	if r.listed == nil {
		r.listed = r.dots()
		for _, name := range slices.Sorted(maps.Keys(r.entries)) {
			r.listed = append(r.listed, entry(name, r.entries[name].EmbeddedInode()))
		}
	}
	return gofs.NewListDirStream(r.listed), 0
}

// link is a symbolic link to the directory of a room.
type link struct {
	node
	target string
}

var (
	_ gofs.NodeGetattrer  = (*link)(nil)
	_ gofs.NodeReadlinker = (*link)(nil)
)

// Getattr implements gofs.NodeGetattrer.
func (l *link) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	l.fill(&out.Attr)
	return 0
}

func (l *link) fill(a *fuse.Attr) {
	a.Ino = l.StableAttr().Ino
	a.Mode = unix.S_IFLNK | 0o777
	a.Uid, a.Gid = l.m.uid, l.m.gid
	a.Nlink = 1
	a.Size = uint64(len(l.target))
	a.SetTimes(&l.m.started, &l.m.started, &l.m.started)
}

// Readlink implements gofs.NodeReadlinker.
func (l *link) Readlink(context.Context) ([]byte, syscall.Errno) { return []byte(l.target), 0 }
