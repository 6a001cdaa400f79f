package matrix

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"github.com/matrixfs/matrixfs/transfer"
)

// side is one of two that verify each other in memory.
type side struct {
	*verification
	said    []string // what it has sent
	relay   func(kind string, content map[string]any) []map[string]any
	other   *side
	match   func(ShortCode) (bool, error) // nil: never answers
	shown   []ShortCode
	vouched []claims
	claimed claims // what the homeserver says of the other side
	err     error
}

var (
	_ wire   = (*side)(nil)
	_ notary = (*side)(nil)
	_ Judge  = (*side)(nil)
)

func (s *side) address(content map[string]any) { content["transaction_id"] = s.txn }

// send hands an event to the other side, through the relay if there is one.
func (s *side) send(_ context.Context, kind string, content json.RawMessage) error {
	s.said = append(s.said, kind)
	var fields map[string]any
	if err := json.Unmarshal(content, &fields); err != nil {
		return err
	}
	if kind == verifyCancel {
		s.said[len(s.said)-1] += " " + fields["code"].(string)
	}
	list := []map[string]any{fields}
	if s.relay != nil {
		list = s.relay(kind, fields)
	}
	for _, fields := range list {
		raw, err := json.Marshal(fields)
		if err != nil {
			return err
		}
		evt := &event.Event{Sender: id.UserID(s.self.User), Type: event.Type{Type: verifyPrefix + kind}}
		evt.Content.VeryRaw = raw
		e, err := fromDevice(evt)
		if err != nil {
			return err
		}
		select {
		case s.other.inbox <- e:
		default: // it has ended
		}
	}
	return nil
}

func (s *side) settle(context.Context, transfer.DeviceID) error { return nil }

func (s *side) ours(context.Context) (map[string]string, error) {
	c := s.other.claimed
	keys := map[string]string{"ed25519:" + string(s.self.Device): string(c.device)}
	if c.master != "" {
		keys["ed25519:"+string(c.master)] = string(c.master)
	}
	return keys, nil
}

func (s *side) theirs(context.Context, transfer.Peer) (claims, error) { return s.claimed, nil }

func (s *side) vouch(_ context.Context, _ transfer.Peer, proven claims) error {
	s.vouched = append(s.vouched, proven)
	return nil
}

func (s *side) Accept(context.Context, transfer.Peer) (bool, error) { return true, nil }

func (s *side) Match(ctx context.Context, _ transfer.Peer, code ShortCode) (bool, error) {
	s.shown = append(s.shown, code)
	if s.match == nil {
		<-ctx.Done()
		return false, ctx.Err()
	}
	return s.match(code)
}

func (s *side) Tell(string) {}

func saysYes(ShortCode) (bool, error) { return true, nil }

// sides gives alice, who asks, and bob, who is asked.
func sides() (a, b *side) {
	alice, bob := transfer.Peer{User: "@alice:x", Device: "A"}, transfer.Peer{User: "@bob:x", Device: "B"}
	a = newSide(alice, bob, phaseAsked)
	b = newSide(bob, alice, phaseInvited)
	a.peer.Device = "" // not known yet
	a.other, b.other = b, a
	a.claimed = claims{device: "bob's device", master: "bob's master", strict: true}
	b.claimed = claims{device: "alice's device", master: "alice's master", strict: true}
	return a, b
}

func newSide(self, peer transfer.Peer, p phase) *side {
	s := &side{match: saysYes}
	s.verification = &verification{
		self: self, peer: peer, txn: "txn", wire: s, notary: s, person: s, phase: p,
		expires: time.Now().Add(maxVerifyAge), inbox: make(chan *verifyEvent, maxInbox),
	}
	return s
}

// verifyBoth runs both to the end.
func verifyBoth(ctx context.Context, a, b *side) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.err = b.run(ctx)
	}()
	a.err = a.run(ctx)
	<-done
}

// nothing checks that a verification has failed on both sides, for reasons.
func nothing(t *testing.T, a, b *side, whyA, whyB error) {
	t.Helper()
	if !errors.Is(a.err, whyA) || !errors.Is(b.err, whyB) {
		t.Errorf("errors are %v and %v, want %v and %v", a.err, b.err, whyA, whyB)
	}
	if len(a.vouched)+len(b.vouched) > 0 {
		t.Errorf("vouched for %v, %v", a.vouched, b.vouched)
	}
}

func TestVerificationInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := sides()
		verifyBoth(t.Context(), a, b)
		if a.err != nil || b.err != nil || !slices.Equal(a.shown, b.shown) || len(a.shown) != 1 {
			t.Fatalf("errors are %v and %v, codes %v and %v", a.err, b.err, a.shown, b.shown)
		}
		for _, s := range []*side{a, b} {
			if want := []claims{{device: s.claimed.device, master: s.claimed.master}}; !slices.Equal(s.vouched, want) {
				t.Errorf("vouched for %v, want %v", s.vouched, want)
			}
		}
		if want := []string{"start", "key", "mac", "done"}; !slices.Equal(a.said, want) {
			t.Errorf("alice sent %v", a.said)
		}
		if want := []string{"ready", "accept", "key", "mac", "done"}; !slices.Equal(b.said, want) {
			t.Errorf("bob sent %v", b.said)
		}
	})
}

// Both may start: one of the starts counts for both, that of the smaller user.
func TestBothStart(t *testing.T) {
	for _, swapped := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			a, b := sides()
			if swapped {
				a.self.User, b.self.User = b.self.User, a.self.User
				a.peer.User, b.peer.User = b.peer.User, a.peer.User
			}
			// As of a client that starts as soon as it is ready.
			b.relay = func(kind string, fields map[string]any) []map[string]any {
				if kind == verifyReady {
					b.phase, b.starter, b.peer.Device = phaseStarted, true, a.self.Device
					a.inbox <- &verifyEvent{kind: verifyReady, txn: a.txn, from: b.self, verifyContent: verifyContent{Methods: []string{sasMethod}}}
					if err := b.begin(t.Context(), &verifyEvent{from: a.self, verifyContent: verifyContent{Methods: []string{sasMethod}}}); err != nil {
						t.Error(err)
					}
					return nil
				}
				return []map[string]any{fields}
			}
			verifyBoth(t.Context(), a, b)
			if a.err != nil || b.err != nil || !slices.Equal(a.shown, b.shown) || a.starter == b.starter {
				t.Fatalf("errors are %v and %v, codes %v and %v", a.err, b.err, a.shown, b.shown)
			}
		})
	}
}

// Somebody in between who puts in keys of his own makes the codes differ, and
// people who look say no.
func TestRelaySwapsKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := sides()
		mallory := newSAS()
		var start json.RawMessage
		a.relay = func(kind string, fields map[string]any) []map[string]any {
			switch kind {
			case verifyStart:
				start, _ = json.Marshal(fields)
			case verifyKey:
				fields["key"] = mallory.public()
			}
			return []map[string]any{fields}
		}
		b.relay = func(kind string, fields map[string]any) []map[string]any {
			switch kind {
			case verifyAccept:
				fields["commitment"], _ = commitment(mallory.public(), start)
			case verifyKey:
				fields["key"] = mallory.public()
			}
			return []map[string]any{fields}
		}
		looked := make(chan ShortCode, 1)
		a.match = func(code ShortCode) (bool, error) {
			looked <- code
			return true, nil // one who does not look harms nobody but herself
		}
		b.match = func(code ShortCode) (bool, error) { return code == <-looked, nil }
		verifyBoth(t.Context(), a, b)
		if len(a.shown) != 1 || len(b.shown) != 1 || a.shown[0] == b.shown[0] {
			t.Fatalf("codes are %v and %v", a.shown, b.shown)
		}
		nothing(t, a, b, ErrMismatch, ErrMismatch)
	})
}

// A person who says yes to anything is still told, by the MACs.
func TestRelaySwapsKeysAndNobodyLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := sides()
		a.relay = func(kind string, fields map[string]any) []map[string]any {
			if kind == verifyKey {
				fields["key"] = newSAS().public()
			}
			return []map[string]any{fields}
		}
		verifyBoth(t.Context(), a, b)
		nothing(t, a, b, ErrTampered, ErrTampered)
	})
}

// What does not keep to the protocol ends with the code that it deserves.
func TestVerificationRefused(t *testing.T) {
	swap := func(kind, field string, value any) func(string, map[string]any) []map[string]any {
		return func(k string, fields map[string]any) []map[string]any {
			if k == kind {
				fields[field] = value
			}
			return []map[string]any{fields}
		}
	}
	twice := func(kind string) func(string, map[string]any) []map[string]any {
		return func(k string, fields map[string]any) []map[string]any {
			if k == kind {
				return []map[string]any{fields, maps.Clone(fields)}
			}
			return []map[string]any{fields}
		}
	}
	key := newSAS().public()
	for name, c := range map[string]struct {
		alice, bob func(string, map[string]any) []map[string]any
		code       string
	}{
		"a key that was not announced": {nil, swap(verifyKey, "key", key), codeCommitment},
		"no commitment":                {nil, swap(verifyAccept, "commitment", "x"), codeCommitment},
		"a key of zeros":               {swap(verifyKey, "key", strings.Repeat("A", 43)), nil, codeInvalid},
		"a short key":                  {swap(verifyKey, "key", "AAAA"), nil, codeInvalid},
		"no key":                       {swap(verifyKey, "key", "!"), nil, codeInvalid},
		"another method":               {swap(verifyStart, "method", "m.reciprocate.v1"), nil, codeMethod},
		"an old MAC":                   {swap(verifyStart, "message_authentication_codes", []string{"hkdf-hmac-sha256"}), nil, codeMethod},
		"another hash":                 {nil, swap(verifyAccept, "hash", "md5"), codeMethod},
		"not ready for emoji":          {nil, swap(verifyReady, "methods", []string{"m.qr_code.show.v1"}), codeMethod},
		"a MAC of nothing":             {nil, swap(verifyMAC, "mac", map[string]string{"ed25519:B": "AAAA"}), codeKeys},
		"another list of keys":         {nil, swap(verifyMAC, "keys", strings.Repeat("A", 43)), codeKeys},
		"a start that comes twice":     {twice(verifyStart), nil, codeUnexpected},
		"a MAC that comes twice":       {twice(verifyMAC), nil, codeUnexpected},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := sides()
				a.relay, b.relay = c.alice, c.bob
				if c.code == codeUnexpected {
					b.match = func(ShortCode) (bool, error) { synctest.Wait(); return true, nil }
				}
				verifyBoth(t.Context(), a, b)
				if a.err == nil || b.err == nil || len(a.vouched)+len(b.vouched) > 0 {
					t.Errorf("errors are %v and %v, vouched for %v and %v", a.err, b.err, a.vouched, b.vouched)
				}
				if said := append(a.said, b.said...); !slices.Contains(said, verifyCancel+" "+c.code) {
					t.Errorf("sent %v, want a cancellation with %s", said, c.code)
				}
			})
		})
	}
}

// The homeserver can't pass off a device or an identity of its own making.
func TestVerificationOfOtherKeys(t *testing.T) {
	for name, claim := range map[string]claims{
		"a made-up device":   {device: "made up", master: "bob's master", strict: true},
		"no such device":     {master: "bob's master", strict: true},
		"a made-up identity": {device: "bob's device", master: "made up", strict: true},
		"no identity":        {device: "bob's device", strict: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := sides()
				honest := a.claimed
				b.notary = &honestNotary{b, honest}
				a.claimed = claim
				verifyBoth(t.Context(), a, b)
				if a.err == nil || len(a.vouched)+len(b.vouched) > 0 || !slices.Contains(a.said, verifyCancel+" "+codeKeys) {
					t.Errorf("error is %v, sent %v, vouched for %v and %v", a.err, a.said, a.vouched, b.vouched)
				}
			})
		})
	}
}

// honestNotary says what really is a side's own.
type honestNotary struct {
	*side
	own claims
}

func (n *honestNotary) ours(context.Context) (map[string]string, error) {
	return map[string]string{"ed25519:B": string(n.own.device), "ed25519:" + string(n.own.master): string(n.own.master)}, nil
}

// Silence ends after ten minutes; after the MACs it does no harm.
func TestVerificationTakesLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := sides()
		a.match, b.match = nil, nil
		begun := time.Now()
		verifyBoth(t.Context(), a, b)
		nothing(t, a, b, ErrVerifyTimeout, ErrVerifyTimeout)
		if took := time.Since(begun); took != maxVerifyAge {
			t.Errorf("it took %v", took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		a, b := sides()
		b.relay = func(kind string, fields map[string]any) []map[string]any {
			if kind == verifyDone {
				return nil
			}
			return []map[string]any{fields}
		}
		verifyBoth(t.Context(), a, b)
		if a.err != nil || b.err != nil || len(a.vouched) != 1 || len(b.vouched) != 1 {
			t.Errorf("errors are %v and %v, vouched for %v and %v", a.err, b.err, a.vouched, b.vouched)
		}
	})
}

// Whoever is interrupted tells the other side.
func TestVerificationInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := sides()
		ctx, cancel := context.WithCancel(t.Context())
		a.match = nil
		b.match = nil
		done := make(chan struct{})
		go func() {
			defer close(done)
			b.err = b.run(t.Context())
		}()
		go func() {
			synctest.Wait()
			cancel()
		}()
		a.err = a.run(ctx)
		<-done
		nothing(t, a, b, context.Canceled, ErrCancelled)
		if !slices.Contains(a.said, verifyCancel+" "+codeUser) {
			t.Errorf("sent %v", a.said)
		}
	})
}
