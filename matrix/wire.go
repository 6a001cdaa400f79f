package matrix

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"github.com/matrixfs/matrixfs/transfer"
)

// wireOf gives the wire to whoever has sent a request.
func (c *Client) wireOf(e *verifyEvent) wire {
	if e.room != "" {
		return &roomWire{c: c, room: e.room, txn: e.txn}
	}
	return &deviceWire{c: c, txn: e.txn, devices: []transfer.DeviceID{e.from.Device}}
}

// deviceWire sends to devices of ours, in the clear, as all clients do: the
// comparison of the codes is what protects a verification.
type deviceWire struct {
	c       *Client
	txn     string
	devices []transfer.DeviceID // one, once settled
}

var _ wire = (*deviceWire)(nil)

// address implements wire.
func (w *deviceWire) address(content map[string]any) { content["transaction_id"] = w.txn }

// send implements wire.
func (w *deviceWire) send(ctx context.Context, kind string, content json.RawMessage) error {
	return w.sendTo(ctx, kind, content, w.devices)
}

func (w *deviceWire) sendTo(ctx context.Context, kind string, content json.RawMessage, devices []transfer.DeviceID) error {
	if len(devices) == 0 {
		return nil
	}
	messages := make(map[transfer.DeviceID]json.RawMessage, len(devices))
	for _, d := range devices {
		messages[d] = content
	}
	request := map[string]any{"messages": map[transfer.UserID]any{w.c.login.User: messages}}
	url := w.c.api.BuildClientURL("v3", "sendToDevice", verifyPrefix+kind, txnPrefix+rand.Text())
	return w.c.insist(ctx, func(ctx context.Context) error {
		_, err := w.c.api.MakeRequest(ctx, http.MethodPut, url, request, nil)
		return err
	})
}

// settle implements wire.
func (w *deviceWire) settle(ctx context.Context, with transfer.DeviceID) error {
	i := slices.Index(w.devices, with)
	if i < 0 {
		return errors.New("a device that was not asked has answered: start again")
	}
	others := slices.Delete(slices.Clone(w.devices), i, i+1)
	w.devices = []transfer.DeviceID{with}
	content := map[string]any{"code": codeAccepted, "reason": reasons[codeAccepted]}
	w.address(content)
	raw, err := json.Marshal(content)
	if err != nil {
		return err
	}
	return w.sendTo(ctx, verifyCancel, raw, others)
}

// insist makes a request to the homeserver, again if need be, for as long as
// Send would. The request must be one that can be made twice.
func (c *Client) insist(ctx context.Context, request func(context.Context) error) error {
	deadline := time.Now().Add(patience)
	for {
		limited, cancel := context.WithTimeout(ctx, attemptTimeout)
		err := request(limited)
		cancel()
		if err == nil {
			return nil
		}
		wait, limit := retryAfter(err)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case limit:
			deadline = time.Now().Add(wait + patience)
		case loggedOut(err):
			return ErrLoggedOut
		case !unreachable(err):
			return errors.New("the homeserver did not take the message: " + cause(err))
		case time.Now().After(deadline):
			return offline(err)
		default:
			wait = retryPause
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}

// roomWire sends to a room, encrypted where the room is.
type roomWire struct {
	c    *Client
	room transfer.RoomID
	txn  string // the id of the request; empty before that was sent
}

var _ wire = (*roomWire)(nil)

// address implements wire.
func (w *roomWire) address(content map[string]any) {
	if w.txn != "" {
		content["m.relates_to"] = map[string]any{"rel_type": event.RelReference, "event_id": w.txn}
	}
}

// send implements wire.
func (w *roomWire) send(ctx context.Context, kind string, content json.RawMessage) error {
	t := &sending{c: w.c, at: w.room, kind: verifyPrefix + kind, content: content, txn: txnPrefix + rand.Text(), openly: true}
	if kind == verifyRequest {
		t.kind = event.EventMessage.Type
	}
	sent, err := t.send(ctx)
	if err == nil && w.txn == "" {
		w.txn = string(sent)
	}
	return err
}

// settle implements wire. Everybody in the room sees who has answered.
func (*roomWire) settle(context.Context, transfer.DeviceID) error { return nil }

// roomWith gives the room in which to verify a user: a direct chat, else one of
// the two alone, else the smallest.
func (l *roster) roomWith(user transfer.UserID) (transfer.RoomID, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	const direct, alone = -2, -1 // ranks before the number of members
	var best transfer.RoomID
	rank := 0
	for at, r := range l.rooms {
		if _, in := r.joined[user]; !in || r.refused(l.self, l.policy) != "" {
			continue
		}
		mine := len(r.joined)
		switch {
		case l.direct[at] == user:
			mine = direct
		case len(r.joined) == 2:
			mine = alone
		}
		if best == "" || mine < rank || mine == rank && at < best {
			best, rank = at, mine
		}
	}
	if best == "" {
		return "", ErrNoRoom
	}
	return best, nil
}

// sealOpenly encrypts an event of a verification for all devices of the members
// of a room: also for those that get no offers, because verifying is how that
// changes. The session is used for nothing else.
func (k *keyring) sealOpenly(ctx context.Context, at transfer.RoomID, members []transfer.UserID, kind string, content json.RawMessage) (*event.EncryptedEventContent, error) {
	leave, err := k.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	users := userIDs(members)
	if err := k.query(ctx, users); err != nil {
		return nil, err
	}
	drop := func() error { return k.store.RemoveOutboundGroupSession(context.WithoutCancel(ctx), id.RoomID(at)) }
	if err := drop(); err != nil {
		return nil, err
	}
	err = k.mach.ShareGroupSession(ctx, id.RoomID(at), users)
	var sealed *event.EncryptedEventContent
	if err == nil {
		what := event.Type{Type: kind, Class: event.MessageEventType}
		sealed, err = k.mach.EncryptMegolmEvent(ctx, id.RoomID(at), what, content)
	}
	if err = errors.Join(err, drop()); err != nil {
		return nil, err
	}
	return sealed, nil
}
