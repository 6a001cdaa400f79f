package matrix_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"maunium.net/go/mautrix/id"

	"github.com/matrixfs/matrixfs/matrix/matrixtest"
	"github.com/matrixfs/matrixfs/transfer"
)

// asked counts how often bob has asked for the keys of a user.
func (a *attack) asked(user *matrixtest.User) (n int) {
	for _, e := range a.forger.Log(http.MethodPost, "/keys/query") {
		if strings.Contains(e.Response, string(user.ID())) {
			n++
		}
	}
	return n
}

// keyNumber is one of many keys that nobody has.
func keyNumber(i int) string {
	key := sha256.Sum256([]byte(fmt.Sprint(i)))
	return base64.RawStdEncoding.EncodeToString(key[:])
}

// What a stranger asks for costs nothing, and keeps nobody else waiting.
func TestAttackManyRequests(t *testing.T) {
	a := newAttack(t)
	mallory := a.server.NewUser("mallory")
	a.nothing()
	var flood []matrixtest.Event
	for i := range 2000 {
		flood = append(flood, matrixtest.Event{"type": "m.room_key_request", "sender": mallory.ID(), "content": map[string]any{
			"action": "request", "request_id": fmt.Sprint(i), "requesting_device_id": fmt.Sprint("MADEUP", i),
			"body": map[string]any{"algorithm": id.AlgorithmMegolmV1, "room_id": a.room, "session_id": "x", "sender_key": "y"},
		}})
	}
	a.forger.ToDevice(flood...)
	a.nothing()
	if n := a.asked(mallory); n > 0 {
		t.Errorf("bob has asked for the stranger's keys %d times", n)
	}
}

// Nor does what can't be read, from devices that nobody knows.
func TestAttackManySenders(t *testing.T) {
	a := newAttack(t)
	mallory := a.server.NewUser("mallory")
	a.nothing()
	device := id.DeviceID(a.bc.Account().Device)
	bob := keysOf(t, a.alice, a.bob).DeviceKeys[a.bob.API.UserID][device].Keys.GetCurve25519(device)
	var flood []matrixtest.Event
	for i := range 1000 {
		key := keyNumber(i)
		flood = append(flood, matrixtest.Event{"type": "m.room.encrypted", "sender": mallory.ID(), "content": map[string]any{
			"algorithm": id.AlgorithmOlmV1, "sender_key": key,
			"ciphertext": map[id.Curve25519]any{bob: map[string]any{"type": 1, "body": key}},
		}})
	}
	before, most := int64(runtime.NumGoroutine()), atomic.Int64{}
	a.forger.Before(1000, http.MethodPost, "/keys/query", func() { most.Store(max(most.Load(), int64(runtime.NumGoroutine()))) })
	a.forger.ToDevice(flood...)
	a.nothing()
	if n := most.Load() - before; n > 100 {
		t.Errorf("there were %d goroutines more", n)
	}
	if n := a.asked(mallory); n > 2 {
		t.Errorf("bob has asked for the stranger's keys %d times", n)
	}
}

// What one member sends that can't be read does not push out what waits for the
// key of another.
func TestAttackManyUnreadable(t *testing.T) {
	a := newAttack(t)
	a.forger.Hold(true)
	early := send(t, a.ac, a.room, invite("early"))
	matrixtest.Eventually(t, soon, "bob was shown it", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.seen) == 1
	})
	for i := range 510 {
		rubbish := a.last()
		content := maps.Clone(rubbish["content"].(map[string]any))
		content["session_id"] = keyNumber(i)
		rubbish["content"], rubbish["sender"], rubbish["event_id"] = content, a.carol.ID(), fmt.Sprint("$rubbish", i)
		a.forger.Plant(a.room, rubbish)
	}
	own := send(t, a.bc, a.room, cancelOf("own"))
	if got := a.bbox.next(); got.Event != own {
		t.Errorf("bob received %+v", got)
	}
	a.forger.Hold(false)
	mark := send(t, a.ac, a.room, cancelOf("mark"))
	for _, want := range []transfer.EventID{early, mark} {
		if got := a.bbox.next(); got.Event != want {
			t.Errorf("bob received %+v, want %s", got, want)
		}
	}
}
