// Package transfertest joins exchanges without a homeserver, for tests of what
// is built on transfer. The data channels between them are real.
package transfertest

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/matrixfs/matrixfs/transfer"
)

// Hub is one room that carries messages between exchanges, in order, each one
// to everybody, the sender included, as a homeserver does. Each message goes
// through its JSON form.
type Hub struct {
	Room transfer.RoomID

	mu      sync.Mutex // guards all below
	members []*Member
	filter  func(from transfer.Peer, m transfer.Message) error
	log     []transfer.Received
	queue   chan posted
	done    chan struct{}
}

// posted is a message on its way. Its sender gets own instead: a plain member's
// exchange is a matrixfs, and must know its messages when they come back.
type posted struct {
	transfer.Received
	sender *Member
	own    transfer.Message
}

// Member is one device in the hub's room. It is the Signaller of its exchange.
type Member struct {
	Self     transfer.Peer
	Exchange *transfer.Exchange
	// Plain makes the device one that knows nothing of matrixfs: its messages
	// leave without the key of matrixfs.
	Plain bool

	hub     *Hub
	retired []transfer.ID // guarded by hub.mu
}

var _ transfer.Signaller = (*Member)(nil)

// NewHub makes a room; it ends with the test.
func NewHub(t testing.TB) *Hub {
	h := &Hub{Room: "!room:test", queue: make(chan posted, 4096), done: make(chan struct{})}
	go h.deliver()
	t.Cleanup(func() {
		close(h.queue)
		<-h.done
	})
	return h
}

// Filter asks f about every message before it is sent: an error of f is what
// the sender gets. f may be nil.
func (h *Hub) Filter(f func(from transfer.Peer, m transfer.Message) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.filter = f
}

// Log gives all messages so far.
func (h *Hub) Log() []transfer.Received {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]transfer.Received(nil), h.log...)
}

// Join adds a device. change may adjust its configuration before its exchange
// is made; nil leaves it as it is. The exchange is closed with the test.
func (h *Hub) Join(t testing.TB, user transfer.UserID, device transfer.DeviceID, change func(*transfer.Config)) *Member {
	t.Helper()
	m := &Member{Self: transfer.Peer{User: user, Device: device}, hub: h}
	cfg := transfer.Config{Self: m.Self, Signaller: m, CacheDir: t.TempDir(), Loopback: true, Lifetime: time.Minute}
	if change != nil {
		change(&cfg)
	}
	x, err := transfer.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	m.Exchange = x
	t.Cleanup(func() { x.Close() })
	h.mu.Lock()
	defer h.mu.Unlock()
	h.members = append(h.members, m)
	return m
}

// Pair gives two exchanges of two users that share a room.
func Pair(t testing.TB) (alice, bob *transfer.Exchange, room transfer.RoomID) {
	h := NewHub(t)
	a := h.Join(t, "@alice:test", "ALICE", nil)
	b := h.Join(t, "@bob:test", "BOB", nil)
	return a.Exchange, b.Exchange, h.Room
}

// Inject delivers a message as if the homeserver had it from somebody.
func (h *Hub) Inject(r transfer.Received) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.post(posted{Received: r})
}

// post puts a message into the room. mu is held, which keeps the order.
func (h *Hub) post(r posted) transfer.EventID {
	r.Room = h.Room
	if r.Event == "" {
		r.Event = transfer.EventID(fmt.Sprintf("$%d", len(h.log)))
	}
	h.log = append(h.log, r.Received)
	h.queue <- r
	return r.Event
}

func (h *Hub) deliver() {
	defer close(h.done)
	for r := range h.queue {
		h.mu.Lock()
		members := append([]*Member(nil), h.members...)
		h.mu.Unlock()
		for _, m := range members {
			if own := r.Received; m == r.sender {
				own.Message = r.own
				m.Exchange.Receive(own)
			} else {
				m.Exchange.Receive(r.Received)
			}
		}
	}
}

// Send implements transfer.Signaller.
func (m *Member) Send(ctx context.Context, room transfer.RoomID, msg transfer.Message) (transfer.EventID, error) {
	h := m.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if room != h.Room {
		return "", transfer.ErrNotAllowed
	}
	if h.filter != nil {
		if err := h.filter(m.Self, msg); err != nil {
			return "", err
		}
	}
	own, err := recode(msg, false)
	if err != nil {
		return "", err
	}
	seen, err := recode(msg, m.Plain)
	if err != nil {
		return "", err
	}
	r := transfer.Received{From: transfer.Peer{User: m.Self.User}, Message: seen}
	return h.post(posted{r, m, own}), nil
}

// recode takes a message through its JSON form, without the key of matrixfs if
// plain.
func recode(msg transfer.Message, plain bool) (transfer.Message, error) {
	raw, err := json.Marshal(msg)
	if err != nil {
		return nil, err
	}
	if plain {
		var c map[string]any
		if err := json.Unmarshal(raw, &c); err != nil {
			return nil, err
		}
		delete(c, "dev.matrixfs.d2d")
		if raw, err = json.Marshal(c); err != nil {
			return nil, err
		}
	}
	return transfer.DecodeMessage(msg.EventType(), raw)
}

// Retire implements transfer.Signaller. The hub's room takes nothing back; it
// only remembers who asked.
func (m *Member) Retire(_ transfer.RoomID, id transfer.ID) {
	m.hub.mu.Lock()
	defer m.hub.mu.Unlock()
	m.retired = append(m.retired, id)
}

// Retired gives the transfers that this device has said are over.
func (m *Member) Retired() []transfer.ID {
	m.hub.mu.Lock()
	defer m.hub.mu.Unlock()
	return append([]transfer.ID(nil), m.retired...)
}

// Members implements transfer.Signaller.
func (m *Member) Members(transfer.RoomID) []transfer.UserID {
	m.hub.mu.Lock()
	defer m.hub.mu.Unlock()
	seen := map[transfer.UserID]bool{}
	var users []transfer.UserID
	for _, k := range m.hub.members {
		if !seen[k.Self.User] {
			seen[k.Self.User] = true
			users = append(users, k.Self.User)
		}
	}
	return users
}

// TURNServers implements transfer.Signaller: there are none.
func (m *Member) TURNServers(context.Context) ([]transfer.TURNServer, error) { return nil, nil }
