package main_test

import (
	"os"
	"path/filepath"
	"testing"
)

// With --spool a program can write in any order, and the offer has the size
// and the hash of what came of it.
func TestSpool(t *testing.T) {
	t.Parallel()
	h := home(t)
	ann, ben := h.person(t), h.person(t)
	room := h.room(t, ann, ben)
	alice, bob := h.login(t, ann).mount("--spool"), h.login(t, ben).mount()
	h.inRoom(t, room, alice, bob)
	const script = `sqlite3 "$1" 'create table t(a); insert into t values(1); update t set a=2; vacuum;'`
	want := filepath.Join(t.TempDir(), "want.db")
	shell(t, script, want).succeeds()
	sqlite := shell(t, script, filepath.Join(alice.room(room), "made.db"))
	offer := bob.awaits(t, "made.db")
	hash := attr(t, offer, "sha256")
	copied := filepath.Join(t.TempDir(), "copied")
	shell(t, `cat "$1" > "$2"`, offer, copied).succeeds()
	sqlite.succeeds()
	sameBytes(t, copied, want)
	if sent := attr(t, filepath.Join(alice.room(room), "made.db"), "sha256"); len(hash) != 43 || sent != hash {
		t.Errorf("it was offered with the hash %q, and received with %q", sent, hash)
	}
	dir := filepath.Join(alice.state, "spool")
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory of files before they are offered: %v, %v", info, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("in it are %v (%v)", left, err)
	}
}
