package main_test

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/matrixfs/matrixfs/matrix/matrixtest"
	"github.com/matrixfs/matrixfs/transfer"
)

// encryptedPair gives two people's devices, mounted with these flags, and an
// encrypted room.
func (h *house) encryptedPair(t *testing.T, flags ...string) (alice, bob *device, room string) {
	t.Helper()
	ann, ben := h.person(t), h.person(t)
	room = h.makeRoom(t, ann, []person{ben}, matrixtest.Encrypted())
	alice, bob = h.login(t, ann).mount(flags...), h.login(t, ben).mount(flags...)
	h.inRoom(t, room, alice, bob)
	return alice, bob, room
}

// Of a transfer in an encrypted room the homeserver has ciphertext for a while,
// and then nothing but who spoke when. A side needs six events at most,
// redactions included.
func TestNoTraceOfTransfer(t *testing.T) {
	t.Parallel()
	alice, bob, room := home(t).encryptedPair(t)
	source := sample(t, "secret", 100_000)
	cp := start(t, "cp", source, alice.room(room))
	copied := filepath.Join(t.TempDir(), "copied")
	shell(t, `cat "$1" > "$2"`, bob.awaits(t, "secret"), copied).succeeds()
	cp.succeeds()
	sameBytes(t, copied, source)
	var events []matrixtest.Shown
	eventually(t, "all of it is redacted", func() bool {
		var err error
		if events, err = bob.who.History(t.Context(), transfer.RoomID(room)); err != nil {
			t.Fatal(err)
		}
		sent, empty := 0, 0
		for _, evt := range events {
			if evt.Type != "m.room.redaction" {
				sent++
				if evt.Empty {
					empty++
				}
			}
		}
		return sent > 0 && sent == empty
	})
	of := map[transfer.UserID]int{}
	for _, evt := range events {
		of[evt.Sender]++
		if evt.Type != "m.room.encrypted" && evt.Type != "m.room.redaction" {
			t.Errorf("the room shows %+v", evt)
		}
	}
	for _, d := range []*device{alice, bob} {
		if n := of[d.who.ID()]; n == 0 || n > 6 {
			t.Errorf("%s sent %d events", d.who.Name, n)
		}
	}
}

// Nothing secret is in the log, whatever happens, even if it says all it can.
func TestLogHidesSecrets(t *testing.T) {
	t.Parallel()
	alice, bob, room := home(t).encryptedPair(t, "--verbose", "--debug-fuse")
	cp := start(t, "cp", sample(t, "declined", 3<<20), alice.room(room))
	start(t, "rm", bob.awaits(t, "declined")).succeeds()
	cp.fails("Connection refused")
	cp = start(t, "cp", sample(t, "read", 100_000), alice.room(room))
	shell(t, `cat "$1" > /dev/null`, bob.awaits(t, "read")).succeeds()
	cp.succeeds()
	for _, d := range []*device{alice, bob} {
		secrets := append(matrixtest.Secrets(t, d.state), d.who.Password,
			"ice-pwd", "ice-ufrag", "candidate:", "fingerprint:", "ciphertext", "session_key", "Bearer ")
		daemon := d.daemon
		daemon.signalAll(syscall.SIGTERM)
		d.stopped()
		log := daemon.err.String()
		if !strings.Contains(log, "level=DEBUG") {
			t.Fatalf("the log of %s is not a full one: %.500s", d.who.Name, log)
		}
		for _, secret := range secrets {
			if strings.Contains(log, secret) {
				t.Errorf("the log of %s has %q", d.who.Name, secret)
			}
		}
	}
}
