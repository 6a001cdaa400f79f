package main_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/matrixfs/matrixfs/matrix/matrixtest"
	"github.com/matrixfs/matrixfs/transfer"
)

// house is what the tests share: the program, and a homeserver.
type house struct {
	binary      string // with the race detector if the tests have it
	plainBinary string // without
	server      *matrixtest.Homeserver
}

// person is somebody with an account.
type person struct {
	*matrixtest.User
}

// people counts the people of all houses: each gets a name of their own.
var people atomic.Int64

// registering is held while an account, a device or a room is made: Dendrite
// on SQLite sometimes refuses two at once.
var registering sync.Mutex

// shared is the house of all tests that don't stop the homeserver. It is
// opened by the first of them.
var shared struct {
	once  sync.Once
	house *house
	err   error
	dir   string
	stop  func()
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.stop != nil {
		shared.stop()
	}
	os.Exit(code)
}

// home gives the shared house.
func home(t testing.TB) *house {
	t.Helper()
	shared.once.Do(openShared)
	if shared.err != nil {
		t.Fatalf("these tests need Go, FUSE (fuse3) and a homeserver built from source: %v", shared.err)
	}
	return shared.house
}

func openShared() {
	for _, need := range []string{"/dev/fuse", "/proc/self/mounts"} {
		if _, err := os.Stat(need); err != nil {
			shared.err = err
			return
		}
	}
	for _, need := range []string{"go", "bash", "fusermount3", "unshare", "mount", "setpriv", "systemd-analyze", "tee", "dd", "find", "script", "dbus-daemon"} {
		if _, err := exec.LookPath(need); err != nil {
			shared.err = err
			return
		}
	}
	dir, err := os.MkdirTemp("", "matrixfs-test-")
	if err != nil {
		shared.err = err
		return
	}
	if shared.err = os.Chmod(dir, 0o711); shared.err != nil { // an ordinary user runs the program, too
		return
	}
	h := &house{plainBinary: filepath.Join(dir, "matrixfs")}
	h.binary = h.plainBinary
	if shared.err = build(h.plainBinary); shared.err != nil {
		return
	}
	if raceEnabled {
		h.binary = filepath.Join(dir, "matrixfs-race")
		if shared.err = build(h.binary, "-race"); shared.err != nil {
			return
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	h.server, shared.err = matrixtest.RunChosen(ctx, filepath.Join(dir, "homeserver"), os.Stderr)
	shared.house = h
	shared.stop = func() {
		if h.server != nil {
			_ = h.server.Close()
		}
		cancel()
		_ = os.RemoveAll(dir)
	}
}

// build builds the program.
func build(binary string, flags ...string) error {
	args := append([]string{"build", "-tags", "goolm", "-o", binary}, flags...)
	command := exec.Command("go", append(args, ".")...)
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if len(flags) > 0 {
		command.Env = append(os.Environ(), "CGO_ENABLED=1") // the race detector needs it
	}
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("go %v: %w\n%s", args, err, out)
	}
	return nil
}

// pair gives two people's devices, mounted, and a private room they share.
func (h *house) pair(t testing.TB) (alice, bob *device, room string) {
	t.Helper()
	return h.pairOf(t, false)
}

// measuredPair is a pair without the race detector.
func (h *house) measuredPair(t testing.TB) (alice, bob *device, room string) {
	t.Helper()
	return h.pairOf(t, true)
}

func (h *house) pairOf(t testing.TB, measured bool) (alice, bob *device, room string) {
	t.Helper()
	ann, ben := h.person(t), h.person(t)
	room = h.room(t, ann, ben)
	alice, bob = h.login(t, ann), h.login(t, ben)
	alice.measured, bob.measured = measured, measured
	alice.mount()
	bob.mount()
	h.inRoom(t, room, alice, bob)
	return alice, bob, room
}

// inRoom waits until each device shows the room.
func (h *house) inRoom(t testing.TB, room string, devices ...*device) {
	t.Helper()
	for _, d := range devices {
		eventually(t, d.who.Name+" sees the room", func() bool { return exists(d.room(room)) })
	}
}

// ownHouse is a house with a homeserver of the test's own, which it may stop.
func ownHouse(t testing.TB) *house {
	t.Helper()
	h := *home(t)
	h.server = matrixtest.Start(t).Homeserver
	return &h
}

func (h *house) url() string { return h.server.URL() }

func (h *house) stopServer(t testing.TB) {
	t.Helper()
	h.server.Stop()
}

func (h *house) restartServer(t testing.TB) {
	t.Helper()
	if err := h.server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// person makes somebody with an account.
func (h *house) person(t testing.TB) person {
	t.Helper()
	registering.Lock()
	defer registering.Unlock()
	user, err := h.server.Register(t.Context(), fmt.Sprintf("person%d", people.Add(1)))
	if err != nil {
		t.Fatal(err)
	}
	return person{user}
}

// roomsEnv chooses what kind of rooms the tests use: "encrypted", or else
// rooms that are not. What a person sees is the same.
const roomsEnv = "MATRIXFS_TEST_ROOMS"

// room makes a private room that all of them have joined, of the kind that was
// chosen for all tests.
func (h *house) room(t testing.TB, creator person, others ...person) string {
	t.Helper()
	switch kind := os.Getenv(roomsEnv); kind {
	case "", "plain":
		return h.makeRoom(t, creator, others)
	case "encrypted":
		return h.makeRoom(t, creator, others, matrixtest.Encrypted())
	default:
		t.Fatalf("%s is %q: set it to plain or encrypted", roomsEnv, kind)
		return ""
	}
}

// makeRoom makes a room that only those who are invited can join.
func (h *house) makeRoom(t testing.TB, creator person, others []person, options ...matrixtest.RoomOption) string {
	t.Helper()
	members := make([]*matrixtest.User, len(others))
	for i, other := range others {
		members[i] = other.User
	}
	registering.Lock()
	defer registering.Unlock()
	room, err := creator.CreateRoom(t.Context(), members, options...)
	if err != nil {
		t.Fatalf("%v\n%s", err, h.server.Output())
	}
	return string(room)
}

// devices gives the devices of matrixfs that the homeserver knows.
func (p person) devices(t testing.TB) []transfer.DeviceID {
	t.Helper()
	devices, err := p.Devices(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(devices, func(d transfer.DeviceID) bool {
		return string(d) == string(p.API.DeviceID) // the one that made the account
	})
}
