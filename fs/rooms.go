package fs

import "github.com/matrixfs/matrixfs/transfer"

// Room is a joined room as the tree shows it. Names and aliases are as the
// homeserver has them: they are made safe here.
type Room struct {
	// ID is the name of the room's directory.
	ID transfer.RoomID
	// Name is what a person calls the room. It may be empty.
	Name string
	// Alias is the canonical alias, "#team:example.org", or empty.
	Alias string
	// Direct is the other user of a direct chat, or empty.
	Direct transfer.UserID
	// Encrypted: what is sent to the room is encrypted for its members.
	Encrypted bool
	// Refused says why no file may be sent to the room; it is empty where
	// sending is allowed.
	Refused string
}

// Rooms tells which rooms there are. Both methods answer from memory: they
// never wait for the network. They are safe for concurrent use.
type Rooms interface {
	// Rooms gives the joined rooms, in any order.
	Rooms() []Room
	// Subscribe returns a channel that has a value whenever the rooms may
	// have changed since the last receive. stop ends it.
	Subscribe() (changes <-chan struct{}, stop func())
}

// Exchange makes and lists transfers: *transfer.Exchange.
type Exchange interface {
	// Offer prepares an offer of a file to a room. It never waits.
	Offer(room transfer.RoomID, name string) (*transfer.Outgoing, error)
	// Incoming lists the files offered to us, oldest first, from memory.
	Incoming() []*transfer.Incoming
	// Subscribe returns a channel that has a value whenever the list may have
	// changed since the last receive. stop ends it.
	Subscribe() (changes <-chan struct{}, stop func())
}

var _ Exchange = (*transfer.Exchange)(nil)
