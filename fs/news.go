package fs

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/matrixfs/matrixfs/transfer"
)

// visible is what is seen of a file that changes by itself.
type visible struct {
	state       transfer.State
	size, bytes int64
}

// earlier gives the earlier of two times, of which zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// difference gives the names of what is in old and not the same in now, and
// the other way round, both sorted.
func difference[T comparable](old, now map[string]T) (gone, come []string) {
	for name, e := range old {
		if other, ok := now[name]; !ok || other != e {
			gone = append(gone, name)
		}
	}
	for name, e := range now {
		if other, ok := old[name]; !ok || other != e {
			come = append(come, name)
		}
	}
	slices.Sort(gone)
	slices.Sort(come)
	return gone, come
}

// baseline takes what is there now as told, in the whole tree.
func (r *root) baseline() {
	r.mu.Lock()
	r.refresh()
	r.told = maps.Clone(r.entries)
	r.mu.Unlock()
	b := r.inbox
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refresh()
	b.told = maps.Clone(b.names)
	for _, f := range b.names {
		f.told = f.visible()
	}
}

// news gives all that has changed since it was told, in the order in which it
// should be, and when to look again if nothing happens, or zero.
func (r *root) news() (list []*announcement, next time.Time) {
	r.mu.Lock()
	r.refresh()
	if r.untold {
		list = r.newsHere()
		r.untold = len(list) > 0
	}
	rooms := map[string]*room{}
	for _, dir := range r.rooms {
		if r.told[dir.name] == dir {
			rooms[dir.name] = dir
		}
	}
	r.mu.Unlock()
	offers, next := r.inbox.news()
	list = append(list, offers...)
	for name, dir := range rooms {
		list = append(list, dir.news(name)...)
	}
	return list, next
}

// newsHere tells of rooms and links: what is gone first, so that what comes
// finds its name free. mu is held.
func (r *root) newsHere() (list []*announcement) {
	gone, come := difference(r.told, r.entries)
	successors := map[string]string{} // of links that change their name
	for _, name := range come {
		if l, ok := r.entries[name].(*link); ok && r.told[name] == nil {
			successors[l.role(name)] = name
		}
	}
	var moves []*announcement
	for _, name := range gone {
		if l, ok := r.told[name].(*link); ok && r.entries[name] == nil {
			if to, ok := successors[l.role(name)]; ok {
				delete(successors, l.role(name))
				moves = append(moves, r.moved(name, to))
				come = slices.DeleteFunc(come, func(s string) bool { return s == to })
				continue
			}
		}
		list = append(list, r.vanished(name))
	}
	list = append(list, moves...)
	for _, name := range come {
		list = append(list, r.appeared(name))
	}
	for _, dir := range r.rooms {
		if refused := dir.current().Refused != ""; refused != dir.toldRefused && r.told[dir.name] == dir {
			list = append(list, r.altered(dir, refused))
		}
	}
	return list
}

// role tells the links of a room apart, whatever they are called.
func (l *link) role(name string) string {
	return name[:len(name)-len(strings.TrimLeft(name, "#@"))] + "/" + l.target
}

// is reports, with the lock, whether name was told to be one thing, and is
// another.
func (r *root) is(name string, told, now child) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refresh()
	return r.told[name] == told && r.entries[name] == now
}

func (r *root) announcement(a act, name string, c child) *announcement {
	return &announcement{act: a, dir: r.EmbeddedInode(), name: name, inode: c.EmbeddedInode(), fill: c.fill}
}

// appeared tells of a new entry. mu is held.
func (r *root) appeared(name string) *announcement {
	now := r.entries[name]
	c := r.announcement(appeared, name, now)
	if l, ok := now.(*link); ok {
		c.target = l.target
	}
	c.stands = func() bool { return r.is(name, nil, now) }
	c.told = func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.told[name] = now
	}
	return c
}

// vanished tells that an entry is gone, even if another has its name. mu is
// held.
func (r *root) vanished(name string) *announcement {
	old := r.told[name]
	c := r.announcement(vanished, name, old)
	c.stands = func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.refresh()
		return r.told[name] == old && r.entries[name] != old
	}
	c.told = func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.told, name)
	}
	return c
}

// moved tells that a link has another name. mu is held.
func (r *root) moved(name, to string) *announcement {
	old, now := r.told[name], r.entries[to]
	c := r.announcement(moved, name, old)
	c.to = to
	c.stands = func() bool { return r.is(name, old, nil) && r.is(to, nil, now) }
	c.told = func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.told, name)
		r.told[to] = now
	}
	return c
}

// altered tells that a room has begun or ceased to take files. mu is held.
func (r *root) altered(dir *room, refused bool) *announcement {
	name := dir.name
	c := r.announcement(altered, name, dir)
	c.stands = func() bool { return r.is(name, dir, dir) }
	c.told = func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		dir.toldRefused = refused
	}
	return c
}

// visible gives what is seen of the file.
func (f *inbound) visible() visible {
	s := f.in.Status()
	return visible{s.State, sizeOf(s), s.Bytes}
}

// news tells of offers: what has vanished, what has come, oldest first, and
// what looks different.
func (b *inbox) news() (list []*announcement, next time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refresh()
	gone, come := difference(b.told, b.names)
	slices.SortFunc(come, func(x, y string) int {
		return cmp.Compare(b.names[x].StableAttr().Ino, b.names[y].StableAttr().Ino)
	})
	for _, name := range gone {
		list = append(list, b.vanished(name))
	}
	for _, name := range come {
		list = append(list, b.appeared(name))
	}
	now := time.Now()
	if len(come) > 0 {
		next = now.Add(growth) // they may be coming in already
	}
	for name, f := range b.told {
		if b.names[name] != f {
			continue
		}
		seen, due := f.visible(), f.toldAt.Add(growth)
		if seen != f.told && (seen.state.Ended() || !now.Before(due)) {
			list = append(list, b.altered(name, f, seen))
			due = now.Add(growth)
		}
		if seen != f.told || seen.state == transfer.Streaming {
			next = earlier(next, due)
		}
	}
	return list, next
}

func (b *inbox) announcement(a act, name string, f *inbound) *announcement {
	return &announcement{act: a, dir: b.EmbeddedInode(), path: incomingName, name: name, inode: f.EmbeddedInode(), fill: f.attr}
}

// appeared tells of a new offer. mu is held.
func (b *inbox) appeared(name string) *announcement {
	f := b.names[name]
	c := b.announcement(appeared, name, f)
	c.stands = func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.refresh()
		return b.names[name] == f && b.told[name] == nil
	}
	c.told = func() {
		seen := f.visible()
		b.mu.Lock()
		defer b.mu.Unlock()
		b.told[name], f.told = f, seen
	}
	return c
}

// vanished tells that an offer is gone, even if another has its name. mu is
// held.
func (b *inbox) vanished(name string) *announcement {
	f := b.told[name]
	c := b.announcement(vanished, name, f)
	c.stands = func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.refresh()
		return b.told[name] == f && b.names[name] != f
	}
	c.told = func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.told, name)
	}
	return c
}

// altered tells that a file looks different.
func (b *inbox) altered(name string, f *inbound, seen visible) *announcement {
	c := b.announcement(altered, name, f)
	c.stands = func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.refresh()
		return b.names[name] == f
	}
	c.told = func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		f.told, f.toldAt = seen, time.Now()
	}
	return c
}

// news tells of files that have gone because they failed, and of those that
// were delivered. All else that happens to a file here is done by a system call
// of somebody. path is the room's name in the root.
func (r *room) news(path string) (list []*announcement) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(r.told)) {
		o, now := r.told[name], r.findLocked(name)
		switch {
		case now == nil:
			list = append(list, r.vanished(path, name, o))
		case now != o:
			r.told[name] = now
		case o.current() != o.toldEnd && o.current().status().State == transfer.Delivered:
			list = append(list, r.altered(path, name, o))
		}
	}
	return list
}

func (r *room) announcement(a act, path, name string, o *outbound) *announcement {
	return &announcement{act: a, dir: r.EmbeddedInode(), path: path, name: name, inode: o.EmbeddedInode(), fill: o.attr}
}

// vanished tells that a file is gone. mu is held.
func (r *room) vanished(path, name string, o *outbound) *announcement {
	c := r.announcement(vanished, path, name, o)
	c.stands = func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.told[name] == o && r.findLocked(name) == nil
	}
	c.told = func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.told, name)
	}
	return c
}

// altered tells that a file was delivered. mu is held.
func (r *room) altered(path, name string, o *outbound) *announcement {
	sent := o.current()
	c := r.announcement(altered, path, name, o)
	c.stands = func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.findLocked(name) == o
	}
	c.told = func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		o.toldEnd = sent
	}
	return c
}
