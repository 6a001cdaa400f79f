package matrix_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/crypto/signatures"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"github.com/matrixfs/matrixfs/matrix"
	"github.com/matrixfs/matrixfs/matrix/matrixtest"
	"github.com/matrixfs/matrixfs/transfer"
)

// lent is an encrypted room of alice and bob. The homeserver lies to alice, and
// mallory lends it her identity, which alice and bob have verified, as alice has
// bob's.
type lent struct {
	*pair
	t       *testing.T
	forger  *matrixtest.Forger
	mallory *matrixtest.User
	keys    *matrixtest.Identity // mallory's
}

func newLent(t *testing.T) *lent {
	t.Helper()
	l := &lent{pair: &pair{server: matrixtest.Start(t)}, t: t}
	l.alice, l.bob, l.mallory = l.server.NewUser("alice"), l.server.NewUser("bob"), l.server.NewUser("mallory")
	l.room = l.server.NewRoom(l.alice, []*matrixtest.User{l.bob}, matrixtest.Encrypted())
	l.forger = matrixtest.NewForger(t, l.server.URL())
	l.ac = matrixtest.Open(t, matrixtest.Login(t, l.alice, l.forger.URL()))
	l.bc = matrixtest.Open(t, matrixtest.Login(t, l.bob, l.server.URL()))
	alices, bobs := newIdentity(t, l.alice), newIdentity(t, l.bob)
	l.keys = newIdentity(t, l.mallory)
	for _, err := range []error{
		l.ac.Recover(t.Context(), alices.RecoveryKey), bobs.Sign(t.Context(), l.bc.Account().Device),
		alices.Vouch(t.Context(), l.bob), alices.Vouch(t.Context(), l.mallory), bobs.Vouch(t.Context(), l.mallory),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	l.abox, l.bbox = start(t, l.ac), start(t, l.bc)
	awaitMembers(t, l.pair, 2, l.ac, l.bc)
	l.nothing()
	return l
}

func newIdentity(t *testing.T, of *matrixtest.User) *matrixtest.Identity {
	t.Helper()
	i, err := of.NewIdentity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// keysOf gives the keys of users, as the homeserver shows them to one.
func keysOf(t *testing.T, to *matrixtest.User, users ...*matrixtest.User) *mautrix.RespQueryKeys {
	t.Helper()
	query := &mautrix.ReqQueryKeys{DeviceKeys: mautrix.DeviceKeysRequest{}}
	for _, u := range users {
		query.DeviceKeys[u.API.UserID] = mautrix.DeviceIDList{}
	}
	keys, err := to.API.QueryKeys(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// sign gives a signature by one of mallory's keys.
func (l *lent) sign(usage id.CrossSigningUsage, anything any) string {
	l.t.Helper()
	signature, err := l.keys.SignWith(usage, anything)
	if err != nil {
		l.t.Fatal(err)
	}
	return signature
}

// nothing makes sure that alice receives the next message of bob, whom she has
// verified, and nothing before it.
func (l *lent) nothing() {
	l.t.Helper()
	mark := send(l.t, l.bc, l.room, cancelOf("mark"))
	if got := l.abox.next(); got.Event != mark || got.Trust != transfer.TrustVerified {
		l.t.Errorf("alice received %+v", got)
	}
}

// offer lets alice offer something, before which she asks for keys.
func (l *lent) offer() transfer.EventID {
	l.t.Helper()
	sent := send(l.t, l.ac, l.room, invite("alice's"))
	if got := l.abox.next(); got.Event != sent {
		l.t.Errorf("alice received %+v", got)
	}
	return sent
}

// unsigned makes sure that alice knows a device, and that nobody vouches for it.
func (l *lent) unsigned(of *matrixtest.User, device transfer.DeviceID) {
	l.t.Helper()
	trust, err := l.ac.Trust(l.t.Context(), transfer.Peer{User: of.ID(), Device: device})
	if !errors.Is(err, matrix.ErrUnsigned) {
		l.t.Errorf("trust in the device is %v (%v)", trust, err)
	}
}

// madeUp is a device of the homeserver's, and anyKey its key for Olm.
const (
	madeUp = "MADEUP"
	anyKey = "hNXzr2WvCjTX9MSdyjXlnKUYnWkCpVeIxB2DyP0GDWM"
)

// invent makes the homeserver show alice a device of a user who has verified
// mallory. The key of the device is mallory's master key, which that user's
// user-signing key has signed. Answers that fit together badly show the latter
// as the self-signing key, signed by the master key, which stays the real one.
func (l *lent) invent(of *matrixtest.User) {
	l.t.Helper()
	user, honest := of.API.UserID, keysOf(l.t, of, of, l.mallory)
	master, userSigning := honest.MasterKeys[l.mallory.API.UserID], honest.UserSigningKeys[user]
	renamed := userSigning
	renamed.Usage, renamed.Signatures = []id.CrossSigningUsage{id.XSUsageSelfSigning}, nil
	device := mautrix.DeviceKeys{
		UserID: user, DeviceID: madeUp, Algorithms: []id.Algorithm{id.AlgorithmOlmV1, id.AlgorithmMegolmV1},
		Keys: mautrix.KeyMap{"ed25519:" + madeUp: string(master.FirstKey()), "curve25519:" + madeUp: anyKey},
	}
	device.Signatures = l.signedBy(user, device)
	asked := 0
	l.forger.Keys(func(answer *mautrix.RespQueryKeys) {
		if answer.DeviceKeys[user] == nil {
			return
		}
		answer.DeviceKeys[user][madeUp] = device
		answer.UserSigningKeys[user] = renamed
		if asked++; asked == 2 {
			answer.SelfSigningKeys[user], answer.MasterKeys[user] = answer.MasterKeys[user], master
		} else {
			answer.SelfSigningKeys[user] = userSigning
		}
	})
}

// signedBy is a signature by the made-up device.
func (l *lent) signedBy(user id.UserID, anything any) signatures.Signatures {
	l.t.Helper()
	return signatures.NewSingleSignature(user, id.KeyAlgorithmEd25519, madeUp, l.sign(id.XSUsageMaster, anything))
}

// sealed counts what a client has sent to devices, encrypted.
func sealed(f *matrixtest.Forger) int {
	return len(f.Log(http.MethodPut, "/sendToDevice/m.room.encrypted"))
}

// The identity of mallory, shown as that of bob, does not vouch for a device of
// bob's.
func TestAttackBorrowedIdentity(t *testing.T) {
	l := newLent(t)
	bob, mallory := l.bob.API.UserID, l.mallory.API.UserID
	// The homeserver can log in as anybody.
	made := matrixtest.Open(t, matrixtest.Login(t, l.bob, l.server.URL()))
	mbox := start(t, made)
	awaitMembers(t, l.pair, 2, made)
	device := made.Account().Device

	honest := keysOf(t, l.alice, l.bob, l.mallory)
	master, selfSigning := honest.MasterKeys[mallory], honest.SelfSigningKeys[mallory]
	selfSigning.Signatures = signatures.Signatures{bob: selfSigning.Signatures[mallory]}
	signed := honest.DeviceKeys[bob][id.DeviceID(device)]
	signed.Signatures[bob][id.NewKeyID(id.KeyAlgorithmEd25519, string(selfSigning.FirstKey()))] = l.sign(id.XSUsageSelfSigning, signed)
	l.forger.Keys(func(answer *mautrix.RespQueryKeys) {
		if answer.DeviceKeys[bob] != nil {
			answer.DeviceKeys[bob][id.DeviceID(device)] = signed
			answer.MasterKeys[bob], answer.SelfSigningKeys[bob] = master, selfSigning
		}
	})
	l.offer()
	l.unsigned(l.bob, device)
	forged := send(t, made, l.room, invite("bob's"))
	l.nothing()
	// It can read its own message, and none before that.
	if got := mbox.next(); got.Event != forged {
		t.Errorf("the device could read %+v", got)
	}
}

// A user-signing key that is shown as a self-signing key does not vouch for
// devices.
func TestAttackUserSigningKey(t *testing.T) {
	l := newLent(t)
	l.invent(l.bob)
	for range 4 {
		l.offer()
	}
	l.unsigned(l.bob, madeUp)
	l.nothing()
}

// A device of the own account that the homeserver has made up gets no private
// key of the identity.
func TestAttackSecretRequest(t *testing.T) {
	l := newLent(t)
	l.invent(l.alice)
	user := l.alice.API.UserID
	key := map[string]any{"key": anyKey}
	key["signatures"] = l.signedBy(user, key)
	claimed, err := json.Marshal(map[string]any{"one_time_keys": map[id.UserID]any{user: map[string]any{
		madeUp: map[string]any{"signed_curve25519:AAAA": key},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	l.forger.Answer(1000, http.MethodPost, "/keys/claim", http.StatusOK, string(claimed))
	for range 4 {
		wantStanding(t, l.ac, matrix.Vouching)
	}
	l.unsigned(l.alice, madeUp)
	before := sealed(l.forger)
	for _, name := range []id.Secret{id.SecretXSMaster, id.SecretXSSelfSigning, id.SecretXSUserSigning} {
		l.forger.ToDevice(matrixtest.Event{"type": "m.secret.request", "sender": user, "content": map[string]any{
			"action": "request", "name": name, "requesting_device_id": madeUp, "request_id": name,
		}})
	}
	l.nothing()
	if n := sealed(l.forger) - before; n > 0 {
		t.Errorf("%d answers", n)
	}
}

// The key of a device is no identity that vouches for it.
func TestAttackDeviceKeyAsIdentity(t *testing.T) {
	l := newLent(t)
	c := matrixtest.Open(t, matrixtest.Login(t, l.alice, l.forger.URL()))
	user, device := l.alice.API.UserID, id.DeviceID(c.Account().Device)
	l.forger.Keys(func(answer *mautrix.RespQueryKeys) {
		key := answer.DeviceKeys[user][device].Keys.GetEd25519(device)
		for usage, list := range map[id.CrossSigningUsage]map[id.UserID]mautrix.CrossSigningKeys{
			id.XSUsageMaster: answer.MasterKeys, id.XSUsageSelfSigning: answer.SelfSigningKeys, id.XSUsageUserSigning: answer.UserSigningKeys,
		} {
			list[user] = mautrix.CrossSigningKeys{
				UserID: user, Usage: []id.CrossSigningUsage{usage},
				Keys: map[id.KeyID]id.Ed25519{id.NewKeyID(id.KeyAlgorithmEd25519, string(key)): key},
			}
		}
	})
	wantStanding(t, c, matrix.NoIdentity)
}

// Nor is it if that is told piece by piece, and never together with the device.
func TestAttackIdentityInPieces(t *testing.T) {
	server := matrixtest.Start(t)
	alice := server.NewUser("alice")
	newIdentity(t, alice)
	forger := matrixtest.NewForger(t, server.URL())
	c := matrixtest.Open(t, matrixtest.Login(t, alice, forger.URL()))
	user, device := alice.API.UserID, id.DeviceID(c.Account().Device)
	var key id.Ed25519
	asked := 0
	forger.Keys(func(answer *mautrix.RespQueryKeys) {
		clear(answer.MasterKeys)
		clear(answer.SelfSigningKeys)
		clear(answer.UserSigningKeys)
		if asked++; asked == 1 {
			key = answer.DeviceKeys[user][device].Keys.GetEd25519(device)
			return
		}
		delete(answer.DeviceKeys[user], device)
		list, usage := answer.MasterKeys, id.XSUsageMaster
		if asked%2 == 1 {
			list, usage = answer.SelfSigningKeys, id.XSUsageSelfSigning
		}
		list[user] = mautrix.CrossSigningKeys{
			UserID: user, Usage: []id.CrossSigningUsage{usage},
			Keys: map[id.KeyID]id.Ed25519{id.NewKeyID(id.KeyAlgorithmEd25519, string(key)): key},
		}
	})
	for range 4 {
		if got, err := c.Standing(t.Context()); err != nil || got >= matrix.Verified {
			t.Fatalf("standing is %v (%v)", got, err)
		}
	}
}

// A room that was encrypted is so for good, also for somebody who has left it
// and joins it again.
func TestAttackRejoin(t *testing.T) {
	for name, restart := range map[string]bool{"running": false, "restarted": true} {
		t.Run(name, func(t *testing.T) {
			p := &pair{server: matrixtest.Start(t)}
			p.alice, p.bob = p.server.NewUser("alice"), p.server.NewUser("bob")
			p.room = p.server.NewRoom(p.alice, []*matrixtest.User{p.bob}, matrixtest.Encrypted())
			forger := matrixtest.NewForger(t, p.server.URL())
			dir := matrixtest.Login(t, p.alice, forger.URL())
			p.reopen(t, dir)
			forger.Leave(p.room)
			p.nudge(t, "left")
			matrixtest.Eventually(t, soon, "alice is no longer in the room", func() bool { return len(p.ac.Rooms()) == 0 })
			if restart {
				p.shut(t)
			}
			forger.State(p.room,
				stateOf(p.alice, event.StateCreate, map[string]any{"room_version": "10", "creator": p.alice.ID()}),
				stateOf(p.alice, event.StateJoinRules, map[string]any{"join_rule": "invite"}),
			)
			if restart {
				p.reopen(t, dir)
			} else {
				p.nudge(t, "joined")
				awaitRoom(t, p.ac, p.room, "alice is in the room again", known)
			}
			p.neverPlain(t)
			p.shut(t)
			p.reopen(t, dir)
			p.neverPlain(t)
		})
	}
}

// stateOf is a state event as the homeserver shows it.
func stateOf(sender *matrixtest.User, kind event.Type, content map[string]any) matrixtest.Event {
	return matrixtest.Event{"type": kind.Type, "state_key": "", "sender": sender.ID(), "event_id": "$" + kind.Type, "content": content}
}

// nudge makes something happen in the room, so that a sync comes.
func (p *pair) nudge(t *testing.T, name string) {
	t.Helper()
	if err := p.alice.SetState(t.Context(), p.room, event.StateRoomName, map[string]any{"name": name}); err != nil {
		t.Fatal(err)
	}
}

// shut ends the client of alice's.
func (p *pair) shut(t *testing.T) {
	t.Helper()
	if err := p.ac.Close(); err != nil {
		t.Fatal(err)
	}
}

// neverPlain makes sure that alice puts nothing into the room in the clear,
// whether or not she may send there.
func (p *pair) neverPlain(t *testing.T) {
	t.Helper()
	if r, ok := roomOf(p.ac, p.room); !ok || !r.Encrypted {
		t.Errorf("the room is %+v", r)
	}
	if _, err := p.ac.Send(t.Context(), p.room, invite("in the clear")); err != nil {
		wantError(t, err, transfer.ErrNotAllowed)
	}
	list, err := p.alice.History(t.Context(), p.room)
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range list {
		if slices.Contains(transfer.EventTypes, shown.Type) {
			t.Errorf("%s is there in the clear", shown.Type)
		}
	}
}

// A device that counts no more can't read what is sent next, also if that is
// part of what was begun before.
func TestAttackUnfitReader(t *testing.T) {
	a := newAttack(t)
	cc := matrixtest.Open(t, matrixtest.Login(t, a.carol, a.server.URL()))
	cbox := start(t, cc)
	awaitMembers(t, a.pair, 3, cc)
	answer := &transfer.Answer{ID: "one", SDP: "v=0", Lifetime: time.Minute}
	sent := send(t, a.ac, a.room, answer)
	if got := cbox.next(); got.Event != sent {
		t.Fatalf("carol received %+v", got)
	}
	newIdentity(t, a.carol) // does not vouch for the device
	matrixtest.Eventually(t, soon, "alice knows that", func() bool {
		_, err := a.ac.Trust(t.Context(), transfer.Peer{User: a.carol.ID(), Device: cc.Account().Device})
		return errors.Is(err, matrix.ErrUnsigned)
	})
	all := []transfer.EventID{sent, send(t, a.ac, a.room, answer), send(t, a.ac, a.room, &transfer.Candidates{ID: "one"})}
	mark := send(t, cc, a.room, cancelOf("own"))
	if got := cbox.next(); got.Event != mark {
		t.Errorf("carol received %+v", got)
	}
	for _, want := range all { // others still can
		if got := a.bbox.next(); got.Event != want {
			t.Errorf("bob received %+v, want %s", got, want)
		}
	}
}

// A redaction takes an offer back only if it is by whoever sent that.
func TestAttackForgedRedaction(t *testing.T) {
	a := newAttack(t)
	sent := send(t, a.ac, a.room, invite("offered"))
	if got := a.bbox.next(); got.Event != sent {
		t.Fatalf("bob received %+v", got)
	}
	for _, by := range []*matrixtest.User{a.carol, a.bob} {
		a.forger.Plant(a.room, matrixtest.Event{
			"type": event.EventRedaction.Type, "event_id": "$by" + by.Name, "sender": by.ID(), "origin_server_ts": 1,
			"redacts": sent, "content": map[string]any{"redacts": sent},
		})
	}
	a.nothing()
	if _, err := a.alice.API.RedactEvent(t.Context(), id.RoomID(a.room), id.EventID(sent)); err != nil {
		t.Fatal(err)
	}
	got := a.bbox.next()
	if m, ok := got.Message.(*transfer.Cancel); !ok || m.ID != "offered" || got.From.User != a.alice.ID() {
		t.Errorf("bob received %+v", got)
	}
}

// A device of the own account that nobody has verified gets no keys of what was
// sent before it came, even if the identity of the account, which nobody has
// verified either, vouches for it.
func TestAttackOldKeys(t *testing.T) {
	a := newAttack(t)
	sent := send(t, a.bc, a.room, invite("past"))
	if got := a.bbox.next(); got.Event != sent {
		t.Fatalf("bob received %+v", got)
	}
	// The homeserver can log in as anybody.
	made := matrixtest.Open(t, matrixtest.Login(t, a.bob, a.server.URL()))
	if err := newIdentity(t, a.bob).Sign(t.Context(), made.Account().Device); err != nil {
		t.Fatal(err)
	}
	wantStanding(t, a.bc, matrix.Unverified) // which bob's device sees
	before := sealed(a.forger)
	content := a.last()["content"].(map[string]any)
	a.forger.ToDevice(matrixtest.Event{"type": "m.room_key_request", "sender": a.bob.ID(), "content": map[string]any{
		"action": "request", "request_id": "1", "requesting_device_id": made.Account().Device,
		"body": map[string]any{"algorithm": id.AlgorithmMegolmV1, "room_id": a.room, "session_id": content["session_id"]},
	}})
	a.nudge(t, "asked")
	awaitRoom(t, a.bc, a.room, "bob has taken it in", func(r matrix.Room) bool { return r.Name == "asked" })
	if n := sealed(a.forger) - before; n > 0 {
		t.Errorf("%d answers", n)
	}
}
