package main_test

import (
	"os"
	"path/filepath"
	"testing"
)

// TestWhoAccepts: the flags reach the mount.
func TestWhoAccepts(t *testing.T) {
	t.Parallel()
	h := home(t)
	ann, ben := h.person(t), h.person(t)
	room := h.room(t, ann, ben)
	rules := filepath.Join(t.TempDir(), "readers.conf")
	if err := os.WriteFile(rules, []byte("never od\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	alice, bob := h.login(t, ann).mount("--readers", rules), h.login(t, ben).mount("--accept=ask")
	h.inRoom(t, room, alice, bob)

	cp := start(t, "cp", sample(t, "question", 100_000), alice.room(room))
	offer := bob.awaits(t, "question")
	start(t, "cat", offer).fails("Permission denied")
	start(t, "setfattr", "-n", "user.matrix.accept", "-v", "1", offer).succeeds()
	cp.succeeds()
	start(t, "cat", offer).succeeds()

	cp = start(t, "cp", sample(t, "reply", 100_000), bob.room(room))
	offer = alice.awaits(t, "reply")
	start(t, "od", offer).fails("Permission denied")
	start(t, "cat", offer).succeeds()
	cp.succeeds()
}

func TestBadReaders(t *testing.T) {
	t.Parallel()
	h := home(t)
	rules := filepath.Join(t.TempDir(), "readers.conf")
	mount := func(config string, flags ...string) *program {
		args := append([]string{"XDG_CONFIG_HOME=" + config, h.binary, "mount", "--state", t.TempDir(), t.TempDir()}, flags...)
		return start(t, "env", args...)
	}
	mount("", "--readers", rules).complains(1, "readers file", rules, "no such file")
	mount("", "--accept", "maybe").complains(2, "--accept", "--help")
	if err := os.WriteFile(rules, []byte("# mine\nnevr tumblerd\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	mount("", "--readers", rules).complains(1, rules+", line 2", `"nevr tumblerd"`)
	config := t.TempDir()
	mount(config).complains(1, "not logged in") // there need not be one
	if err := os.Mkdir(filepath.Join(config, "matrixfs"), 0o700); err != nil {
		t.Fatal(err)
	}
	start(t, "cp", rules, filepath.Join(config, "matrixfs")).succeeds()
	mount(config).complains(1, filepath.Join(config, "matrixfs", "readers.conf")+", line 2")
}
