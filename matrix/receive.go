package matrix

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"github.com/matrixfs/matrixfs/transfer"
)

// maxAge bounds the age of an event. More than this is old, and no more needs
// to be known.
const maxAge = 365 * 24 * time.Hour

// isMessage reports whether an event is one of MSC2354.
func isMessage(evt *event.Event) bool {
	return evt.StateKey == nil && slices.Contains(transfer.EventTypes, evt.Type.Type)
}

// receiveEvent passes an event of a room on if it is a message, encrypted where
// the room is.
func (s *syncer) receiveEvent(ctx context.Context, evt *event.Event) {
	switch {
	case evt.StateKey == nil && evt.Type.Type == event.EventEncrypted.Type:
		s.receiveSealed(ctx, evt)
	case evt.StateKey == nil && evt.Type.Type == event.EventRedaction.Type:
		s.c.withdraw(ctx, evt)
	case isVerification(evt):
		if e, err := fromRoom(evt, ""); err == nil && !s.c.roster.encrypted(e.room) {
			s.c.verify(e)
		}
	case !isMessage(evt):
	case s.c.roster.encrypted(transfer.RoomID(evt.RoomID)):
		s.c.log.Warn("a message that is not encrypted counts as not sent", "room", evt.RoomID, "from", evt.Sender)
	default:
		s.c.receive(evt, transfer.Peer{User: transfer.UserID(evt.Sender)}, transfer.TrustNone)
	}
}

// verify passes an event of a verification in a room on.
func (c *Client) verify(e *verifyEvent) {
	if c.roster.unsafe(e.room) == "" && !c.roster.ignores(e.from.User) {
		c.verifier.take(e)
	}
}

// receive passes a message of a room on to the receiver, unless the room is
// not safe or the message makes no sense. from and trust are what is known of
// its sender.
func (c *Client) receive(evt *event.Event, from transfer.Peer, trust transfer.Trust) {
	if !isMessage(evt) {
		return
	}
	at := transfer.RoomID(evt.RoomID)
	if why := c.roster.unsafe(at); why != "" {
		c.log.Debug("message ignored", "room", at, "event", evt.ID, "cause", why)
		return
	}
	if evt.ID == "" || len(evt.ID) > maxLabel || evt.Sender == "" || len(evt.Sender) > maxLabel || c.roster.ignores(from.User) {
		return
	}
	m, err := transfer.DecodeMessage(evt.Type.Type, evt.Content.VeryRaw)
	if err != nil {
		c.log.Debug("message dropped", "room", at, "event", evt.ID, "error", err)
		return
	}
	// The homeserver shows the transaction of an event to the device that sent
	// it, and to no other.
	own := transfer.UserID(evt.Sender) == c.login.User && strings.HasPrefix(evt.Unsigned.TransactionID, txnPrefix)
	if own {
		c.eraser.echo(sentOf(transfer.EventID(evt.ID), at, m))
	}
	r := transfer.Received{
		Room:    at,
		From:    from,
		Trust:   trust,
		Event:   transfer.EventID(evt.ID),
		Age:     age(evt, time.Now()),
		Message: m,
	}
	c.keep(r, own)
	c.tell(func(to Receiver) { to.Receive(r) })
}

// withdraw takes the redaction of an invite for a cancel by whoever sent the
// invite. So an offer whose program has crashed is gone when that program, or
// its user, cleans up.
func (c *Client) withdraw(ctx context.Context, evt *event.Event) {
	gone := evt.Redacts
	if gone == "" { // since room version 11 it is in the content
		var content struct {
			Redacts id.EventID `json:"redacts"`
		}
		if json.Unmarshal(evt.Content.VeryRaw, &content) != nil {
			return
		}
		gone = content.Redacts
	}
	kept, err := c.store.findKept(ctx, transfer.RoomID(evt.RoomID), transfer.EventID(gone))
	if err != nil {
		c.log.Warn("offers can't be looked up", "error", err)
	}
	if kept == nil || kept.From.User != transfer.UserID(evt.Sender) {
		return // also one of a moderator: who made the offer can take it back
	}
	r := kept.Received
	r.Event, r.Age, r.Message = transfer.EventID(evt.ID), age(evt, time.Now()), &transfer.Cancel{ID: r.Message.Transfer()}
	c.tell(func(to Receiver) { to.Receive(r) })
}

// maxSkew is how far the clock of the sender's homeserver may be behind ours.
const maxSkew = 15 * time.Minute

// age tells how old an event is: what our homeserver says, else (Dendrite says
// nothing) by the clock of the sender's homeserver. A clock that is ahead of
// ours makes an event new, not one from the future. What our homeserver says
// can't make an event much newer than its time, which can't be changed for one
// that is encrypted: old ones would live again.
func age(evt *event.Event, now time.Time) time.Duration {
	ms := now.UnixMilli() - evt.Timestamp
	if evt.Unsigned.Age > 0 {
		ms = max(evt.Unsigned.Age, ms-maxSkew.Milliseconds())
	}
	ms = max(0, min(ms, maxAge.Milliseconds()))
	return time.Duration(ms) * time.Millisecond
}
