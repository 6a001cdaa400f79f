package matrix_test

import (
	"encoding/json"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"maunium.net/go/mautrix/event"

	"github.com/matrixfs/matrixfs/matrix"
	"github.com/matrixfs/matrixfs/matrix/matrixtest"
	"github.com/matrixfs/matrixfs/transfer"
)

// attack is an encrypted room of alice, bob and carol, whose homeserver lies to
// bob.
type attack struct {
	*pair
	t      *testing.T
	carol  *matrixtest.User
	forger *matrixtest.Forger

	mu   sync.Mutex
	seen []matrixtest.Event // what bob was shown of the room; guarded by mu
}

func newAttack(t *testing.T) *attack {
	t.Helper()
	a := &attack{pair: &pair{server: matrixtest.Start(t)}, t: t}
	a.alice, a.bob, a.carol = a.server.NewUser("alice"), a.server.NewUser("bob"), a.server.NewUser("carol")
	a.room = a.server.NewRoom(a.alice, []*matrixtest.User{a.bob, a.carol}, matrixtest.Encrypted())
	a.forger = matrixtest.NewForger(t, a.server.URL())
	a.forger.Change(a.watch)
	a.ac = matrixtest.Open(t, matrixtest.Login(t, a.alice, a.server.URL()))
	a.bc = matrixtest.Open(t, matrixtest.Login(t, a.bob, a.forger.URL()))
	a.abox, a.bbox = start(t, a.ac), start(t, a.bc)
	awaitMembers(t, a.pair, 3, a.ac, a.bc)
	return a
}

// watch notes what bob is shown.
func (a *attack) watch(room transfer.RoomID, evt matrixtest.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if room == a.room && evt["type"] == "m.room.encrypted" {
		a.seen = append(a.seen, evt.Clone())
	}
}

// last is the last encrypted event that bob was shown.
func (a *attack) last() matrixtest.Event {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.seen) == 0 {
		a.t.Fatal("bob has seen no encrypted event")
	}
	return a.seen[len(a.seen)-1].Clone()
}

// nothing makes sure that what was planted does nothing: bob receives the next
// message of alice, and nothing before it.
func (a *attack) nothing() {
	a.t.Helper()
	mark := send(a.t, a.ac, a.room, cancelOf("mark"))
	if got := a.bbox.next(); got.Event != mark {
		a.t.Errorf("bob received %+v", got)
	}
}

func TestAttackPlaintext(t *testing.T) {
	a := newAttack(t)
	for _, m := range []transfer.Message{
		invite("forged"),
		&transfer.Candidates{ID: "forged"},
		&transfer.Answer{ID: "forged", SDP: "v=0"},
		&transfer.Cancel{ID: "forged"},
	} {
		a.forger.Plant(a.room, matrixtest.Event{
			"type": m.EventType(), "event_id": "$forged" + m.EventType(), "sender": a.alice.ID(), "origin_server_ts": 1, "content": m,
			"unsigned": map[string]any{"age": 1},
		})
	}
	a.nothing()
}

// An invite shown again, as if it were new.
func TestAttackReplay(t *testing.T) {
	a := newAttack(t)
	sent := send(t, a.ac, a.room, invite("once"))
	if got := a.bbox.next(); got.Event != sent {
		t.Fatalf("received %+v", got)
	}
	again := a.last()
	again["event_id"] = "$again"
	a.forger.Plant(a.room, again)
	late := a.last()
	late["unsigned"] = map[string]any{"age": 1}
	late["origin_server_ts"] = json.Number("9999999999999")
	a.forger.Plant(a.room, late)
	a.nothing()
}

// What bob sent is shown to him as alice's, before or after he has seen it.
func TestAttackReflection(t *testing.T) {
	a := newAttack(t)
	send(t, a.bc, a.room, invite("mine"))
	if got := a.bbox.next(); got.From != (transfer.Peer{User: a.bob.ID(), Device: a.bc.Account().Device}) {
		t.Fatalf("the echo is %+v", got)
	}
	reflected := a.last()
	reflected["sender"], reflected["event_id"] = a.alice.ID(), "$reflected"
	a.forger.Plant(a.room, reflected)
	a.nothing()

	var shown atomic.Bool
	a.forger.Change(func(room transfer.RoomID, evt matrixtest.Event) {
		if room == a.room && evt["sender"] == string(a.bob.ID()) && evt["type"] == "m.room.encrypted" {
			shown.Store(true)
			evt["sender"] = a.alice.ID()
			delete(evt, "unsigned")
		}
	})
	send(t, a.bc, a.room, invite("mine too"))
	matrixtest.Eventually(t, soon, "bob was shown it", shown.Load)
	a.nothing()
}

// What alice sent is shown as carol's, or as bob's own.
func TestAttackRenamedSender(t *testing.T) {
	a := newAttack(t)
	for _, name := range []transfer.UserID{a.carol.ID(), a.bob.ID()} {
		var shown atomic.Bool
		a.forger.Change(func(room transfer.RoomID, evt matrixtest.Event) {
			if room == a.room && evt["type"] == "m.room.encrypted" {
				evt["sender"] = name
				shown.Store(true)
			}
		})
		send(t, a.ac, a.room, invite("hers"))
		matrixtest.Eventually(t, soon, "bob was shown it", shown.Load)
		a.forger.Change(nil)
		a.nothing()
	}
}

// A device that the homeserver has made up for alice, whose identity does not
// vouch for it: it answers nothing, offers nothing, and can read nothing.
func TestAttackMadeUpDevice(t *testing.T) {
	a := newAttack(t)
	identity, err := a.alice.NewIdentity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := identity.Sign(t.Context(), a.ac.Account().Device); err != nil {
		t.Fatal(err)
	}
	// The homeserver can log in as anybody.
	madeUp := matrixtest.Open(t, matrixtest.Login(t, a.alice, a.server.URL()))
	mbox := start(t, madeUp)
	awaitMembers(t, a.pair, 3, madeUp)

	offer := send(t, a.bc, a.room, invite("bob's"))
	for got := a.bbox.next(); got.Event != offer; got = a.bbox.next() {
		t.Fatalf("bob received %+v", got)
	}
	for _, m := range []transfer.Message{
		&transfer.Answer{ID: "bob's", SDP: "v=0", Ext: &transfer.Extension{Version: 1, Device: a.ac.Account().Device}},
		&transfer.Candidates{ID: "bob's"}, &transfer.Cancel{ID: "bob's"}, invite("hers"),
	} {
		send(t, madeUp, a.room, m)
	}
	mark := send(t, a.ac, a.room, cancelOf("mark"))
	got := a.bbox.next()
	if got.Event != mark || got.Trust != transfer.TrustIdentity {
		t.Errorf("bob received %+v", got)
	}
	// Alice's own device does not take the made-up one for hers either.
	for got := a.abox.next(); got.Event != mark; got = a.abox.next() {
		if got.From.User == a.alice.ID() {
			t.Errorf("alice received %+v", got)
		}
	}
	// The made-up device has seen its own messages, and none of bob's.
	for {
		select {
		case got := <-mbox.got:
			if got.From.User == a.bob.ID() {
				t.Errorf("it could read %+v", got)
			}
			continue
		default:
		}
		break
	}
}

// A homeserver that shows a room afresh, without its encryption, does not make
// anybody speak in the clear.
func TestAttackEncryptionHidden(t *testing.T) {
	a := newAttack(t)
	create := matrixtest.Event{"type": "m.room.create", "state_key": "", "sender": a.alice.ID(), "event_id": "$create",
		"content": map[string]any{"room_version": "10", "creator": a.alice.ID()}}
	rules := matrixtest.Event{"type": "m.room.join_rules", "state_key": "", "sender": a.alice.ID(), "event_id": "$rules",
		"content": map[string]any{"join_rule": "invite"}}
	a.forger.State(a.room, create, rules)
	if err := a.alice.SetState(t.Context(), a.room, event.StateRoomName, map[string]any{"name": "afresh"}); err != nil {
		t.Fatal(err)
	}
	awaitRoom(t, a.bc, a.room, "bob was shown the room afresh", func(r matrix.Room) bool { return r.Name == "afresh" })
	if r, _ := roomOf(a.bc, a.room); !r.Encrypted || r.Refused == "" {
		t.Fatalf("the room is %+v", r)
	}
	_, err := a.bc.Send(t.Context(), a.room, cancelOf("in the clear"))
	wantError(t, err, transfer.ErrNotAllowed)
}

// The documented limit: in a room that is not encrypted the homeserver can put
// itself between. What it changes is marked as proven by nobody.
func TestLimitPlainRoom(t *testing.T) {
	a := newAttack(t)
	room := a.server.NewRoom(a.alice, []*matrixtest.User{a.bob})
	awaitRoom(t, a.ac, room, "alice knows the room", known)
	awaitRoom(t, a.bc, room, "bob knows the room", known)
	a.forger.Change(func(at transfer.RoomID, evt matrixtest.Event) {
		if content, ok := evt["content"].(map[string]any); ok && at == room && evt["type"] == transfer.EventInvite {
			content["offer"] = map[string]any{"type": "offer", "sdp": "of the homeserver"}
		}
	})
	send(t, a.ac, room, invite("swapped"))
	got := a.bbox.next()
	if m, ok := got.Message.(*transfer.Invite); !ok || m.SDP != "of the homeserver" || got.Trust != transfer.TrustNone || got.From.Device != "" {
		t.Errorf("bob received %+v", got)
	}
}

// A device whose user has an identity counts only if that vouches for it, and
// the identity only for as long as it is the one that was met first.
func TestIdentity(t *testing.T) {
	a := newAttack(t)
	device := a.ac.Account().Device
	// carol's messages come after alice's, and tell that those have been seen.
	cc := matrixtest.Open(t, matrixtest.Login(t, a.carol, a.server.URL()))
	start(t, cc)
	awaitMembers(t, a.pair, 3, cc)
	// trust is what bob makes of a message of alice's, or -1 if nothing.
	trust := func() (trust transfer.Trust) {
		t.Helper()
		trust = -1
		sent := send(t, a.ac, a.room, invite("of alice"))
		mark := send(t, cc, a.room, cancelOf("of carol"))
		for got := a.bbox.next(); got.Event != mark; got = a.bbox.next() {
			if got.Event == sent {
				trust = got.Trust
			}
		}
		return trust
	}
	becomes := func(what string, want transfer.Trust) {
		t.Helper()
		matrixtest.Eventually(t, soon, what, func() bool { return trust() == want })
	}
	becomes("no identity", transfer.TrustDevice)
	first, err := a.alice.NewIdentity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	becomes("an identity that does not vouch for the device", -1)
	if err := first.Sign(t.Context(), device); err != nil {
		t.Fatal(err)
	}
	becomes("one that does", transfer.TrustIdentity)
	second, err := a.alice.NewIdentity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Sign(t.Context(), device); err != nil {
		t.Fatal(err)
	}
	becomes("another identity", -1)
}

// What was kept over a restart counts only if its sender still does, and what a
// device sends that its user has logged out does not.
func TestKeptTrust(t *testing.T) {
	a := newAttack(t)
	for _, c := range []struct {
		name string
		turn func()
		want bool
	}{
		{"as before", func() {}, true},
		{"an identity that does not vouch for it", func() {
			if _, err := a.alice.NewIdentity(t.Context()); err != nil {
				t.Fatal(err)
			}
		}, false},
	} {
		bob := matrixtest.Login(t, a.bob, a.server.URL())
		b := matrixtest.Open(t, bob)
		box := start(t, b)
		awaitMembers(t, a.pair, 3, b)
		sent := send(t, a.ac, a.room, invite("kept"))
		if got := box.next(); got.Event != sent {
			t.Fatalf("%s: received %+v", c.name, got)
		}
		c.turn()
		matrixtest.Eventually(t, soon, "bob's device knows of it", func() bool {
			send(t, a.ac, a.room, cancelOf("mark"))
			mark := send(t, b, a.room, cancelOf("own"))
			counts := false
			for got := box.next(); got.Event != mark; got = box.next() {
				counts = counts || got.From.User == a.alice.ID()
			}
			return counts == c.want
		})
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		b = matrixtest.Open(t, bob)
		box = start(t, b)
		mark := send(t, b, a.room, cancelOf("own"))
		kept := false
		for got := box.next(); got.Event != mark; got = box.next() {
			kept = kept || got.Event == sent
		}
		if kept != c.want {
			t.Errorf("%s: the offer is there: %v", c.name, kept)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// What a device has sent that its user has logged out since counts no more.
func TestRemovedDevice(t *testing.T) {
	a := newAttack(t)
	stolen := matrixtest.Open(t, matrixtest.Login(t, a.alice, a.server.URL()))
	start(t, stolen)
	awaitMembers(t, a.pair, 3, stolen)
	device := transfer.Peer{User: a.alice.ID(), Device: stolen.Account().Device}
	sent := send(t, stolen, a.room, invite("first"))
	if got := a.bbox.next(); got.Event != sent || got.From != device {
		t.Fatalf("received %+v", got)
	}
	// The homeserver keeps the second one back.
	kept := make(chan matrixtest.Event, 1)
	a.forger.Change(func(room transfer.RoomID, evt matrixtest.Event) {
		if room == a.room && evt["type"] == "m.room.encrypted" {
			kept <- evt.Clone()
			evt["type"] = "m.room.hidden"
		}
	})
	send(t, stolen, a.room, invite("second"))
	second := <-kept
	a.forger.Change(nil)
	if err := stolen.Logout(t.Context()); err != nil {
		t.Fatal(err)
	}
	matrixtest.Eventually(t, soon, "bob knows that the device is gone", func() bool { return a.bc.DeviceGone(device) })
	a.forger.Plant(a.room, second)
	a.nothing()
}

// An offer whose key comes late appears when it comes, if it is still alive.
func TestLateKey(t *testing.T) {
	a := newAttack(t)
	a.forger.Hold(true)
	early := send(t, a.ac, a.room, invite("early"))
	dead := invite("dead")
	dead.Lifetime = time.Millisecond
	send(t, a.ac, a.room, dead)
	matrixtest.Eventually(t, soon, "bob was shown both", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.seen) == 2
	})
	a.bbox.empty()
	a.forger.Hold(false)
	mark := send(t, a.ac, a.room, cancelOf("mark"))
	got := a.bbox.next()
	if m, ok := got.Message.(*transfer.Invite); !ok || got.Event != early || got.Age >= m.Lifetime {
		t.Errorf("bob received %+v", got)
	}
	// Whether an offer is still alive is for the receiver to see, by its age.
	got = a.bbox.next()
	if m, ok := got.Message.(*transfer.Invite); !ok || got.Age <= m.Lifetime {
		t.Errorf("bob received %+v", got)
	}
	if got := a.bbox.next(); got.Event != mark {
		t.Errorf("bob received %+v", got)
	}
}
