package matrix

import (
	"context"
	"errors"
	"time"

	"maunium.net/go/mautrix/crypto"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"github.com/matrixfs/matrixfs/transfer"
)

// unsealed is an event that was decrypted, and the device that it comes from.
type unsealed struct {
	*event.Event
	from  transfer.Peer
	trust transfer.Trust
}

// unseal decrypts an event of a room (Megolm). Its sender is the device whose
// session it was encrypted with, and nothing that is written in it. An event
// that is shown again under another name is refused. The error is
// crypto.ErrNoSessionFound while the key has not come.
func (k *keyring) unseal(ctx context.Context, evt *event.Event) (unsealed, error) {
	leave, err := k.enter(ctx)
	if err != nil {
		return unsealed{}, err
	}
	defer leave()
	if evt.Content.Parsed == nil {
		if err := evt.Content.ParseRaw(evt.Type); err != nil {
			return unsealed{}, err
		}
	}
	limited, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	open, err := k.mach.DecryptMegolmEvent(limited, evt)
	if err != nil {
		return unsealed{}, err
	}
	device := open.Mautrix.TrustSource
	switch {
	case open.Mautrix.ForwardedKeys:
		return unsealed{}, errNobody // whoever passed on the key could have written it
	case device != nil:
		trust, err := k.trust(limited, device)
		from := transfer.Peer{User: userID(device.UserID), Device: transfer.DeviceID(device.DeviceID)}
		if err == nil && device.UserID != evt.Sender {
			err = errNobody
		}
		return unsealed{open, from, trust}, err
	case open.Mautrix.TrustState == id.TrustStateVerified && evt.Sender == id.UserID(k.self.User):
		// One of ours. The machine says that of the session alone; the
		// homeserver may show it as somebody else's.
		return unsealed{open, k.self, transfer.TrustVerified}, nil
	}
	return unsealed{}, errNobody
}

// maxLate bounds the events that wait for their keys.
const maxLate = 500

// late are encrypted events whose keys have not come, oldest first. It belongs
// to the sync loop.
type late []*event.Event

// add keeps an event; the oldest goes where there are too many.
func (l *late) add(evt *event.Event) {
	if len(*l) >= maxLate {
		*l = (*l)[1:]
	}
	*l = append(*l, evt)
}

// retry gives the events that may still matter, and keeps none.
func (l *late) retry() []*event.Event {
	var list []*event.Event
	for _, evt := range *l {
		if !tooOld(evt) {
			list = append(list, evt)
		}
	}
	*l = nil
	return list
}

// tooOld reports whether an event is older than any offer can live.
func tooOld(evt *event.Event) bool { return age(evt, time.Now()) > transfer.MaxLifetime }

// receiveSealed decrypts an event of a room and passes it on. One whose key has
// not come waits for it.
func (s *syncer) receiveSealed(ctx context.Context, evt *event.Event) {
	at := transfer.RoomID(evt.RoomID)
	if tooOld(evt) || !s.c.roster.encrypted(at) {
		return
	}
	open, err := s.c.keys.unseal(ctx, evt)
	switch {
	case errors.Is(err, crypto.ErrNoSessionFound):
		s.late.add(evt)
	case errors.Is(err, crypto.ErrGroupSessionWithheld):
		s.c.log.Info("a message was withheld from this device by its sender: has this device been verified?", "room", at, "from", evt.Sender)
	case err != nil && open.Event != nil && isMessage(open.Event):
		s.c.log.Warn("a message counts as not sent", "room", at, "from", open.from.String(), "type", open.Type.Type, "cause", err)
	case err != nil:
		s.c.log.Debug("an event can't be decrypted", "room", at, "event", evt.ID, "error", err)
	default:
		s.c.receive(open.Event, open.from, open.trust)
	}
}
