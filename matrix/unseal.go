package matrix

import (
	"context"
	"errors"
	"slices"
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

// errLater: it could not be found out which device sent an event.
var errLater = errors.New("the devices of the sender are not known yet")

// unsealTimeout bounds one event: the homeserver may have to be asked for a
// device. It counts when the program ends, too, so that an event which has
// been taken from the homeserver is not lost.
const unsealTimeout = 5 * time.Second

// unseal decrypts an event of a room (Megolm). Its sender is the device whose
// session it was encrypted with, and nothing that is written in it. An event
// that is shown again under another name is refused. The error is
// crypto.ErrNoSessionFound while the key has not come, and errLater while it
// can't be said whose it is.
func (k *keyring) unseal(ctx context.Context, evt *event.Event) (unsealed, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unsealTimeout)
	defer cancel()
	leave, err := k.enter(ctx)
	if err != nil {
		return unsealed{}, errLater
	}
	defer leave()
	if evt.Content.Parsed == nil {
		if err := evt.Content.ParseRaw(evt.Type); err != nil {
			return unsealed{}, err
		}
	}
	open, err := k.decrypt(ctx, evt)
	if err != nil {
		return unsealed{}, err
	}
	device := open.Mautrix.TrustSource
	switch {
	case open.Mautrix.ForwardedKeys:
		return unsealed{}, errNobody // whoever passed on the key could have written it
	case device != nil:
		trust, err := k.trust(ctx, device)
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

// stranger is a session, and the user whose it is said to be: the homeserver
// may say that of somebody else first.
type stranger struct {
	user    id.UserID
	session id.SessionID
}

// decrypt decrypts an event. The device of a session that is seen for the first
// time, or is gone, is asked for once.
func (k *keyring) decrypt(ctx context.Context, evt *event.Event) (*event.Event, error) {
	open, err := k.mach.DecryptMegolmEvent(ctx, evt)
	if err != nil {
		return nil, err
	}
	source := open.Mautrix.TrustSource
	if open.Mautrix.TrustState != id.TrustStateUnknownDevice && (source == nil || !source.Deleted) {
		return open, nil
	}
	who := stranger{evt.Sender, evt.Content.AsEncrypted().SessionID}
	if k.strangers[who] {
		return open, nil
	}
	if err := k.query(ctx, []id.UserID{evt.Sender}); err != nil {
		return nil, errLater
	}
	if len(k.strangers) >= maxStrangers {
		clear(k.strangers)
	}
	k.strangers[who] = true
	return k.mach.DecryptMegolmEvent(ctx, evt)
}

// maxLate bounds the events that wait, maxLateOf those of one user, and
// maxStrangers the sessions that are remembered to belong to no known device.
const (
	maxLate      = 500
	maxLateOf    = 50
	maxStrangers = 1000
)

// late are encrypted events whose keys have not come, or whose sender is not
// known, oldest first. It belongs to the sync loop.
type late struct {
	events []*event.Event
	again  bool // one of them may be read without news
}

// add keeps an event; the oldest goes where there are too many, be it in all or
// of its sender.
func (l *late) add(evt *event.Event) {
	oldest, his := 0, 0
	for i, e := range slices.Backward(l.events) {
		if e.Sender == evt.Sender {
			oldest = i
			his++
		}
	}
	switch {
	case his >= maxLateOf:
		l.events = slices.Delete(l.events, oldest, oldest+1)
	case len(l.events) >= maxLate:
		l.events = l.events[1:]
	}
	l.events = append(l.events, evt)
}

// retry gives the events that are worth another try, and keeps none of them.
// news says that keys may have come.
func (l *late) retry(news bool) []*event.Event {
	if !news && !l.again {
		return nil
	}
	list := slices.DeleteFunc(l.events, tooOld)
	*l = late{}
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
	case errors.Is(err, errLater):
		s.late.add(evt)
		s.late.again = true
	case errors.Is(err, crypto.ErrGroupSessionWithheld):
		s.c.log.Info("a message was withheld from this device by its sender: has this device been verified?", "room", at, "from", evt.Sender)
		s.late.add(evt) // anybody can say so
	case open.Event != nil && isVerification(open.Event):
		// Verifying is what a device that counts as nobody is asked to do.
		if err != nil && !errors.Is(err, errChanged) && !errors.Is(err, errUnsigned) && !errors.Is(err, errUnverified) {
			return
		}
		if e, err := fromRoom(open.Event, open.from.Device); err == nil && e.from.User == open.from.User {
			s.c.verify(e)
		}
	case err != nil && open.Event != nil && isMessage(open.Event):
		s.c.log.Warn("a message counts as not sent", "room", at, "from", open.from.String(), "type", open.Type.Type, "cause", err)
	case err != nil:
		s.c.log.Debug("an event can't be decrypted", "room", at, "event", evt.ID, "error", err)
	default:
		s.c.receive(open.Event, open.from, open.trust)
	}
}
