package matrix_test

import (
	"fmt"
	"slices"
	"testing"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"github.com/matrixfs/matrixfs/matrix"
	"github.com/matrixfs/matrixfs/matrix/matrixtest"
	"github.com/matrixfs/matrixfs/transfer"
)

func TestRooms(t *testing.T) {
	server := matrixtest.Start(t)
	alice, bob, carol := server.NewUser("alice"), server.NewUser("bob"), server.NewUser("carol")
	named := server.NewRoom(alice, []*matrixtest.User{bob}, matrixtest.Named("Team Room"), matrixtest.Aliased("team"))
	direct := server.NewRoom(alice, []*matrixtest.User{bob}, matrixtest.Direct())
	three := server.NewRoom(alice, []*matrixtest.User{bob, carol})
	if err := alice.MarkDirect(t.Context(), bob, direct); err != nil {
		t.Fatal(err)
	}
	dir := matrixtest.Login(t, alice, server.URL())
	c := matrixtest.Open(t, dir)
	select {
	case <-c.Ready():
		t.Fatal("ready before anything is known")
	default:
	}
	start(t, c)
	want := []matrix.Room{
		{ID: named, Name: "Team Room", Alias: "#team:localhost"},
		{ID: direct, Name: "bob", Direct: bob.ID()},
		{ID: three, Name: "bob and carol"},
	}
	slices.SortFunc(want, func(a, b matrix.Room) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	check := func(c *matrix.Client) {
		t.Helper()
		if got := c.Rooms(); !slices.Equal(got, want) {
			t.Fatalf("rooms are\n%+v\nwant\n%+v", got, want)
		}
		if got := c.Members(three); !slices.Equal(got, []transfer.UserID{alice.ID(), bob.ID(), carol.ID()}) {
			t.Fatalf("members are %v", got)
		}
	}
	check(c)
	if got := c.Members("!other:localhost"); len(got) != 0 {
		t.Fatalf("members of an unknown room: %v", got)
	}

	// The same again from the disk, with no homeserver.
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	server.Stop()
	c = matrixtest.Open(t, dir)
	<-c.Ready()
	check(c)
	if c.Online() {
		t.Fatal("online without a homeserver")
	}
}

func TestRoomsChange(t *testing.T) {
	p := newPair(t)
	changes, stop := p.ac.Subscribe()
	defer stop()
	ctx := t.Context()

	if err := p.bob.SetState(ctx, p.room, event.StateRoomName, map[string]any{"name": "no power"}); err == nil {
		t.Fatal("bob could rename the room")
	}
	if err := p.alice.SetState(ctx, p.room, event.StateRoomName, map[string]any{"name": "Renamed"}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*matrix.Client{p.ac, p.bc} {
		awaitRoom(t, c, p.room, "the room is renamed", func(r matrix.Room) bool { return r.Name == "Renamed" })
	}
	<-changes

	second := p.server.NewRoom(p.bob, []*matrixtest.User{p.alice}, matrixtest.Named("Second"))
	awaitRoom(t, p.ac, second, "a room joined shows up", func(r matrix.Room) bool { return r.Name == "Second" && r.Refused == "" })
	<-changes

	if err := p.alice.MarkDirect(ctx, p.bob, second); err != nil {
		t.Fatal(err)
	}
	awaitRoom(t, p.ac, second, "the room is a direct chat", func(r matrix.Room) bool { return r.Direct == p.bob.ID() })

	if _, err := p.alice.API.LeaveRoom(ctx, id.RoomID(second)); err != nil {
		t.Fatal(err)
	}
	if got := <-p.abox.shut; got.what != string(second) {
		t.Fatalf("left %+v, want %s", got, second)
	}
	if _, ok := roomOf(p.ac, second); ok {
		t.Fatal("a room that was left is still there")
	}

	if _, err := p.alice.API.KickUser(ctx, id.RoomID(p.room), &mautrix.ReqKickUser{UserID: p.bob.API.UserID}); err != nil {
		t.Fatal(err)
	}
	if got := <-p.bbox.shut; got.what != string(p.room) {
		t.Fatalf("bob left %+v, want %s", got, p.room)
	}
	matrixtest.Eventually(t, soon, "bob is no member any more", func() bool {
		return slices.Equal(p.ac.Members(p.room), []transfer.UserID{p.alice.ID()})
	})
	_, err := p.bc.Send(ctx, p.room, cancelOf("1"))
	wantError(t, err, transfer.ErrNotAllowed)

	// And back again: everything is known as before.
	if _, err := p.alice.API.InviteUser(ctx, id.RoomID(p.room), &mautrix.ReqInviteUser{UserID: p.bob.API.UserID}); err != nil {
		t.Fatal(err)
	}
	if err := p.bob.Join(ctx, p.room); err != nil {
		t.Fatal(err)
	}
	awaitRoom(t, p.bc, p.room, "bob is back", func(r matrix.Room) bool { return r.Name == "Renamed" && r.Refused == "" })
	send(t, p.bc, p.room, cancelOf("back"))
}

// What happened to the rooms while the program did not run is known after the
// next start, also where a room was left and forgotten.
func TestRoomsChangeWhileAway(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	forgotten := p.server.NewRoom(p.bob, []*matrixtest.User{p.alice})
	left := p.server.NewRoom(p.bob, []*matrixtest.User{p.alice})
	awaitRoom(t, p.ac, forgotten, "known", known)
	awaitRoom(t, p.ac, left, "known", known)
	dir := matrixtest.Login(t, p.alice, p.server.URL())
	c := matrixtest.Open(t, dir)
	start(t, c)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}

	for _, at := range []transfer.RoomID{forgotten, left} {
		if _, err := p.alice.API.LeaveRoom(ctx, id.RoomID(at)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.alice.API.ForgetRoom(ctx, id.RoomID(forgotten)); err != nil {
		t.Fatal(err)
	}
	if err := p.alice.SetState(ctx, p.room, event.StateRoomName, map[string]any{"name": "Meanwhile"}); err != nil {
		t.Fatal(err)
	}
	fresh := p.server.NewRoom(p.bob, []*matrixtest.User{p.alice}, matrixtest.Named("Fresh"))

	c = matrixtest.Open(t, dir)
	if _, ok := roomOf(c, left); !ok {
		t.Fatal("the stored rooms are gone")
	}
	start(t, c)
	want := []matrix.Room{{ID: p.room, Name: "Meanwhile"}, {ID: fresh, Name: "Fresh"}}
	if want[0].ID > want[1].ID {
		slices.Reverse(want)
	}
	// Dendrite may show what it did last only in the next sync.
	matrixtest.Eventually(t, soon, fmt.Sprintf("rooms are %+v", want), func() bool { return slices.Equal(c.Rooms(), want) })
}
