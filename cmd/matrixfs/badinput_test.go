package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// complains waits for the program to fail with a status and exactly one line,
// which must contain each of the texts.
func (p *program) complains(status int, texts ...string) {
	p.t.Helper()
	if code := p.wait(); code != status {
		p.t.Errorf("%s: exit status %d, want %d", p, code, status)
	}
	said := p.err.String()
	if !strings.HasPrefix(said, "matrixfs: ") || strings.Count(said, "\n") != 1 || !strings.HasSuffix(said, "\n") {
		p.t.Errorf("%s: says %q, want one line", p, said)
	}
	for _, text := range texts {
		if !strings.Contains(said, text) {
			p.t.Errorf("%s: says %q, want %q in it", p, said, text)
		}
	}
	if out := p.out.String(); out != "" {
		p.t.Errorf("%s: prints %q, want nothing", p, out)
	}
}

func TestWrongCommandLine(t *testing.T) {
	t.Parallel()
	h := home(t)
	for _, args := range [][]string{
		{},
		{"moutn"},
		{"mount"},
		{"mount", ""},
		{"mount", "--no-such-flag", "/nowhere"},
		{"mount", "--lifetime", "soon", "/nowhere"},
		{"mount", "--lifetime", "-1s", "/nowhere"},
		{"mount", "--cache-size", "lots", "/nowhere"},
		{"mount", "--cache-size", "1k", "/nowhere"},
		{"login", "--user", "alice"},
		{"login", "--homeserver", "example.org"},
		{"status", "extra"},
	} {
		start(t, h.binary, args...).complains(2, "--help")
	}
}

func TestHelpAndVersion(t *testing.T) {
	t.Parallel()
	h := home(t)
	help := start(t, h.binary, "--help").succeeds()
	for _, command := range []string{"login", "mount", "status", "verify", "logout", "demo", "version"} {
		if !strings.Contains(help, command) {
			t.Errorf("--help does not mention %s", command)
		}
	}
	if out := start(t, h.binary, "version").succeeds(); !strings.HasPrefix(out, "matrixfs ") || strings.Count(out, "\n") != 1 {
		t.Errorf("version prints %q", out)
	}
}

func TestBadLogin(t *testing.T) {
	t.Parallel()
	h := home(t)
	who := h.person(t)
	state := filepath.Join(t.TempDir(), "state")
	right, wrong, empty := filepath.Join(t.TempDir(), "right"), filepath.Join(t.TempDir(), "wrong"), filepath.Join(t.TempDir(), "empty")
	for path, text := range map[string]string{right: who.Password, wrong: "not the password", empty: ""} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	login := func(homeserver, user string, more ...string) *program {
		args := []string{"login", "--state", state, "--homeserver", homeserver, "--user", user}
		return start(t, h.binary, append(args, more...)...)
	}
	login(h.url(), who.Name, "--password-file", wrong).complains(1, "wrong user name or password")
	login(h.url(), "nobody", "--password-file", right).complains(1, "wrong user name or password")
	login(h.url(), who.Name, "--password-file", empty).complains(1, "the password is empty")
	login(h.url(), who.Name, "--password-file", right+".missing").complains(1, "can't read the password")
	login(h.url(), who.Name).complains(1, "--password-file")
	login("http://127.0.0.1:1", who.Name, "--password-file", right).complains(1, "no Matrix homeserver answers", "connection refused")
	login("no-such-server.invalid", who.Name, "--password-file", right).complains(1, "no Matrix homeserver answers")
	login("ftp://example.org", who.Name, "--password-file", right).complains(1, "https://")
	if exists(state) {
		t.Error("a failed login left a state directory behind")
	}
	shell(t, `"$1" login --state "$2" --homeserver "$3" --user "$4" --password-file - < "$5"`,
		h.binary, state, h.url(), who.Name, right).succeeds()
	login(h.url(), who.Name, "--password-file", right).complains(1, "logged in already", "logout")
}

func TestBadMount(t *testing.T) {
	t.Parallel()
	h := home(t)
	alice := h.login(t, h.person(t))
	mount := func(state, point string) *program {
		return start(t, h.binary, "mount", "--state", state, point)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	mount(filepath.Join(dir, "none"), t.TempDir()).complains(1, "not logged in", "matrixfs login")
	mount(alice.state, filepath.Join(dir, "missing")).complains(1, filepath.Join(dir, "missing"))
	mount(alice.state, file).complains(1, file, "directory")
	mount(alice.state, dir).complains(1, dir, "empty")
	mount(alice.state, "/proc/self/fd").complains(1)
	// In a world of its own, in which there is no FUSE.
	start(t, "unshare", "--mount", "bash", "-c",
		`mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && exec "$@"`, "bash",
		h.binary, "mount", "--state", alice.state, t.TempDir()).complains(1, "FUSE is not available", "/dev/fuse")
	// None of them keeps the state from being used.
	alice.mount()
	mount(alice.state, t.TempDir()).complains(1, "already mounted at "+alice.mountpoint)
	bob := h.login(t, h.person(t))
	mount(bob.state, alice.mountpoint).complains(1, alice.mountpoint)
	if !alice.daemon.running() || !exists(alice.incoming("")) {
		t.Error("the failed mounts disturbed the one that was there")
	}
}

func TestDamagedState(t *testing.T) {
	t.Parallel()
	h := home(t)
	alice := h.login(t, h.person(t))
	damaged := 0
	files, err := filepath.Glob(filepath.Join(alice.state, "*.db"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		damaged++
		if err := os.WriteFile(file, []byte("this is not a database, and never was one"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if damaged == 0 {
		t.Fatal("found no state file to damage")
	}
	alice.tryMount().complains(1, "damaged", alice.state)
	start(t, h.binary, "logout", "--state", alice.state).complains(1, "damaged", alice.state)
	if alice.mounted() {
		t.Error("mounted with a damaged state")
	}
	start(t, h.binary, "logout", "--force", "--state", alice.state).succeeds()
	alice.tryMount().complains(1, "not logged in")
}
