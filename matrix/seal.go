package matrix

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"

	"maunium.net/go/mautrix/crypto"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"github.com/matrixfs/matrixfs/transfer"
)

// audience is to whom a session has gone, as hashes.
type audience struct {
	members [sha256.Size]byte
	devices [sha256.Size]byte // those that are fit
}

// seal encrypts a message for the devices of the members of a room. Those of
// others that joined or logged in since are asked for first if it is an
// invite, which finds devices that are seconds old; whatever else is sent
// answers somebody. A session that has gone to anybody who may no longer have
// it is given up.
func (k *keyring) seal(ctx context.Context, at transfer.RoomID, members []transfer.UserID, kind string, content json.RawMessage) (*event.EncryptedEventContent, error) {
	leave, err := k.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	users := userIDs(members)
	if err := k.prepare(ctx, at, users, kind == transfer.EventInvite); err != nil {
		return nil, err
	}
	ctx = context.WithValue(ctx, sharing{}, true)
	what := event.Type{Type: kind, Class: event.MessageEventType}
	sealed, err := k.mach.EncryptMegolmEvent(ctx, id.RoomID(at), what, content)
	if crypto.IsShareError(err) {
		if err = k.mach.ShareGroupSession(ctx, id.RoomID(at), users); err == nil {
			sealed, err = k.mach.EncryptMegolmEvent(ctx, id.RoomID(at), what, content)
		}
	}
	return sealed, err
}

// prepare makes sure that the devices of the users are known, and gives up the
// session of the room if it was shared with others.
func (k *keyring) prepare(ctx context.Context, at transfer.RoomID, users []id.UserID, afresh bool) error {
	unknown := users
	if !afresh {
		known, err := k.store.FilterTrackedUsers(ctx, users)
		if err != nil {
			return err
		}
		unknown = slices.DeleteFunc(slices.Clone(users), func(u id.UserID) bool { return slices.Contains(known, u) })
	}
	if err := k.query(ctx, unknown); err != nil {
		return err
	}
	devices, err := k.fitDevices(ctx, users)
	if err != nil {
		return err
	}
	before, was := k.shared[at]
	now := audience{hashOf(users), hashOf(devices)}
	if was && now == before {
		return nil
	}
	if err := k.store.RemoveOutboundGroupSession(ctx, id.RoomID(at)); err != nil {
		return err
	}
	k.shared[at] = now
	return nil
}

// outgrown reports whether a device of the users can't read what was last sent
// to the room, and may.
func (k *keyring) outgrown(ctx context.Context, at transfer.RoomID, members []transfer.UserID) (bool, error) {
	leave, err := k.enter(ctx)
	if err != nil {
		return false, err
	}
	defer leave()
	before, sent := k.shared[at]
	if !sent {
		return false, nil
	}
	users := userIDs(members)
	if hashOf(users) != before.members {
		return true, nil
	}
	devices, err := k.fitDevices(ctx, users)
	return err == nil && hashOf(devices) != before.devices, err
}

func userIDs(members []transfer.UserID) []id.UserID {
	users := make([]id.UserID, len(members))
	for i, m := range members {
		users[i] = id.UserID(m)
	}
	return users
}

// fitDevices names the devices of the users that may have our sessions, in
// order.
func (k *keyring) fitDevices(ctx context.Context, users []id.UserID) ([]id.IdentityKey, error) {
	var list []id.IdentityKey
	for _, u := range users {
		devices, err := k.store.GetDevices(ctx, u)
		if err != nil {
			return nil, err
		}
		for _, d := range devices {
			if k.fit(ctx, d) == nil {
				list = append(list, d.IdentityKey)
			}
		}
	}
	slices.Sort(list)
	return list, nil
}

// hashOf identifies a list of names, none of which holds a newline.
func hashOf[T ~string](names []T) (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, n := range names {
		fmt.Fprintln(h, n)
	}
	return [sha256.Size]byte(h.Sum(sum[:0]))
}
