package matrixtest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/id"

	"github.com/matrixfs/matrixfs/transfer"
)

// Forger is a homeserver that lies: a Proxy that changes what its clients are
// told. Its methods are safe for concurrent use.
type Forger struct {
	*Proxy

	// mu guards what follows.
	mu      sync.Mutex
	planted map[transfer.RoomID][]Event
	states  map[transfer.RoomID][]Event
	left    []transfer.RoomID
	holding bool
	held    []any // messages to devices
	change  func(transfer.RoomID, Event)
}

// Event is an event as the homeserver shows it to a client.
type Event map[string]any

// Clone copies an event; what is in its content is shared.
func (e Event) Clone() Event {
	clone := Event{}
	for key, value := range e {
		clone[key] = value
	}
	return clone
}

// allRequests is more than any test makes.
const allRequests = 1 << 30

// NewForger starts a forger in front of the homeserver at target. It ends with
// the test.
func NewForger(t testing.TB, target string) *Forger {
	f := &Forger{Proxy: NewProxy(t, target), planted: map[transfer.RoomID][]Event{}, states: map[transfer.RoomID][]Event{}}
	f.Rewrite(allRequests, http.MethodGet, "/sync", f.forge)
	return f
}

// Plant puts an event into the timeline of a room, in front of what the next
// sync brings.
func (f *Forger) Plant(room transfer.RoomID, evt Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.planted[room] = append(f.planted[room], evt)
}

// State makes the next sync show the state of a room as these events.
func (f *Forger) State(room transfer.RoomID, state ...Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.states[room] = state
}

// Leave makes the next sync show that the user is no longer in a room.
func (f *Forger) Leave(room transfer.RoomID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left = append(f.left, room)
}

// ToDevice sends events to the device alone, with the next sync.
func (f *Forger) ToDevice(events ...Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, evt := range events {
		f.held = append(f.held, evt)
	}
}

// Hold keeps back what is sent to devices alone, the keys above all, until it is
// told to let go; that comes with the next sync.
func (f *Forger) Hold(hold bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.holding = hold
}

// Change passes each event of a timeline through change, which may alter it.
func (f *Forger) Change(change func(transfer.RoomID, Event)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.change = change
}

// Keys passes each answer to a query of keys through change, which may alter it.
func (f *Forger) Keys(change func(*mautrix.RespQueryKeys)) {
	f.Rewrite(allRequests, http.MethodPost, "/keys/query", func(body []byte) []byte {
		answer := &mautrix.RespQueryKeys{
			MasterKeys:      map[id.UserID]mautrix.CrossSigningKeys{},
			SelfSigningKeys: map[id.UserID]mautrix.CrossSigningKeys{},
			UserSigningKeys: map[id.UserID]mautrix.CrossSigningKeys{},
		}
		if json.Unmarshal(body, answer) != nil {
			return body
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		change(answer)
		forged, err := json.Marshal(answer)
		if err != nil {
			return body
		}
		return forged
	})
}

// forge changes the answer to a sync.
func (f *Forger) forge(body []byte) []byte {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var answer map[string]any
	if decoder.Decode(&answer) != nil {
		return body
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keepBack(object(answer, "to_device"))
	rooms := object(answer, "rooms")
	joined := object(rooms, "join")
	for _, room := range f.left {
		delete(joined, string(room))
		object(object(rooms, "leave"), string(room))
	}
	f.left = nil
	for room := range f.planted {
		object(joined, string(room))
	}
	for room, state := range f.states {
		object(object(joined, string(room)), "state")["events"] = state
	}
	clear(f.states)
	for name := range joined {
		timeline := object(object(joined, name), "timeline")
		events, _ := timeline["events"].([]any)
		room := transfer.RoomID(name)
		var all []any
		for _, evt := range f.planted[room] {
			all = append(all, map[string]any(evt))
		}
		delete(f.planted, room)
		for _, evt := range events {
			if evt, ok := evt.(map[string]any); ok && f.change != nil {
				f.change(room, evt)
			}
			all = append(all, evt)
		}
		timeline["events"] = all
	}
	forged, err := json.Marshal(answer)
	if err != nil {
		return body
	}
	return forged
}

// keepBack keeps or lets go what is for devices. The caller holds mu.
func (f *Forger) keepBack(toDevice map[string]any) {
	events, _ := toDevice["events"].([]any)
	f.held = append(f.held, events...)
	if f.holding {
		toDevice["events"] = []any{}
		return
	}
	toDevice["events"], f.held = f.held, nil
}

// object gives the object under a key, and makes it if need be.
func object(in map[string]any, key string) map[string]any {
	if there, ok := in[key].(map[string]any); ok {
		return there
	}
	made := map[string]any{}
	in[key] = made
	return made
}

// Rewrite passes the next n requests of that method ("" is any) whose path
// contains part on, and gives what rewrite makes of their answers.
func (p *Proxy) Rewrite(n int, method, part string, rewrite func(body []byte) []byte) {
	p.add(&rule{method: method, part: part, left: n, answer: func(w http.ResponseWriter, r *http.Request) bool {
		held := httptest.NewRecorder()
		p.target.ServeHTTP(held, r)
		if r.Context().Err() != nil {
			return true // nobody waits for it any more
		}
		body := rewrite(held.Body.Bytes())
		for key, values := range held.Header() {
			w.Header()[key] = values
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(held.Code)
		_, _ = w.Write(body)
		return true
	}})
}
