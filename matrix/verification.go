package matrix

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"maunium.net/go/mautrix/crypto/canonicaljson"
	"maunium.net/go/mautrix/id"

	"github.com/matrixfs/matrixfs/transfer"
)

// Judge is the person, who is asked during a verification. The methods with a context return
// once it ends. An error is no answer, which counts as no.
type Judge interface {
	// Accept asks whether to be verified by a device that wants that.
	Accept(ctx context.Context, from transfer.Peer) (bool, error)
	// Match shows the code, and asks whether the other side shows the same.
	Match(ctx context.Context, with transfer.Peer, code ShortCode) (bool, error)
	// Tell says in one line what is going on. It does not block.
	Tell(text string)
}

// wire carries the events of one verification to the other side.
type wire interface {
	// address puts into a content which verification it belongs to.
	address(content map[string]any)
	// send sends an event to the other side.
	send(ctx context.Context, kind string, content json.RawMessage) error
	// settle is called once the other side is one device, and tells the others
	// that were asked. It fails if the device is none of those.
	settle(ctx context.Context, with transfer.DeviceID) error
}

// notary knows the keys that a verification is about.
type notary interface {
	// ours gives the keys that we say are ours, by id.
	ours(ctx context.Context) (map[string]string, error)
	// theirs gives the keys that the homeserver says are the peer's.
	theirs(ctx context.Context, peer transfer.Peer) (claims, error)
	// vouch makes proven keys trusted.
	vouch(ctx context.Context, peer transfer.Peer, proven claims) error
}

// claims are keys of a peer. An empty one is not known, or not proven.
type claims struct {
	device id.Ed25519
	master id.Ed25519 // of its user
	// strict: the master key must be proven, or nothing is gained.
	strict bool
}

// Limits on one verification.
const (
	// maxInbox bounds the events that wait. There are seven in all.
	maxInbox = 32
	// doneTimeout is how long the other side's last event is waited for.
	doneTimeout = 10 * time.Second
)

// verification is one verification with one other device or user. All of it
// belongs to the goroutine of run, but for the channels.
type verification struct {
	self, peer transfer.Peer // the peer's device is empty until it is known
	txn        string
	wire       wire
	notary     notary
	person     Judge
	expires    time.Time

	inbox   chan *verifyEvent
	surplus chan *verifyEvent                   // other requests, which are refused
	refuse  func(context.Context, *verifyEvent) // does that

	phase      phase
	sas        *sas
	start      json.RawMessage // the start event that counts
	starter    bool            // it is ours
	commitment string
	macs       *verifyEvent
	proven     claims
	reply      chan reply
	result     error
}

// reply is what a person has said.
type reply struct {
	yes bool
	err error
}

// run verifies, and returns nil if the other side is now trusted.
func (v *verification) run(ctx context.Context) error {
	outer := ctx
	var asking sync.WaitGroup
	defer asking.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	timer := time.NewTimer(time.Until(v.expires))
	defer timer.Stop()
	v.sas = newSAS()
	v.reply = make(chan reply, 1)
	if v.phase == phaseInvited {
		v.ask(ctx, &asking, func(ctx context.Context) (bool, error) { return v.person.Accept(ctx, v.peer) })
	}
	for v.phase < phaseDone {
		was := v.phase
		select {
		case e := <-v.inbox:
			v.take(ctx, e)
		case r := <-v.reply:
			v.hear(ctx, r)
		case e := <-v.surplus:
			v.refuse(ctx, e)
		case <-timer.C:
			v.step(ctx, tookLong, nil)
		case <-ctx.Done():
			v.end(ctx, failure{codeUser, outer.Err()})
		}
		switch {
		case v.phase == was:
		case v.phase == phaseComparing:
			code, with := v.code(), v.peer
			v.ask(ctx, &asking, func(ctx context.Context) (bool, error) { return v.person.Match(ctx, with, code) })
		case v.phase == phaseProven:
			timer.Reset(doneTimeout)
		}
	}
	return v.result
}

// ask asks the person, in a goroutine that asking waits for.
func (v *verification) ask(ctx context.Context, asking *sync.WaitGroup, question func(context.Context) (bool, error)) {
	asking.Go(func() {
		yes, err := question(ctx)
		v.reply <- reply{yes, err} // has room: one question at a time
	})
}

// hear takes the person's answer.
func (v *verification) hear(ctx context.Context, r reply) {
	switch {
	case r.err != nil:
		v.end(ctx, failure{codeUser, r.err})
	case r.yes:
		v.step(ctx, saidYes, nil)
	default:
		v.step(ctx, saidNo, nil)
	}
}

// take takes an event of the other side.
func (v *verification) take(ctx context.Context, e *verifyEvent) {
	if e.txn != v.txn {
		return
	}
	if e.from.User != v.peer.User {
		// Our own, in a room: from this device, or from another.
		if e.kind == verifyReady && e.from.Device != v.self.Device && v.phase == phaseInvited {
			v.end(ctx, failure{"", ErrElsewhere})
		}
		return
	}
	if v.peer.Device != "" && e.from.Device != "" && e.from.Device != v.peer.Device {
		return
	}
	s, ok := map[string]stimulus{
		verifyReady: gotReady, verifyStart: gotStart, verifyAccept: gotAccept, verifyKey: gotKey,
		verifyMAC: gotMAC, verifyDone: gotDone, verifyCancel: gotCancel,
	}[e.kind]
	if !ok || s == gotStart && v.phase == phaseStarted && !v.theirsCounts() {
		return
	}
	v.step(ctx, s, e)
}

// theirsCounts reports whether the other side's start event counts, where both
// have sent one: that of the smaller user id, then device id.
func (v *verification) theirsCounts() bool {
	if v.peer.User != v.self.User {
		return v.peer.User < v.self.User
	}
	return v.peer.Device < v.self.Device
}

// step moves on, and does what belongs to the new phase.
func (v *verification) step(ctx context.Context, s stimulus, e *verifyEvent) {
	was := v.phase
	if was >= phaseDone {
		return
	}
	v.phase = was.next(s)
	var err error
	switch v.phase {
	case phaseReady:
		err = v.send(ctx, verifyReady, map[string]any{"from_device": v.self.Device, "methods": []string{sasMethod}})
	case phaseStarted:
		err = v.begin(ctx, e)
	case phaseAccepted:
		err = v.accept(ctx, e)
	case phaseKeyed:
		err = v.accepted(ctx, e)
	case phaseComparing:
		err = v.exchanged(ctx, e)
	case phaseSure:
		err = v.sendMACs(ctx)
		v.person.Tell("Waiting for the other side to confirm.")
	case phaseAhead:
		v.macs = e
	case phaseProven:
		err = v.prove(ctx, was, e)
	case phaseDone:
		// Not before: until now, the other side could cancel.
		err = v.notary.vouch(ctx, v.peer, v.proven)
	case phaseEnded:
		err = v.why(was, s, e)
	}
	if err != nil {
		v.end(ctx, err)
	}
}

// send sends an event.
func (v *verification) send(ctx context.Context, kind string, content map[string]any) error {
	v.wire.address(content)
	raw, err := canonicaljson.Marshal(content)
	if err != nil {
		return err
	}
	if kind == verifyStart {
		v.start = json.RawMessage(raw)
	}
	return v.wire.send(ctx, kind, json.RawMessage(raw))
}

// begin starts, with the device that was ready first.
func (v *verification) begin(ctx context.Context, ready *verifyEvent) error {
	if err := v.wire.settle(ctx, ready.from.Device); err != nil {
		return failure{codeMismatch, err}
	}
	v.peer.Device = ready.from.Device
	if !slices.Contains(ready.Methods, sasMethod) {
		return failure{codeMethod, errMethod}
	}
	v.starter = true
	return v.send(ctx, verifyStart, map[string]any{
		"from_device": v.self.Device, "method": sasMethod,
		"key_agreement_protocols": []string{sasAgreement}, "hashes": []string{sasHash},
		"message_authentication_codes": []string{sasMAC}, "short_authentication_string": []string{sasCodeNumber, sasCode},
	})
}

// accept answers the other side's start with a commitment to our key.
func (v *verification) accept(ctx context.Context, start *verifyEvent) error {
	if start.Method != sasMethod || !slices.Contains(start.Agreements, sasAgreement) || !slices.Contains(start.Hashes, sasHash) ||
		!slices.Contains(start.MACs, sasMAC) || !slices.Contains(start.Codes, sasCodeNumber) && !slices.Contains(start.Codes, sasCode) {
		return failure{codeMethod, errMethod}
	}
	v.start, v.starter = start.raw, false
	hash, err := commitment(v.sas.public(), v.start)
	if err != nil {
		return failure{codeInvalid, err}
	}
	codes := slices.DeleteFunc([]string{sasCodeNumber, sasCode}, func(c string) bool { return !slices.Contains(start.Codes, c) })
	return v.send(ctx, verifyAccept, map[string]any{
		"key_agreement_protocol": sasAgreement, "hash": sasHash, "message_authentication_code": sasMAC,
		"short_authentication_string": codes, "commitment": hash,
	})
}

// accepted takes the other side's commitment, and sends our key.
func (v *verification) accepted(ctx context.Context, e *verifyEvent) error {
	if e.Agreement != sasAgreement || e.Hash != sasHash || e.MACMethod != sasMAC {
		return failure{codeMethod, errMethod}
	}
	v.commitment = e.Commitment
	return v.send(ctx, verifyKey, map[string]any{"key": v.sas.public()})
}

// exchanged takes the other side's key. Whoever has accepted shows its key last,
// and it must be the one that it was committed to.
func (v *verification) exchanged(ctx context.Context, e *verifyEvent) error {
	if err := v.sas.agree(e.Key); err != nil {
		return failure{codeInvalid, err}
	}
	if !v.starter {
		return v.send(ctx, verifyKey, map[string]any{"key": v.sas.public()})
	}
	want, err := commitment(e.Key, v.start)
	if err != nil || !sameMAC(want, v.commitment) {
		return failure{codeCommitment, ErrTampered}
	}
	return nil
}

// code gives what the people compare.
func (v *verification) code() ShortCode {
	us, them := party{v.self, v.sas.public()}, party{v.peer, v.sas.theirs}
	if v.starter {
		return v.sas.code(us, them, v.txn)
	}
	return v.sas.code(them, us, v.txn)
}

// sendMACs says which keys are ours.
func (v *verification) sendMACs(ctx context.Context) error {
	keys, err := v.notary.ours(ctx)
	if err != nil {
		return err
	}
	each, list := v.sas.macs(v.self, v.peer, v.txn, keys)
	return v.send(ctx, verifyMAC, map[string]any{"mac": each, "keys": list})
}

// prove checks the keys that the other side says are its own.
func (v *verification) prove(ctx context.Context, was phase, e *verifyEvent) error {
	if e != nil {
		v.macs = e
	}
	claimed, err := v.notary.theirs(ctx, v.peer)
	if err != nil {
		return err
	}
	if v.proven, err = v.check(claimed); err != nil {
		return err
	}
	if was == phaseAhead {
		if err := v.sendMACs(ctx); err != nil {
			return err
		}
	}
	return v.send(ctx, verifyDone, map[string]any{})
}

// check gives the claimed keys that the other side's MACs prove. Its device is
// always one of them. Keys that are not known here are passed over.
func (v *verification) check(claimed claims) (proven claims, err error) {
	wrong := failure{codeKeys, ErrTampered}
	if !sameMAC(v.macs.Keys, v.sas.mac(v.peer, v.self, v.txn, "KEY_IDS", keyList(v.macs.MAC))) {
		return claims{}, wrong
	}
	for name, mac := range v.macs.MAC {
		var key id.Ed25519
		switch name {
		case "ed25519:" + string(v.peer.Device):
			key, proven.device = claimed.device, claimed.device
		case "ed25519:" + string(claimed.master):
			key, proven.master = claimed.master, claimed.master
		default:
			continue
		}
		if key == "" || !sameMAC(mac, v.sas.mac(v.peer, v.self, v.txn, name, string(key))) {
			return claims{}, wrong
		}
	}
	switch {
	case proven.device == "":
		return claims{}, wrong
	case claimed.strict && proven.master == "":
		return claims{}, failure{codeKeys, ErrUnproven}
	}
	return proven, nil
}

// why says why a stimulus ends the verification.
func (v *verification) why(was phase, s stimulus, e *verifyEvent) error {
	switch {
	case s == gotCancel:
		return failure{"", cancelled(e.Code)}
	case s == tookLong:
		return failure{codeTimeout, ErrVerifyTimeout}
	case s == saidNo && was == phaseInvited:
		return failure{codeUser, ErrDeclined}
	case s == saidNo:
		return failure{codeSAS, ErrMismatch}
	}
	return failure{codeUnexpected, errUnexpected}
}

// end ends the verification, and tells the other side if it does not know.
func (v *verification) end(ctx context.Context, err error) {
	f := failure{codeUser, err}
	errors.As(err, &f)
	v.phase, v.result = phaseEnded, f.err
	if f.code == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), quitTimeout)
	defer cancel()
	_ = v.send(ctx, verifyCancel, map[string]any{"code": f.code, "reason": reasons[f.code]}) // it finds out by itself, too
}

// The codes of cancellations (client-server API, "m.key.verification.cancel").
const (
	codeUser       = "m.user"
	codeTimeout    = "m.timeout"
	codeMethod     = "m.unknown_method"
	codeUnexpected = "m.unexpected_message"
	codeKeys       = "m.key_mismatch"
	codeMismatch   = "m.user_mismatch"
	codeInvalid    = "m.invalid_message"
	codeAccepted   = "m.accepted"
	codeSAS        = "m.mismatched_sas"
	codeCommitment = "m.mismatched_commitment"
)

// reasons are what people on the other side may be shown.
var reasons = map[string]string{
	codeUser: "Cancelled by the user", codeTimeout: "It took too long", codeMethod: "No common method",
	codeUnexpected: "Unexpected event", codeKeys: "The keys do not match", codeMismatch: "Another user or device",
	codeInvalid: "Malformed event", codeAccepted: "Accepted on another device", codeSAS: "The codes do not match",
	codeCommitment: "The key is not the one announced",
}

// failure is why a verification ends. An empty code means that the other side
// knows.
type failure struct {
	code string
	err  error
}

// Error implements error.
func (f failure) Error() string { return f.err.Error() }

// Unwrap gives the cause.
func (f failure) Unwrap() error { return f.err }

// cancelled gives the error for a cancellation by the other side.
func cancelled(code string) error {
	switch code {
	case codeAccepted:
		return ErrElsewhere
	case codeSAS:
		return ErrMismatch
	case codeTimeout:
		return ErrVerifyTimeout
	case codeKeys, codeCommitment:
		return ErrTampered
	case codeUser:
		return ErrCancelled
	}
	code = strings.Map(func(r rune) rune {
		if r < 'a' && r != '.' && r != '_' || r > 'z' {
			return -1
		}
		return r
	}, code)
	return fmt.Errorf("%w (%s)", ErrCancelled, code)
}
