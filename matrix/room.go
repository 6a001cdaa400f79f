package matrix

import (
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"

	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"github.com/matrixfs/matrixfs/transfer"
)

// Room is a room that the user has joined.
type Room struct {
	ID transfer.RoomID
	// Name is the room's name, else its alias, else made from the names of the
	// other members. It may be empty, and it is as hostile as the people who
	// chose it: make it safe before use.
	Name string
	// Alias is the canonical alias ("#team:example.org"), or empty. Hostile too.
	Alias string
	// Direct is the person with whom this is a direct chat, or empty.
	Direct transfer.UserID
	// Encrypted: all that is sent here is encrypted for the members' devices.
	Encrypted bool
	// Refused says in a few words why sending is refused here. It is empty
	// where sending is allowed.
	Refused string
}

// maxLabel bounds names and aliases in bytes. The specification bounds aliases
// and user ids at 255; longer names would not fit a file name either.
const maxLabel = 255

// roomRow is the part of a room that has a table of our own.
type roomRow struct {
	id          transfer.RoomID
	name, alias string
	encrypted   bool // has ever been: encryption can't be turned off
	replaced    bool // by another room ("tombstone")
}

// room is the state of a joined room. It belongs to the roster, whose mutex
// guards it.
type room struct {
	roomRow
	create *event.Event // nil while the room's state is not known
	// encryption is what encrypts the room; nil if that is not known, or if
	// nothing does.
	encryption *event.EncryptionEventContent
	joinRule   event.JoinRule
	history    event.HistoryVisibility
	levels     *event.PowerLevelsEventContent // nil where the room has none
	joined     map[transfer.UserID]string     // display names
	invited    map[transfer.UserID]string
	settled    bool   // false while a room just joined is being read
	shut       string // what unsafe said at the end of the last sync
}

func newRoom(at transfer.RoomID) *room {
	return &room{
		roomRow: roomRow{id: at},
		shut:    refusedUnknown,
		joined:  make(map[transfer.UserID]string),
		invited: make(map[transfer.UserID]string),
	}
}

// apply takes in a state event. It reports whether the event is one that rooms
// are made of, and so is to be stored.
//
// Content that is malformed is not passed over: an m.room.encryption event
// encrypts the room whatever is in it, and join rules that can't be read are
// not the ones from before.
func (r *room) apply(evt *event.Event) bool {
	if evt.GetStateKey() != "" && evt.Type.Type != event.StateMember.Type {
		return false
	}
	err := evt.Content.ParseRaw(evt.Type) // fills in what it can even if it fails
	switch c := evt.Content.Parsed.(type) {
	case *event.MemberEventContent:
		r.setMember(transfer.UserID(evt.GetStateKey()), c.Membership, c.Displayname)
	case *event.CreateEventContent:
		evt.Content = event.Content{Parsed: c} // so that what is stored can be read again
		r.create = evt
		if r.levels != nil {
			r.levels.CreateEvent = evt
		}
	case *event.EncryptionEventContent:
		r.encrypted, r.encryption = true, c
	case *event.JoinRulesEventContent:
		r.joinRule = c.JoinRule
	case *event.HistoryVisibilityEventContent:
		if c.HistoryVisibility == "" {
			c.HistoryVisibility = "unknown"
		}
		r.history = c.HistoryVisibility
	case *event.PowerLevelsEventContent:
		if err != nil {
			// Old rooms may have strings for numbers. The homeserver
			// knows the rules and says no where it must.
			r.levels = nil
			return false
		}
		c.CreateEvent = r.create
		r.levels = c
	case *event.TombstoneEventContent:
		r.replaced = true
	case *event.RoomNameEventContent:
		r.name = cutLabel(c.Name)
	case *event.CanonicalAliasEventContent:
		r.alias = cutLabel(string(c.Alias))
	default:
		return false
	}
	return true
}

// setMember notes what a user is to the room.
func (r *room) setMember(user transfer.UserID, m event.Membership, name string) {
	delete(r.joined, user)
	delete(r.invited, user)
	if user == "" || len(user) > maxLabel {
		return
	}
	switch m {
	case event.MembershipJoin:
		r.joined[user] = cutLabel(name)
	case event.MembershipInvite:
		r.invited[user] = cutLabel(name)
	}
}

// members gives the joined users, sorted.
func (r *room) members() []transfer.UserID {
	list := make([]transfer.UserID, 0, len(r.joined))
	for user := range r.joined {
		list = append(list, user)
	}
	slices.Sort(list)
	return list
}

// Why a room is refused.
const (
	refusedUnknown  = "the rules of this room are not known yet"
	refusedCipher   = "this room is encrypted in a way that this version does not know"
	refusedPlain    = "this room is not encrypted, so nobody in it can be verified (see --require-verified)"
	refusedJoin     = "anyone can join this room (see --allow-public)"
	refusedRead     = "anyone can read this room (see --allow-public)"
	refusedReplaced = "this room has been replaced by another"
	refusedPower    = "you are not allowed to send messages in this room"
)

// privateRules are the join rules that ask for somebody's consent. "private"
// is reserved and lets nobody in.
var privateRules = []event.JoinRule{
	event.JoinRuleInvite, event.JoinRuleKnock, event.JoinRuleRestricted, event.JoinRuleKnockRestricted, "private",
}

// policy is which rooms may be used.
type policy struct {
	allowPublic bool // also those that anybody can join or read
	verified    bool // encrypted ones only, and in them only devices that are verified
}

// unsafe says why neither sending nor receiving is safe in the room, or "".
func (r *room) unsafe(p policy) string {
	switch {
	case r.create == nil:
		return refusedUnknown
	case r.encrypted && (r.encryption == nil || r.encryption.Algorithm != id.AlgorithmMegolmV1):
		return refusedCipher
	case !r.encrypted && p.verified:
		return refusedPlain
	case p.allowPublic:
		return ""
	case r.joinRule == event.JoinRulePublic:
		return refusedJoin
	case !slices.Contains(privateRules, r.joinRule):
		return refusedUnknown // fail closed on rules of the future
	}
	switch r.history {
	case "", event.HistoryVisibilityShared, event.HistoryVisibilityInvited, event.HistoryVisibilityJoined:
		return "" // none means "shared"
	case event.HistoryVisibilityWorldReadable:
		return refusedRead
	}
	return refusedUnknown
}

// refused says why user may not send to the room, or "".
func (r *room) refused(user transfer.UserID, p policy) string {
	if !r.settled {
		return refusedUnknown // the event that encrypts it may come next
	}
	if why := r.unsafe(p); why != "" {
		return why
	}
	if r.replaced {
		return refusedReplaced
	}
	if r.levels == nil {
		return ""
	}
	level := r.levels.GetUserLevel(id.UserID(user))
	for _, t := range transfer.EventTypes {
		if level < r.levels.GetEventLevel(event.Type{Type: t, Class: event.MessageEventType}) {
			return refusedPower
		}
	}
	return ""
}

// cutLabel bounds a name and makes it valid UTF-8.
func cutLabel(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= maxLabel {
		return s
	}
	for n := maxLabel; ; n-- {
		if utf8.RuneStart(s[n]) {
			return s[:n]
		}
	}
}

// maxDirect bounds how many rooms m.direct may name, and maxIgnored how many
// users m.ignored_user_list.
const (
	maxDirect  = 10000
	maxIgnored = 10000
)

// parseDirect reads the content of m.direct: user ids, and the rooms in which
// to talk with each. A room with several users is the first one's.
func parseDirect(raw json.RawMessage) map[transfer.RoomID]transfer.UserID {
	direct := make(map[transfer.RoomID]transfer.UserID)
	var content map[transfer.UserID]json.RawMessage
	if json.Unmarshal(raw, &content) != nil {
		return direct
	}
	for user, value := range content {
		var rooms []transfer.RoomID
		if json.Unmarshal(value, &rooms) != nil || !strings.HasPrefix(string(user), "@") || len(user) > maxLabel {
			continue
		}
		for _, at := range rooms {
			if other, ok := direct[at]; ok && other < user || len(direct) >= maxDirect || len(at) > maxLabel {
				continue
			}
			direct[at] = user
		}
	}
	return direct
}

// parseIgnored reads the content of m.ignored_user_list.
func parseIgnored(raw json.RawMessage) map[transfer.UserID]bool {
	ignored := make(map[transfer.UserID]bool)
	var content struct {
		Users map[transfer.UserID]json.RawMessage `json:"ignored_users"`
	}
	if json.Unmarshal(raw, &content) != nil {
		return ignored
	}
	for user := range content.Users {
		if strings.HasPrefix(string(user), "@") && len(user) <= maxLabel && len(ignored) < maxIgnored {
			ignored[user] = true
		}
	}
	return ignored
}
