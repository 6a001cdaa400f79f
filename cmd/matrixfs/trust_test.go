package main_test

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/matrixfs/matrixfs/matrix/matrixtest"
)

// attr gives an attribute of a file, without "user.matrix.".
func attr(t *testing.T, path, name string) string {
	t.Helper()
	value := make([]byte, 4096)
	n, err := unix.Getxattr(path, "user.matrix."+name, value)
	if err != nil {
		t.Fatalf("%s of %s: %v", name, path, err)
	}
	return string(value[:n])
}

// Who a file is from, from which device, and how sure that is, can be read.
func TestTrustIsShown(t *testing.T) {
	t.Parallel()
	alice, bob, room := home(t).encryptedPair(t)
	if got := attr(t, alice.room(room), "encrypted"); got != "yes" {
		t.Errorf("the room is encrypted: %q", got)
	}
	cp := start(t, "cp", sample(t, "file", 3<<20), alice.room(room))
	offer := bob.awaits(t, "file")
	for name, want := range map[string]string{
		"sender": alice.userID(), "device": alice.status(t).Device, "trust": "unverified", "room": room,
	} {
		if got := attr(t, offer, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	table := start(t, bob.home.binary, "status", "--state", bob.state).succeeds()
	if !strings.Contains(table, "unverified") {
		t.Errorf("status does not show the trust: %s", table)
	}
	shell(t, `cat "$1" > /dev/null`, offer).succeeds()
	cp.succeeds()
}

// With --require-verified, rooms that are not encrypted refuse, and in others
// people who are not verified do not exist.
func TestRequireVerified(t *testing.T) {
	t.Parallel()
	h := home(t)
	ann, ben := h.person(t), h.person(t)
	plain := h.makeRoom(t, ann, []person{ben})
	sealed := h.makeRoom(t, ann, []person{ben}, matrixtest.Encrypted())
	alice, bob := h.login(t, ann).mount("--require-verified", "--lifetime", "3s"), h.login(t, ben).mount("--lifetime", "3s")
	for _, room := range []string{plain, sealed} {
		h.inRoom(t, room, alice, bob)
	}
	start(t, "cp", sample(t, "plain", 1000), alice.room(plain)).fails("Permission denied")
	if why := attr(t, alice.room(plain), "refused"); !strings.Contains(why, "--require-verified") {
		t.Errorf("it is refused because %q", why)
	}
	there, back := start(t, "cp", sample(t, "there", 1000), alice.room(sealed)), start(t, "cp", sample(t, "back", 1000), bob.room(sealed))
	there.fails("Connection timed out")
	back.fails("Connection timed out")
	for _, d := range []*device{alice, bob} {
		for _, s := range d.status(t).Transfers {
			if s.Direction == "in" {
				t.Errorf("%s was offered %s", d.who.Name, s.Name)
			}
		}
	}
}
