package main_test

import (
	"strings"
	"syscall"
	"testing"
)

func TestStatusNeedsAMount(t *testing.T) {
	t.Parallel()
	h := home(t)
	alice := h.login(t, h.person(t))
	start(t, h.binary, "status", "--state", alice.state).complains(1, "no mount is running", "matrixfs mount")
	alice.mount()
	alice.crash() // leaves the socket behind
	start(t, h.binary, "status", "--state", alice.state).complains(1, "no mount is running")
	alice.mount() // replaces it
	if told := alice.status(t); told.User != alice.userID() || told.Mountpoint != alice.mountpoint ||
		told.PID != alice.daemon.command.Process.Pid || told.Device == "" {
		t.Errorf("status is %+v", told)
	}
}

// The table, and a line for each change. A name chosen to fool a
// terminal does not.
func TestStatusTable(t *testing.T) {
	t.Parallel()
	alice, bob, room := home(t).pair(t)
	const hostile = "evil\x1b[2J\u202etxt.exe"
	start(t, "cp", sample(t, hostile, 3<<20), alice.room(room))
	alice.reaches(t, "evil[2Jtxt.exe", "offered", 0)
	eventually(t, "the receiver sees the offer", func() bool { return len(bob.offers(t)) == 1 })
	for _, d := range []*device{alice, bob} {
		out := start(t, d.binary(), "status", "--state", d.state).succeeds()
		for _, want := range []string{d.userID(), d.mountpoint, "online", "3.0 MiB", "offered", "0%", room} {
			if !strings.Contains(out, want) {
				t.Errorf("%q is not in the table:\n%s", want, out)
			}
		}
		if strings.ContainsAny(out, "\x1b\u202e") {
			t.Errorf("the table has control characters: %q", out)
		}
	}
	watch := start(t, alice.binary(), "status", "--state", alice.state, "--watch")
	const line = "out evil[2Jtxt.exe: "
	eventually(t, "--watch shows the offer", func() bool { return strings.Contains(watch.out.String(), line+"offered, 3.0 MiB, ") })
	start(t, "rm", bob.incoming("evil[2Jtxt.exe")).succeeds()
	eventually(t, "--watch shows its end", func() bool { return strings.Contains(watch.out.String(), line+"rejected") })
	watch.signalAll(syscall.SIGINT)
	out := watch.succeeds()
	if strings.ContainsAny(out, "\x1b\u202e") {
		t.Errorf("--watch prints control characters: %q", out)
	}
	if strings.Count(out, line) > 4 { // once for each state
		t.Errorf("--watch repeats itself:\n%s", out)
	}
}

func TestLogout(t *testing.T) {
	t.Parallel()
	h := home(t)
	alice := h.login(t, h.person(t)).mount()
	start(t, h.binary, "logout", "--state", alice.state).complains(1, "already mounted at "+alice.mountpoint)
	alice.stop()
	start(t, h.binary, "logout", "--state", alice.state).succeeds()
	alice.tryMount().complains(1, "not logged in")
	start(t, h.binary, "logout", "--state", alice.state).complains(1, "not logged in")
	if devices := alice.who.devices(t); len(devices) != 0 {
		t.Errorf("the homeserver still knows %v", devices)
	}
}

// Without the homeserver, logout changes nothing unless it is forced.
func TestLogoutWithoutHomeserver(t *testing.T) {
	t.Parallel()
	h := ownHouse(t)
	alice := h.login(t, h.person(t))
	h.stopServer(t)
	start(t, h.binary, "logout", "--state", alice.state).complains(1, "--force")
	alice.mount()
	alice.stop()
	start(t, h.binary, "logout", "--state", alice.state, "--force").succeeds()
	alice.tryMount().complains(1, "not logged in")
}
