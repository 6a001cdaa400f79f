package main_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/matrixfs/matrixfs/transfer"
)

// SIGTERM in every state, on both sides. stop() checks that no mount, no
// process and no goroutine is left; the test, that no offer is left over
// there.

func TestStopWhileIdle(t *testing.T) {
	t.Parallel()
	alice, bob, _ := home(t).pair(t)
	alice.stop()
	bob.stop()
}

func TestStopWithInterrupt(t *testing.T) {
	t.Parallel()
	h := home(t)
	alice := h.login(t, h.person(t)).mount()
	alice.daemon.signalAll(syscall.SIGINT)
	alice.stopped()
}

// preparing: the file is open, nothing is written yet.
func TestStopWhilePreparing(t *testing.T) {
	t.Parallel()
	alice, bob, room := home(t).pair(t)
	writer, release := startHeld(t, `exec 3> "$1/draft" && echo ready && read && echo text >&3`, alice.room(room))
	alice.stop()
	release()
	if writer.wait() == 0 {
		t.Error("the writer succeeded although its mount is gone")
	}
	bob.awaitsNone(t)
}

// offered: the invite is out, nobody has accepted.
func TestStopWhileOffered(t *testing.T) {
	t.Parallel()
	t.Run("sender", func(t *testing.T) {
		t.Parallel()
		alice, bob, room := home(t).pair(t)
		cp := start(t, "cp", sample(t, "offer", 3<<20), alice.room(room))
		bob.awaits(t, "offer")
		alice.stop()
		if cp.wait() == 0 {
			t.Error("cp succeeded although nobody has the file")
		}
		bob.awaitsNone(t)
	})
	t.Run("receiver", func(t *testing.T) {
		t.Parallel()
		alice, bob, room := home(t).pair(t)
		cp := start(t, "cp", sample(t, "offer", 3<<20), alice.room(room))
		bob.awaits(t, "offer")
		bob.stop()
		// Another device, or this one later, may still take it.
		alice.reaches(t, "offer", "offered", 0)
		bob.mount()
		shell(t, `cat "$1" > /dev/null`, bob.awaits(t, "offer")).succeeds()
		cp.succeeds()
	})
}

// connecting: an answer is out, the other side does not react, because it is
// frozen.
func TestStopWhileConnecting(t *testing.T) {
	t.Parallel()
	t.Run("receiver", func(t *testing.T) {
		t.Parallel()
		alice, bob, room := home(t).pair(t)
		cp := start(t, "cp", sample(t, "offer", 3<<20), alice.room(room))
		offer := bob.awaits(t, "offer")
		alice.reaches(t, "offer", "offered", 0)
		alice.freeze()
		cat := shell(t, `cat "$1" > /dev/null`, offer)
		bob.reaches(t, "offer", "connecting", 0)
		bob.stop()
		if cat.wait() == 0 {
			t.Error("cat succeeded without the file")
		}
		alice.thaw()
		cp.fails("Connection re") // "refused" or "reset by peer": she wakes up to the answer and its end at once
		alice.awaitsIdle(t)
	})
	t.Run("sender", func(t *testing.T) {
		t.Parallel()
		h := home(t)
		ann, ben := h.person(t), h.person(t)
		room := h.makeRoom(t, ann, []person{ben}) // in which an answer can be made up
		alice, bob := h.login(t, ann).mount(), h.login(t, ben).mount()
		h.inRoom(t, room, alice, bob)
		cp := start(t, "cp", sample(t, "offer", 3<<20), alice.room(room))
		bob.awaits(t, "offer")
		id := alice.reaches(t, "offer", "offered", 0).ID
		_, err := bob.who.SendEvent(t.Context(), transfer.RoomID(room), transfer.EventAnswer,
			&transfer.Answer{ID: transfer.ID(id), Lifetime: time.Minute, SDP: deadAnswer})
		if err != nil {
			t.Fatal(err)
		}
		alice.reaches(t, "offer", "connecting", 0)
		alice.stop()
		if cp.wait() == 0 {
			t.Error("cp succeeded although nobody has the file")
		}
		bob.awaitsNone(t)
	})
}

// deadAnswer is from somebody who does not listen.
const deadAnswer = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n" +
	"a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n" +
	"m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=setup:active\r\na=mid:0\r\na=sendrecv\r\n" +
	"a=sctp-port:5000\r\na=ice-ufrag:nobodyishere\r\na=ice-pwd:nobodyisherenobodyishere\r\n" +
	"a=candidate:1 1 udp 2130706431 127.0.0.1 9 typ host\r\na=end-of-candidates\r\n"

// streaming: the other side learns of it by itself.
func TestStopWhileStreaming(t *testing.T) {
	t.Parallel()
	t.Run("sender", func(t *testing.T) {
		t.Parallel()
		alice, bob, cp, cat := underWay(t)
		alice.stop()
		if cp.wait() == 0 {
			t.Error("cp succeeded although the file is not there")
		}
		if cat.wait() == 0 {
			t.Error("cat succeeded without the whole file")
		}
		bob.awaitsIdle(t)
	})
	t.Run("receiver", func(t *testing.T) {
		t.Parallel()
		alice, bob, cp, cat := underWay(t)
		bob.stop()
		if cat.wait() == 0 {
			t.Error("cat succeeded without the whole file")
		}
		cp.fails("Connection reset by peer")
		alice.awaitsIdle(t)
	})
}

// delivered: a complete file is listed on both sides.
func TestStopAfterDelivery(t *testing.T) {
	t.Parallel()
	alice, bob, room := home(t).pair(t)
	cp := start(t, "cp", sample(t, "done", 100_000), alice.room(room))
	shell(t, `cat "$1" > /dev/null`, bob.awaits(t, "done")).succeeds()
	cp.succeeds()
	alice.stop()
	bob.stop()
}

// A process that sits in the mount does not keep it from going away.
func TestStopWithSomebodyInside(t *testing.T) {
	t.Parallel()
	h := home(t)
	alice := h.login(t, h.person(t)).mount()
	inside, release := startHeld(t, `cd "$1" && echo ready && read`, alice.mountpoint)
	alice.stop()
	release()
	inside.wait()
}

// fusermount3 -u by somebody else ends the program too.
func TestUnmountedFromOutside(t *testing.T) {
	t.Parallel()
	h := home(t)
	alice := h.login(t, h.person(t)).mount()
	// Whoever looks at the descriptors of all processes keeps it busy for a moment.
	eventually(t, "it is not busy", func() bool { return start(t, "fusermount3", "-u", alice.mountpoint).wait() == 0 })
	alice.stopped()
}

// With the homeserver gone there is nobody to tell, and the end still comes.
func TestStopWithoutHomeserver(t *testing.T) {
	t.Parallel()
	h := ownHouse(t)
	alice, bob, room := h.pair(t)
	cp := start(t, "cp", sample(t, "offer", 3<<20), alice.room(room))
	bob.awaits(t, "offer")
	h.stopServer(t)
	alice.stop()
	if cp.wait() == 0 {
		t.Error("cp succeeded although nobody has the file")
	}
	bob.stop()
}

// freeze stops the daemon as a laptop's sleep would.
func (d *device) freeze() { d.daemon.signalAll(syscall.SIGSTOP) }

// thaw lets it go on.
func (d *device) thaw() { d.daemon.signalAll(syscall.SIGCONT) }

// The state directory of a stopped program is fit for the next start, and
// nobody but the owner can look into it.
func TestStateStaysPrivate(t *testing.T) {
	t.Parallel()
	h := home(t)
	alice := h.login(t, h.person(t)).mount()
	check := func() {
		t.Helper()
		err := filepath.WalkDir(alice.state, func(path string, entry os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := entry.Info()
			if err == nil && info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s has mode %v: others can use it", path, info.Mode())
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	check()
	alice.stop()
	check()
	alice.mount()
}
