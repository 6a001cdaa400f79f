package matrix

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"github.com/matrixfs/matrixfs/transfer"
)

// Limits on what messages to this device alone may cost. Anybody can send them,
// without a room in common.
const (
	// meetPause is how often the devices of one user are asked for because of a
	// key that is not known. A device that appears in between is announced.
	meetPause = 10 * time.Second
	// maxMet bounds the users of whom that is remembered.
	maxMet = 1000
	// maxKeyTries is how often in a row a sync is made again because the devices
	// of others can't be asked for. Then it is passed over.
	maxKeyTries = 3
)

// decodeToDevice reads the events of a list that are for one device.
func (l eventList) decodeToDevice() []*event.Event {
	list := make([]*event.Event, 0, len(l.Events))
	for _, raw := range l.Events {
		evt := new(event.Event)
		if json.Unmarshal(raw, evt) == nil && evt.Sender != "" && len(evt.Sender) <= maxLabel {
			evt.Type.Class = event.ToDeviceEventType
			list = append(list, evt)
		}
	}
	return list
}

// takeToDevice handles a message to this device alone. The caller has the gate,
// and has met the sender.
func (k *keyring) takeToDevice(ctx context.Context, evt *event.Event) {
	if strings.HasPrefix(evt.Type.Type, verifyPrefix) {
		if e, err := fromDevice(evt); err == nil && k.verifier != nil {
			k.verifier.take(e)
		}
		return
	}
	switch c := evt.Content.Parsed.(type) {
	case *event.EncryptedEventContent:
		// Of a key that is not known the machine would start to ask, for each
		// message anew.
		if k.knows(ctx, evt.Sender, c.SenderKey) {
			k.mach.HandleToDeviceEvent(ctx, evt)
		}
	case *event.RoomKeyWithheldEventContent:
		k.mach.HandleToDeviceEvent(ctx, evt)
	case *event.RoomKeyRequestEventContent:
		if k.isOurs(ctx, evt.Sender, c.RequestingDeviceID) {
			k.mach.HandleRoomKeyRequest(ctx, evt.Sender, c) // the machine would start a goroutine for it
		}
	case *event.SecretRequestEventContent:
		if userID(evt.Sender) != k.self.User {
			return
		}
		k.remember(c)
		if k.isOurs(ctx, evt.Sender, c.RequestingDeviceID) {
			k.mach.HandleToDeviceEvent(ctx, evt)
		}
	}
}

// knows reports whether a key for Olm is that of a device of the user.
func (k *keyring) knows(ctx context.Context, user id.UserID, key id.SenderKey) bool {
	device, err := k.store.FindDeviceByKey(ctx, user, key)
	return err == nil && device != nil && !device.Deleted
}

// isOurs reports whether a device is one of this account that its person has
// verified: only such a one gets keys when it asks.
func (k *keyring) isOurs(ctx context.Context, user id.UserID, device id.DeviceID) bool {
	if userID(user) != k.self.User || transfer.DeviceID(device) == k.self.Device {
		return false
	}
	known, err := k.store.GetDevice(ctx, user, device)
	if err != nil || known == nil {
		return false
	}
	trust, err := k.trust(ctx, known)
	return err == nil && trust == transfer.TrustVerified
}

// meet asks for the devices of those who have sent a message with a key that is
// not known, all at once. The caller has the gate.
func (k *keyring) meet(ctx context.Context, events []*event.Event) error {
	now := time.Now()
	unknown := make(map[id.UserID]bool)
	for _, evt := range events {
		if evt.Content.Parsed == nil && evt.Content.ParseRaw(evt.Type) != nil {
			evt.Content.Parsed = nil
			continue
		}
		c, ok := evt.Content.Parsed.(*event.EncryptedEventContent)
		if ok && !unknown[evt.Sender] && now.Sub(k.met[evt.Sender]) >= meetPause && !k.knows(ctx, evt.Sender, c.SenderKey) {
			unknown[evt.Sender] = true
		}
	}
	if err := k.query(ctx, slices.Collect(maps.Keys(unknown))); err != nil {
		return err
	}
	if len(k.met)+len(unknown) > maxMet {
		clear(k.met)
	}
	for user := range unknown {
		k.met[user] = now
	}
	return nil
}
