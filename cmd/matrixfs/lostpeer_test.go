package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// huge makes a sparse file that takes minutes to send.
func huge(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 8<<30); err != nil {
		t.Fatal(err)
	}
	return path
}

// underWay starts a transfer that is streaming and far from its end.
func underWay(t *testing.T) (alice, bob *device, cp, cat *program) {
	t.Helper()
	alice, bob, room := home(t).pair(t)
	cp = start(t, "cp", "--sparse=never", huge(t, "huge"), alice.room(room))
	cat = shell(t, `cat "$1" > /dev/null`, bob.awaits(t, "huge"))
	alice.reaches(t, "huge", "streaming", 1)
	bob.reaches(t, "huge", "streaming", 1)
	return alice, bob, cp, cat
}

// The receiving program is killed: cp fails by itself.
func TestReceiverKilled(t *testing.T) {
	t.Parallel()
	alice, bob, cp, cat := underWay(t)
	bob.crash()
	cp.fails("Connection reset by peer")
	if cat.wait() == 0 {
		t.Error("cat succeeded although its mount was killed")
	}
	alice.reaches(t, "huge", "failed", 0)
}

// The sending program is killed: cat fails by itself, not with a short file
// that looks whole.
func TestSenderKilled(t *testing.T) {
	t.Parallel()
	alice, bob, cp, cat := underWay(t)
	alice.crash()
	if code := cat.wait(); code == 0 {
		t.Error("cat succeeded although the sender was killed")
	}
	if said := cat.complaint(); !strings.Contains(said, "Input/output error") && !strings.Contains(said, "Connection reset by peer") {
		t.Errorf("cat complains %q", said)
	}
	if cp.wait() == 0 {
		t.Error("cp succeeded although its mount was killed")
	}
	bob.reaches(t, "huge", "failed", 0)
}

// Ctrl-C on cp before anybody has accepted: the offer vanishes over there.
func TestInterruptedOfferVanishes(t *testing.T) {
	t.Parallel()
	alice, bob, room := home(t).pair(t)
	cp := start(t, "cp", sample(t, "second-thoughts", 3<<20), alice.room(room))
	bob.awaits(t, "second-thoughts")
	cp.signalAll(syscall.SIGINT)
	if cp.wait(); cp.signal != syscall.SIGINT {
		t.Errorf("cp ended with status %d, want it to die of SIGINT", cp.code)
	}
	bob.awaitsNone(t)
	alice.awaitsIdle(t)
}

// Ctrl-C on cp while bytes flow: cat over there fails.
func TestInterruptedSenderFailsReader(t *testing.T) {
	t.Parallel()
	alice, bob, cp, cat := underWay(t)
	cp.signalAll(syscall.SIGINT)
	if cp.wait(); cp.signal != syscall.SIGINT {
		t.Errorf("cp ended with status %d, want it to die of SIGINT", cp.code)
	}
	if cat.wait() == 0 {
		t.Error("cat succeeded although the sender gave up")
	}
	alice.awaitsIdle(t)
	bob.awaitsIdle(t)
}

// Ctrl-C on cat: cp over there fails.
func TestInterruptedReaderFailsSender(t *testing.T) {
	t.Parallel()
	alice, bob, cp, cat := underWay(t)
	cat.signalAll(syscall.SIGINT)
	if cat.wait(); cat.signal != syscall.SIGINT {
		t.Errorf("cat ended with status %d, want it to die of SIGINT", cat.code)
	}
	cp.fails("Connection reset by peer")
	alice.awaitsIdle(t)
	bob.awaitsIdle(t)
}

// kill -9 of cp: no short file arrives as a whole one.
func TestKilledWriterDeliversNothing(t *testing.T) {
	t.Parallel()
	alice, bob, cp, cat := underWay(t)
	cp.signalAll(syscall.SIGKILL)
	if cat.wait() == 0 {
		t.Error("cat succeeded although the writer was killed")
	}
	alice.awaitsIdle(t)
	bob.awaitsIdle(t)
}

// A mount that died is taken over by the next one at the same place.
func TestDeadMountIsTakenOver(t *testing.T) {
	t.Parallel()
	h := home(t)
	alice := h.login(t, h.person(t)).mount()
	alice.crash()
	if !alice.mounted() {
		t.Fatal("the crash left no dead mount to take over")
	}
	alice.mount()
	if _, err := os.ReadDir(alice.mountpoint); err != nil {
		t.Errorf("the new mount does not work: %v", err)
	}
}
