package matrix

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"maunium.net/go/mautrix/event"

	"github.com/matrixfs/matrixfs/transfer"
)

// verifyEventOf makes an event as a homeserver sends it.
func verifyEventOf(kind, content string) *event.Event {
	evt := &event.Event{ID: "$event", RoomID: "!room:x", Sender: "@bob:x", Type: event.Type{Type: kind}}
	evt.Content.VeryRaw = json.RawMessage(content)
	evt.Timestamp = time.Now().UnixMilli()
	return evt
}

func TestParseVerify(t *testing.T) {
	long := strings.Repeat("x", maxLabel+1)
	for _, c := range []struct {
		kind, content      string
		toDevice, fromRoom bool // can be read
	}{
		{"m.key.verification.request", `{"from_device":"B","methods":["m.sas.v1"],"transaction_id":"t","timestamp":1}`, true, false},
		{"m.room.message", `{"msgtype":"m.key.verification.request","from_device":"B","methods":["m.sas.v1"],"to":"@a:x"}`, false, true},
		{"m.room.message", `{"msgtype":"m.text","body":"hello"}`, false, false},
		{"m.key.verification.ready", `{"from_device":"B","methods":["m.sas.v1"],"transaction_id":"t"}`, true, false},
		{"m.key.verification.ready", `{"from_device":"B","methods":["m.sas.v1"],"m.relates_to":{"rel_type":"m.reference","event_id":"$e"}}`, false, true},
		{"m.key.verification.ready", `{"from_device":"B","methods":["m.sas.v1"],"m.relates_to":{"rel_type":"m.thread","event_id":"$e"}}`, false, false},
		{"m.key.verification.ready", `{"methods":["m.sas.v1"],"transaction_id":"t"}`, false, false},
		{"m.key.verification.ready", `{"from_device":"` + long + `","methods":["m.sas.v1"],"transaction_id":"t"}`, false, false},
		{"m.key.verification.key", `{"key":"k","transaction_id":"t"}`, true, false},
		{"m.key.verification.key", `{"key":"k","transaction_id":"` + long + `"}`, false, false},
		{"m.key.verification.key", `{"transaction_id":"t"}`, false, false},
		{"m.key.verification.mac", `{"mac":{"ed25519:B":"m"},"keys":"k","transaction_id":"t"}`, true, false},
		{"m.key.verification.mac", `{"mac":{},"keys":"k","transaction_id":"t"}`, false, false},
		{"m.key.verification.done", `{"transaction_id":"t"}`, true, false},
		{"m.key.verification.cancel", `{"transaction_id":"t","code":"m.user","reason":"` + long + `"}`, true, false},
		{"m.key.verification.other", `{"transaction_id":"t"}`, false, false},
		{"m.key.verification.done", `{"transaction_id":5}`, false, false},
		{"m.key.verification.done", `[]`, false, false},
		{"m.key.verification.ready", `{"from_device":"B","transaction_id":"t","methods":["a"` + strings.Repeat(`,"a"`, maxMethods) + `]}`, false, false},
	} {
		if _, err := fromDevice(verifyEventOf(c.kind, c.content)); (err == nil) != c.toDevice {
			t.Errorf("%s %.80s to a device: %v", c.kind, c.content, err)
		}
		if _, err := fromRoom(verifyEventOf(c.kind, c.content), ""); (err == nil) != c.fromRoom {
			t.Errorf("%s %.80s in a room: %v", c.kind, c.content, err)
		}
	}
}

// The device that is proven counts, and one that speaks for another does not.
func TestProvenDevice(t *testing.T) {
	ready := verifyEventOf("m.key.verification.ready", `{"from_device":"B","methods":["m.sas.v1"],"m.relates_to":{"rel_type":"m.reference","event_id":"$e"}}`)
	if _, err := fromRoom(ready, "C"); err == nil {
		t.Error("C may speak for B")
	}
	key := verifyEventOf("m.key.verification.key", `{"key":"k","m.relates_to":{"rel_type":"m.reference","event_id":"$e"}}`)
	if e, err := fromRoom(key, "C"); err != nil || e.from != (transfer.Peer{User: "@bob:x", Device: "C"}) {
		t.Errorf("got %+v, %v", e, err)
	}
}

// Requests count if they are new, and meant for this device; there is room for
// a few, and those beyond one verification are refused.
func TestVerifierRequests(t *testing.T) {
	self := transfer.Peer{User: "@alice:x", Device: "A"}
	request := func(from transfer.Peer, room transfer.RoomID, to string, age time.Duration) *verifyEvent {
		return &verifyEvent{kind: verifyRequest, txn: from.String(), room: room, from: from, sent: time.Now().Add(-age), verifyContent: verifyContent{To: to}}
	}
	own, bob := transfer.Peer{User: "@alice:x", Device: "B"}, transfer.Peer{User: "@bob:x", Device: "C"}
	for name, c := range map[string]struct {
		e    *verifyEvent
		want bool
	}{
		"own device":              {request(own, "", "", 0), true},
		"own device, old":         {request(own, "", "", maxVerifyAge), false},
		"own device, from future": {request(own, "", "", -2*maxVerifyAhead), false},
		"this device":             {request(self, "", "", 0), false},
		"user":                    {request(bob, "!r", "@alice:x", 0), true},
		"user, old":               {request(bob, "!r", "@alice:x", time.Hour), false},
		"user, to a third":        {request(bob, "!r", "@carol:x", 0), false},
		"user, to the device":     {request(bob, "", "@alice:x", 0), false},
		"own user, in a room":     {request(own, "!r", "@alice:x", 0), false},
	} {
		f := newVerifier(self, nil)
		f.take(c.e)
		if got := f.pick(time.Now()); (got != nil) != c.want {
			t.Errorf("%s: picked %+v", name, got)
		}
	}
	f := newVerifier(self, nil)
	for range 3 * maxRequests {
		f.take(request(own, "", "", 0))
	}
	if len(f.requests) != maxRequests {
		t.Errorf("%d requests wait", len(f.requests))
	}
	f.take(&verifyEvent{kind: verifyCancel, txn: own.String(), from: own})
	if e := f.pick(time.Now()); e != nil {
		t.Errorf("a request that was withdrawn is picked: %+v", e)
	}
	d, leave, err := f.enter()
	if err != nil {
		t.Fatal(err)
	}
	f.set(d, "@carol:x", "!r", "txn")
	for range 3 * maxSurplus {
		f.take(request(bob, "!r", "@alice:x", 0))
	}
	if len(f.requests) != 0 || len(d.surplus) != maxSurplus {
		t.Errorf("%d requests wait, %d are refused", len(f.requests), len(d.surplus))
	}
	leave()
	if f.listening() {
		t.Error("it still listens")
	}
}

// What is asked of the homeserver has people's messages in it only while a
// verification is going on.
func TestFilterOfVerification(t *testing.T) {
	for _, kind := range []string{"m.room.message", "m.key.verification.start"} {
		if strings.Contains(syncFilter(false), kind) || !strings.Contains(syncFilter(true), kind) {
			t.Errorf("%s: %s, %s", kind, syncFilter(false), syncFilter(true))
		}
	}
}

// FuzzVerifyEvent: nothing that is sent makes reading it, or a verification that
// gets it in any phase, panic or vouch for anything.
func FuzzVerifyEvent(f *testing.F) {
	seeds, err := filepath.Glob("testdata/fuzz/FuzzVerifyEvent/*")
	if err != nil || len(seeds) < 8 {
		f.Fatalf("the seeds are missing: %v, %v", seeds, err)
	}
	f.Fuzz(func(t *testing.T, kind, content string) {
		evt := verifyEventOf(kind, content)
		list := []*verifyEvent{}
		for _, read := range []func() (*verifyEvent, error){
			func() (*verifyEvent, error) { return fromDevice(evt) },
			func() (*verifyEvent, error) { return fromRoom(evt, "") },
		} {
			if e, err := read(); err == nil {
				list = append(list, e)
			}
		}
		for _, e := range list {
			for p := phaseAsked; p <= phaseEnded; p++ {
				a, _ := sides()
				a.sas, a.phase, a.peer.Device, a.commitment = newSAS(), p, "B", "x"
				if p == phaseSure || p == phaseAhead {
					if err := a.sas.agree(newSAS().public()); err != nil {
						t.Fatal(err)
					}
				}
				e.txn = a.txn
				if a.take(t.Context(), e); len(a.vouched) > 0 && p != phaseProven {
					t.Fatalf("phase %d vouches after %s %s", p, kind, content)
				}
			}
		}
	})
}
