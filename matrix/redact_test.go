package matrix_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/id"

	"github.com/matrixfs/matrixfs/matrix"
	"github.com/matrixfs/matrixfs/matrix/matrixtest"
	"github.com/matrixfs/matrixfs/transfer"
)

// visible gives the events of MSC2354 in a room whose content the homeserver
// still shows.
func visible(t *testing.T, u *matrixtest.User, at transfer.RoomID) []transfer.EventID {
	t.Helper()
	page, err := u.API.Messages(t.Context(), id.RoomID(at), "", "", mautrix.DirectionBackward, nil, 100)
	if err != nil {
		t.Fatal(err)
	}
	var list []transfer.EventID
	for _, evt := range page.Chunk {
		if slices.Contains(transfer.EventTypes, evt.Type.Type) && string(evt.Content.VeryRaw) != "{}" {
			list = append(list, transfer.EventID(evt.ID))
		}
	}
	return list
}

// sender is a client of alice's that runs, in a room with bob, and its state.
func sender(t *testing.T) (p *pair, dir string) {
	t.Helper()
	p = &pair{server: matrixtest.Start(t)}
	p.alice, p.bob = p.server.NewUser("alice"), p.server.NewUser("bob")
	p.room = p.server.NewRoom(p.alice, []*matrixtest.User{p.bob})
	dir = matrixtest.Login(t, p.alice, p.server.URL())
	return p, dir
}

// reopen runs a client from a state that no other uses.
func (p *pair) reopen(t *testing.T, dir string, options ...matrix.Option) {
	t.Helper()
	c, err := matrix.Open(t.Context(), dir, nil, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	p.ac, p.abox = c, start(t, c)
	awaitRoom(t, c, p.room, "alice knows the room", known)
}

// Once a transfer is over, nothing of it is left in the room: of what this
// device sent. A cancel stays longer.
func TestRedaction(t *testing.T) {
	p := newPair(t)
	candidates := func(of transfer.ID) *transfer.Candidates { return &transfer.Candidates{ID: of} }
	for i := range 2 {
		send(t, p.ac, p.room, &transfer.Invite{ID: transfer.ID(fmt.Sprint("t", i)), Lifetime: time.Minute, SDP: "v=0"})
		send(t, p.ac, p.room, candidates(transfer.ID(fmt.Sprint("t", i))))
	}
	cancel := send(t, p.ac, p.room, cancelOf("t0"))
	theirs := send(t, p.bc, p.room, cancelOf("t0"))
	p.ac.Retire(p.room, "t0")
	matrixtest.Eventually(t, soon, "the first transfer's events are redacted", func() bool {
		return len(visible(t, p.alice, p.room)) == 4
	})
	left := visible(t, p.alice, p.room)
	if !slices.Contains(left, theirs) {
		t.Error("another device's event is gone too")
	}
	if !slices.Contains(left, cancel) {
		t.Error("nobody who is behind can see the cancel any more")
	}
	// A message that comes after the end.
	send(t, p.ac, p.room, candidates("t0"))
	matrixtest.Eventually(t, soon, "a late message is redacted", func() bool {
		return len(visible(t, p.alice, p.room)) == 4
	})
}

// What a run leaves behind, because it crashed or had no time, the next one
// redacts.
func TestRedactionAfterCrash(t *testing.T) {
	p, dir := sender(t)
	p.bc = matrixtest.Open(t, matrixtest.Login(t, p.bob, p.server.URL()))
	p.bbox = start(t, p.bc)
	awaitRoom(t, p.bc, p.room, "bob knows the room", known)
	p.reopen(t, dir)
	sent := send(t, p.ac, p.room, &transfer.Invite{ID: "t1", Lifetime: time.Minute, SDP: "v=0"})
	p.abox.next()
	if got := p.bbox.next(); got.Event != sent {
		t.Fatalf("bob received %+v", got)
	}
	if err := p.ac.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(visible(t, p.bob, p.room)); n != 1 {
		t.Fatalf("%d events are visible", n)
	}
	p.reopen(t, dir)
	matrixtest.Eventually(t, soon, "the event of the earlier run is redacted", func() bool {
		return len(visible(t, p.bob, p.room)) == 0
	})
	// For others, that takes the offer back.
	got := p.bbox.next()
	if m, ok := got.Message.(*transfer.Cancel); !ok || m.ID != "t1" || got.From.User != p.alice.ID() {
		t.Errorf("bob received %+v", got)
	}
}

func TestKeepEvents(t *testing.T) {
	p, dir := sender(t)
	p.reopen(t, dir, matrix.KeepEvents())
	send(t, p.ac, p.room, cancelOf("t1"))
	p.ac.Retire(p.room, "t1")
	if err := p.ac.Logout(t.Context()); err != nil { // which would redact what is left
		t.Fatal(err)
	}
	if n := len(visible(t, p.bob, p.room)); n != 1 {
		t.Errorf("%d events are visible", n)
	}
}

// Logging out redacts what nobody could redact later.
func TestRedactionBeforeLogout(t *testing.T) {
	p := newPair(t)
	send(t, p.ac, p.room, cancelOf("t1"))
	p.ac.Retire(p.room, "t1")
	if err := p.ac.Logout(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(visible(t, p.bob, p.room)); n != 0 {
		t.Errorf("%d events are visible", n)
	}
}
