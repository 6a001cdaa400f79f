package matrix_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/matrixfs/matrixfs/matrix"
	"github.com/matrixfs/matrixfs/matrix/matrixtest"
	"github.com/matrixfs/matrixfs/transfer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// soon is how long things may take that should take milliseconds. The machine
// may be busy.
const soon = 20 * time.Second

// box collects what a client receives.
type box struct {
	t     testing.TB
	got   chan transfer.Received
	shut  chan shut
	again chan transfer.RoomID
	ran   chan error // what Run returned
}

// shut is a room or a user that was closed.
type shut struct{ what, why string }

var _ matrix.Receiver = (*box)(nil)

func (b *box) Receive(r transfer.Received)                { b.got <- r }
func (b *box) CloseRoom(room transfer.RoomID, why string) { b.shut <- shut{string(room), why} }
func (b *box) Repeat(room transfer.RoomID)                { b.again <- room }
func (b *box) CloseUser(user transfer.UserID, why string) { b.shut <- shut{string(user), why} }

// run runs a client until the test is over or the client is closed.
func run(t testing.TB, c *matrix.Client) *box {
	t.Helper()
	b := &box{t: t, got: make(chan transfer.Received, 1000), shut: make(chan shut, 100), again: make(chan transfer.RoomID, 100), ran: make(chan error, 1)}
	c.SetReceiver(b)
	go func() { b.ran <- c.Run(context.WithoutCancel(t.Context())) }()
	return b
}

// start runs a client and waits until it is up.
func start(t testing.TB, c *matrix.Client) *box {
	t.Helper()
	b := run(t, c)
	matrixtest.Eventually(t, soon, "the client is online", c.Online)
	<-c.Ready()
	return b
}

// next gives the next message received.
func (b *box) next() transfer.Received {
	b.t.Helper()
	select {
	case r := <-b.got:
		return r
	case <-time.After(soon):
		b.t.Fatal("no message was received")
		panic("not reached")
	}
}

// empty fails the test if a message has been received.
func (b *box) empty() {
	b.t.Helper()
	select {
	case r := <-b.got:
		b.t.Fatalf("unexpected message: %+v", r)
	default:
	}
}

// roomOf gives what a client knows of a room.
func roomOf(c *matrix.Client, at transfer.RoomID) (matrix.Room, bool) {
	for _, r := range c.Rooms() {
		if r.ID == at {
			return r, true
		}
	}
	return matrix.Room{}, false
}

// awaitRoom waits until a client's view of a room is as wanted.
func awaitRoom(t testing.TB, c *matrix.Client, at transfer.RoomID, what string, want func(matrix.Room) bool) {
	t.Helper()
	matrixtest.Eventually(t, soon, what, func() bool {
		r, ok := roomOf(c, at)
		return ok && want(r)
	})
}

func known(matrix.Room) bool { return true }

func cancelOf(id transfer.ID) transfer.Message { return &transfer.Cancel{ID: id} }

// send sends and fails the test if that fails.
func send(t testing.TB, c *matrix.Client, at transfer.RoomID, m transfer.Message) transfer.EventID {
	t.Helper()
	id, err := c.Send(t.Context(), at, m)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func wantError(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error is %v, want %v", err, want)
	}
}

// awaitMembers waits until clients know so many members of the room.
func awaitMembers(t testing.TB, p *pair, n int, clients ...*matrix.Client) {
	t.Helper()
	for _, c := range clients {
		matrixtest.Eventually(t, soon, "the room and its members are known", func() bool { return len(c.Members(p.room)) == n })
	}
}

// pair is two people in a room, each with a client that runs.
type pair struct {
	server     *matrixtest.Server
	alice, bob *matrixtest.User
	room       transfer.RoomID
	ac, bc     *matrix.Client
	abox, bbox *box
}

func newPair(t testing.TB) *pair {
	t.Helper()
	p := &pair{server: matrixtest.Start(t)}
	p.alice, p.bob = p.server.NewUser("alice"), p.server.NewUser("bob")
	p.room = p.server.NewRoom(p.alice, []*matrixtest.User{p.bob}, matrixtest.Named("Team"))
	p.ac = matrixtest.Open(t, matrixtest.Login(t, p.alice, p.server.URL()))
	p.bc = matrixtest.Open(t, matrixtest.Login(t, p.bob, p.server.URL()))
	p.abox, p.bbox = start(t, p.ac), start(t, p.bc)
	awaitRoom(t, p.ac, p.room, "alice knows the room", known)
	awaitRoom(t, p.bc, p.room, "bob knows the room", known)
	return p
}
