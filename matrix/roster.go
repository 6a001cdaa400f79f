package matrix

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"maunium.net/go/mautrix/event"

	"github.com/matrixfs/matrixfs/transfer"
)

// roster is what is known of the joined rooms, in memory. Only Run changes it;
// everybody may look.
type roster struct {
	self   transfer.UserID
	policy policy

	// mu guards what follows, and the rooms themselves.
	mu     sync.Mutex
	rooms  map[transfer.RoomID]*room
	direct map[transfer.RoomID]transfer.UserID
	// sealed are the rooms that have ever been seen encrypted, also those that
	// were left.
	sealed map[transfer.RoomID]bool
	// ignored are the users from whom this one wants nothing.
	ignored map[transfer.UserID]bool
	shown   []Room // what list gives; nil while it has to be made again
	subs    map[chan struct{}]struct{}
}

func newRoster(self transfer.UserID, p policy) *roster {
	return &roster{
		self:   self,
		policy: p,
		rooms:  make(map[transfer.RoomID]*room),
		direct: make(map[transfer.RoomID]transfer.UserID),
		subs:   make(map[chan struct{}]struct{}),
		sealed: make(map[transfer.RoomID]bool),
	}
}

// list gives the rooms, sorted by id.
func (l *roster) list() []Room {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.refresh())
}

// refresh makes the list again if need be. The caller holds mu.
func (l *roster) refresh() []Room {
	if l.shown == nil {
		l.shown = make([]Room, 0, len(l.rooms))
		for _, r := range l.rooms {
			l.shown = append(l.shown, Room{
				ID:        r.id,
				Name:      r.label(l.self),
				Alias:     r.alias,
				Direct:    l.direct[r.id],
				Encrypted: r.encrypted,
				Refused:   r.refused(l.self, l.policy),
			})
		}
		slices.SortFunc(l.shown, func(a, b Room) int { return strings.Compare(string(a.ID), string(b.ID)) })
	}
	return l.shown
}

// shutRoom is a room that is not safe any more.
type shutRoom struct {
	room transfer.RoomID
	why  string
}

// settle tells the subscribers if what list gives has changed since old, and
// gives the rooms that have ceased to be safe.
func (l *roster) settle(old []Room) (shut []shutRoom) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.rooms {
		before := r.shut
		if r.shut = r.unsafe(l.policy); r.shut != "" && before == "" {
			shut = append(shut, shutRoom{r.id, r.shut})
		}
	}
	l.shown = nil
	if !slices.Equal(old, l.refresh()) {
		l.notify()
	}
	return shut
}

// notify wakes the subscribers. The caller holds mu.
func (l *roster) notify() {
	for ch := range l.subs {
		select {
		case ch <- struct{}{}:
		default: // has not read the last one yet
		}
	}
}

// subscribe gives a channel that gets a value after list has changed.
func (l *roster) subscribe() (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.subs[ch] = struct{}{}
	return ch, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.subs, ch)
	}
}

func (l *roster) members(at transfer.RoomID) []transfer.UserID {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.rooms[at]; r != nil {
		return r.members()
	}
	return nil
}

// maySend gives the error for sending to a room, or whether what is sent must
// be encrypted.
func (l *roster) maySend(at transfer.RoomID) (encrypted bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.rooms[at]
	if r == nil {
		return false, fmt.Errorf("%w: you are not in it", transfer.ErrNotAllowed)
	}
	if why := r.refused(l.self, l.policy); why != "" {
		return false, fmt.Errorf("%w: %s", transfer.ErrNotAllowed, why)
	}
	return r.encrypted, nil
}

// encrypted reports whether a room has ever been seen encrypted.
func (l *roster) encrypted(at transfer.RoomID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.rooms[at]
	return r != nil && r.encrypted
}

// unsafe says why messages from a room are not passed on, or "".
func (l *roster) unsafe(at transfer.RoomID) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.rooms[at]; r != nil {
		return r.unsafe(l.policy)
	}
	return refusedUnknown
}

// enter makes sure that a room is in the roster. afresh makes it a new one, of
// which no more is known than that it was encrypted.
func (l *roster) enter(at transfer.RoomID, afresh bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.rooms[at]
	if old == nil || afresh {
		l.rooms[at] = newRoom(at)
		l.rooms[at].encrypted = l.sealed[at]
		if old != nil {
			l.rooms[at].shut = old.shut
		}
	}
}

// apply takes in a state event of a joined room, and reports whether it is to
// be stored.
func (l *roster) apply(evt *event.Event) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.rooms[transfer.RoomID(evt.RoomID)]
	if r == nil || !r.apply(evt) {
		return false
	}
	if r.encrypted {
		l.sealed[r.id] = true
	}
	return true
}

// settleRoom notes that a room has been read to the end of a sync, and gives the
// part of it that is stored in a table of our own.
func (l *roster) settleRoom(at transfer.RoomID) (roomRow, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.rooms[at]; r != nil {
		r.settled = true
		return r.roomRow, true
	}
	return roomRow{}, false
}

// leave removes a room, and reports whether it was there.
func (l *roster) leave(at transfer.RoomID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.rooms[at]
	delete(l.rooms, at)
	l.shown = nil // whoever is told of it must not find it any more
	return ok
}

// without gives the rooms that keep does not want.
func (l *roster) without(keep func(transfer.RoomID) bool) []transfer.RoomID {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []transfer.RoomID
	for at := range l.rooms {
		if !keep(at) {
			list = append(list, at)
		}
	}
	slices.Sort(list)
	return list
}

// ignores reports whether this user wants nothing from another.
func (l *roster) ignores(user transfer.UserID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ignored[user]
}

// setIgnored replaces the users from whom this one wants nothing, and gives
// those that are new.
func (l *roster) setIgnored(ignored map[transfer.UserID]bool) (fresh []transfer.UserID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for user := range ignored {
		if !l.ignored[user] {
			fresh = append(fresh, user)
		}
	}
	l.ignored = ignored
	return fresh
}

func (l *roster) setDirect(direct map[transfer.RoomID]transfer.UserID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.direct = direct
}
