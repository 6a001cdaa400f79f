package matrix

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"maunium.net/go/mautrix/id"

	"github.com/matrixfs/matrixfs/transfer"
)

// Limits on requests.
const (
	// maxRequests bounds the requests that wait for somebody to answer them.
	maxRequests = 8
	// maxSurplus bounds those that wait to be refused. More are not answered.
	maxSurplus = 8
)

// verifier hands the events of verifications to the one that is going on, and
// keeps requests until somebody wants to answer one. Run calls it; it does not
// block.
type verifier struct {
	log  *slog.Logger
	self transfer.Peer

	// mu guards what follows.
	mu       sync.Mutex
	open     *docket
	requests []*verifyEvent // oldest first
	arrived  chan struct{}  // capacity 1: gets a value when there is a request
}

// docket says which verification is going on, or that one is waited for (then
// user is empty).
type docket struct {
	user    transfer.UserID
	room    transfer.RoomID // empty: between devices
	txn     string          // empty: the homeserver has not named it yet
	inbox   chan *verifyEvent
	surplus chan *verifyEvent
}

func newVerifier(self transfer.Peer, log *slog.Logger) *verifier {
	return &verifier{log: log, self: self, arrived: make(chan struct{}, 1)}
}

// listening reports whether the events of verifications are wanted.
func (f *verifier) listening() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.open != nil
}

// enter begins a verification, of which there is one at a time. leave must be
// called.
func (f *verifier) enter() (d *docket, leave func(), err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open != nil {
		return nil, nil, ErrBusy
	}
	f.open = &docket{inbox: make(chan *verifyEvent, maxInbox), surplus: make(chan *verifyEvent, maxSurplus)}
	return f.open, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.open = nil
	}, nil
}

// set says which verification the docket is for.
func (f *verifier) set(d *docket, user transfer.UserID, room transfer.RoomID, txn string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d.user, d.room, d.txn = user, room, txn
}

// take takes an event. It comes from anybody.
func (f *verifier) take(e *verifyEvent) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e.kind == verifyRequest {
		f.takeRequest(e)
		return
	}
	d := f.open
	if d != nil && d.user != "" && d.room == e.room && (d.txn == "" || d.txn == e.txn) && (d.user == e.from.User || f.self.User == e.from.User) {
		select {
		case d.inbox <- e:
		default:
			f.log.Warn("too many events of a verification", "from", e.from.User)
		}
		return
	}
	// Withdrawn, or answered by another device of ours.
	f.requests = slices.DeleteFunc(f.requests, func(r *verifyEvent) bool {
		return r.txn == e.txn && r.room == e.room && (e.kind == verifyCancel || e.from.User == f.self.User && e.kind == verifyReady)
	})
}

// takeRequest takes a request that is meant for this device. The caller holds
// mu.
func (f *verifier) takeRequest(e *verifyEvent) {
	own := e.from.User == f.self.User
	switch {
	case !e.fresh(time.Now()), e.from == f.self:
		return
	case e.room == "" && !own:
		return // others ask in a room, where the person can see it
	case e.room != "" && (own || e.To != string(f.self.User)):
		return
	}
	if f.open != nil && f.open.user != "" {
		select {
		case f.open.surplus <- e:
		default:
		}
		return
	}
	if len(f.requests) >= maxRequests {
		f.requests = f.requests[1:]
	}
	f.requests = append(f.requests, e)
	select {
	case f.arrived <- struct{}{}:
	default:
	}
}

// pick gives the oldest request that may still be answered, or nil.
func (f *verifier) pick(now time.Time) *verifyEvent {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.requests) > 0 {
		e := f.requests[0]
		f.requests = f.requests[1:]
		if e.fresh(now) {
			return e
		}
	}
	return nil
}

// Verify makes another user's identity trusted, or, where with is empty or this
// user, makes this device and another one of the account trust each other: the
// people compare emoji. Run must be running. Its errors are ErrBusy,
// ErrNoIdentity, ErrUnverified, ErrNoSigningKey, ErrNoRoom, ErrNoOtherDevice,
// ErrMismatch, ErrTampered, ErrUnproven, ErrCancelled, ErrElsewhere,
// ErrVerifyTimeout, ErrOffline, or say what else is wrong. When ctx ends first,
// the other side is told, and the error is that of ctx.
func (c *Client) Verify(ctx context.Context, with transfer.UserID, person Judge) error {
	ctx, end, err := c.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	d, leave, err := c.verifier.enter()
	if err != nil {
		return err
	}
	defer leave()
	if err := c.line.wait(ctx, time.Now().Add(patience)); err != nil {
		return err
	}
	v := c.newVerification(d, person)
	v.phase, v.expires = phaseAsked, time.Now().Add(maxVerifyAge)
	if with == "" || with == c.login.User {
		return c.verifyDevice(ctx, d, v)
	}
	return c.verifyUser(ctx, d, v, with)
}

// newVerification makes one that belongs to a docket.
func (c *Client) newVerification(d *docket, person Judge) *verification {
	return &verification{
		self: c.keys.self, notary: keyNotary{c}, person: person,
		inbox: d.inbox, surplus: d.surplus, refuse: c.refuse,
	}
}

// verifyDevice asks our other devices.
func (c *Client) verifyDevice(ctx context.Context, d *docket, v *verification) error {
	standing, devices, err := c.otherDevices(ctx)
	if err != nil {
		return err
	}
	txn := rand.Text()
	v.txn, v.peer.User = txn, c.login.User
	v.wire = &deviceWire{c: c, txn: txn, devices: devices}
	c.verifier.set(d, c.login.User, "", txn)
	if err := v.request(ctx, map[string]any{"timestamp": time.Now().UnixMilli()}); err != nil {
		return err
	}
	v.person.Tell("Accept the request on your other device.")
	return c.finishVerification(ctx, v, standing)
}

// request asks the other side.
func (v *verification) request(ctx context.Context, content map[string]any) error {
	content["from_device"], content["methods"] = v.self.Device, []string{sasMethod}
	return v.send(ctx, verifyRequest, content)
}

// finishVerification runs a verification to its end. A device of ours that was
// not verified then gets what belongs to that.
func (c *Client) finishVerification(ctx context.Context, v *verification, before Standing) error {
	if err := v.run(ctx); err != nil {
		return err
	}
	switch {
	case v.peer.User != c.login.User:
		return nil
	case before == Vouching:
		return c.bequeath(ctx, v.peer.Device)
	}
	v.person.Tell("The codes match. Waiting for the keys.")
	return c.inherit(ctx)
}

// otherDevices gives the devices of ours that can be verified with: where this
// one is not verified, those that are.
func (c *Client) otherDevices(ctx context.Context) (standing Standing, list []transfer.DeviceID, err error) {
	err = c.withKeys(ctx, func(ctx context.Context) error {
		k, self := c.keys, id.UserID(c.login.User)
		var public identity
		if standing, public, err = k.standing(ctx); err != nil {
			return err
		}
		if standing == NoIdentity {
			return ErrNoIdentity
		}
		devices, err := k.store.GetDevices(ctx, self)
		if err != nil {
			return err
		}
		for name, device := range devices {
			signed, err := k.store.IsKeySignedBy(ctx, self, device.SigningKey, self, public.selfSigning)
			if err != nil {
				return err
			}
			if string(name) != string(k.self.Device) && (signed || standing >= Verified) {
				list = append(list, transfer.DeviceID(name))
			}
		}
		if len(list) == 0 {
			return ErrNoOtherDevice
		}
		slices.Sort(list)
		return nil
	})
	return standing, list, err
}

// verifyUser asks another user, in a room that both are in.
func (c *Client) verifyUser(ctx context.Context, d *docket, v *verification, with transfer.UserID) error {
	if err := c.maySign(ctx); err != nil {
		return err
	}
	room, err := c.roster.roomWith(with)
	if err != nil {
		return err
	}
	wire := &roomWire{c: c, room: room}
	v.wire, v.peer.User = wire, with
	c.verifier.set(d, with, room, "")
	c.line.nudge() // so that the next sync asks for the answer
	err = v.request(ctx, map[string]any{
		"msgtype": verifyPrefix + verifyRequest, "to": with,
		"body": fmt.Sprintf("%s wants to verify your identity, but your client can't do that.", c.login.User),
	})
	if err != nil {
		return err
	}
	v.txn = wire.txn
	c.verifier.set(d, with, room, v.txn)
	v.person.Tell(fmt.Sprintf("Waiting for %s to accept the request.", with))
	return c.finishVerification(ctx, v, Vouching)
}

// maySign says why this device can't verify other users, or nil.
func (c *Client) maySign(ctx context.Context) error {
	return c.withKeys(ctx, func(ctx context.Context) error {
		standing, public, err := c.keys.standing(ctx)
		if err == nil {
			_, err = c.keys.userSigner(ctx, standing, public)
		}
		return err
	})
}

// Answer waits for another device of the account, or another user, to ask for a
// verification, and takes part in it if the person says yes. A request that
// came in the last minutes, while nobody waited, counts, unless it came in a
// room that is not encrypted. The errors are those of Verify, and ErrDeclined.
func (c *Client) Answer(ctx context.Context, person Judge) (transfer.Peer, error) {
	ctx, end, err := c.begin(ctx)
	if err != nil {
		return transfer.Peer{}, err
	}
	defer end()
	d, leave, err := c.verifier.enter()
	if err != nil {
		return transfer.Peer{}, err
	}
	defer leave()
	c.line.nudge() // so that the next sync asks for requests
	for {
		if e := c.verifier.pick(time.Now()); e != nil {
			return e.from, c.answer(ctx, d, e, person)
		}
		select {
		case <-c.verifier.arrived:
		case <-ctx.Done():
			return transfer.Peer{}, ctx.Err()
		}
	}
}

// answer takes part in the verification that was asked for.
func (c *Client) answer(ctx context.Context, d *docket, e *verifyEvent, person Judge) error {
	c.verifier.set(d, e.from.User, e.room, e.txn)
	v := c.newVerification(d, person)
	v.phase, v.txn, v.peer = phaseInvited, e.txn, e.from
	v.expires = e.sent.Add(maxVerifyAge)
	v.wire = c.wireOf(e)
	if !slices.Contains(e.Methods, sasMethod) {
		v.end(ctx, failure{codeMethod, errMethod})
		return v.result
	}
	standing, err := c.Standing(ctx)
	if err == nil && e.from.User != c.login.User {
		err = c.maySign(ctx)
	} else if err == nil && standing == NoIdentity {
		err = ErrNoIdentity
	}
	if err != nil {
		v.end(ctx, failure{codeUser, err})
		return v.result
	}
	return c.finishVerification(ctx, v, standing)
}

// refuse cancels a request.
func (c *Client) refuse(ctx context.Context, e *verifyEvent) {
	v := &verification{self: c.keys.self, peer: e.from, txn: e.txn, wire: c.wireOf(e)}
	v.end(ctx, failure{codeUser, ErrBusy})
}
