package transfer

import (
	"crypto/rand"
	"encoding/base32"
	"fmt"
)

// ID is the transfer_id of MSC2354. The offering device chooses it; it is
// unique only together with the room and the user who chose it.
type ID string

// NewID returns an unguessable ID (130 bits).
func NewID() ID {
	var b [17]byte
	_, _ = rand.Read(b[:]) // never fails
	return ID(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:])[:26])
}

// RoomID names a room, as the homeserver does: "!xyz:example.org".
type RoomID string

// UserID names a person: "@bob:example.org".
type UserID string

// DeviceID names one device of a user. It is empty where it is not known: an
// unencrypted event does not say which device sent it.
type DeviceID string

// EventID names an event in a room.
type EventID string

// Peer is one device of one user. Two peers are the same if they are equal.
type Peer struct {
	User   UserID
	Device DeviceID
}

// String gives "@bob:example.org/DEVICE", without the slash where the device
// is not known.
func (p Peer) String() string {
	if p.Device == "" {
		return string(p.User)
	}
	return fmt.Sprintf("%s/%s", p.User, p.Device)
}

// couldBe reports whether p and q may be one device: the same user, and no
// two different device names. A device that is not known could be any.
func (p Peer) couldBe(q Peer) bool {
	return p.User == q.User && (p.Device == "" || q.Device == "" || p.Device == q.Device)
}
