package main_test

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// conversation is a "matrixfs verify" that is talked to.
type conversation struct {
	*program
	keyboard io.WriteCloser
}

// verify starts it.
func (d *device) verify(args ...string) *conversation {
	d.t.Helper()
	command := exec.Command(d.binary(), append([]string{"verify", "--state", d.state}, args...)...)
	command.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	keyboard, err := command.StdinPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	return &conversation{startCommand(d.t, command), keyboard}
}

// types types a line.
func (c *conversation) types(line string) {
	c.t.Helper()
	if _, err := io.WriteString(c.keyboard, line+"\n"); err != nil {
		c.t.Fatal(err)
	}
}

// hears waits until something was said.
func (c *conversation) hears(what string) {
	c.t.Helper()
	eventually(c.t, c.String()+" says "+what, func() bool {
		return !c.running() || strings.Contains(c.err.String(), what)
	})
	if said := c.err.String(); !strings.Contains(said, what) {
		c.t.Fatalf("%s says %q, want %q", c, said, what)
	}
}

var codePattern = regexp.MustCompile(`(?m)^    (.+)\n    or as numbers: (\d{4} \d{4} \d{4})$`)

// code waits for the code, and gives it.
func (c *conversation) code() string {
	c.t.Helper()
	c.hears("Do they match? yes/no [no]: ")
	code := codePattern.FindStringSubmatch(c.err.String())
	if code == nil || strings.Count(code[1], ", ") != 6 {
		c.t.Fatalf("there is no code in %q", c.err.String())
	}
	return code[0]
}

// setUpIdentity gives the person an identity, and a file with the recovery key.
func (d *device) setUpIdentity(t *testing.T) (file, key string) {
	t.Helper()
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte(d.who.Password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	setup := d.verify("--setup", "--password-file", password)
	key = strings.TrimSpace(setup.succeeds())
	setup.hears("shown this once")
	file = filepath.Join(t.TempDir(), "recovery")
	if err := os.WriteFile(file, []byte(key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, key
}

// An account gets an identity, whose recovery key verifies its other devices:
// typed or from a file, mounted or not.
func TestVerifyWithRecoveryKey(t *testing.T) {
	t.Parallel()
	h := home(t)
	who := h.person(t)
	first := h.login(t, who)
	first.verify().fails("no identity yet")
	file, key := first.setUpIdentity(t)
	if !regexp.MustCompile(`^(\w{4} ){11}\w{4}$`).MatchString(key) {
		t.Errorf("the recovery key is %q", key)
	}
	first.verify("--setup", "--password-file", file).fails("has an identity")
	if said := first.verify().succeeds(); said != "this device is verified already\n" {
		t.Errorf("verified again: %q", said)
	}

	second := h.login(t, who)
	second.verify().fails("--recovery-key-file FILE")
	second.verify("--setup").fails("has an identity")
	second.verify("@bob:localhost").fails("not verified itself")
	wrong := filepath.Join(t.TempDir(), "wrong")
	if err := os.WriteFile(wrong, []byte("EsTc wrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	second.verify("--recovery-key-file", wrong).fails("neither the recovery key nor the passphrase")
	if said := second.typesKey(key); !strings.Contains(said, "this device is verified") || !strings.Contains(said, "status 0") || strings.Contains(said, key) {
		t.Errorf("with the key typed: %q", said)
	}

	third := h.login(t, who).mount()
	third.verify("--recovery-key-file", wrong).fails("neither the recovery key nor the passphrase")
	if said := third.verify("--recovery-key-file", file).succeeds(); !strings.Contains(said, "this device is verified") {
		t.Errorf("with the key in a file: %q", said)
	}
	third.stop()
}

// typesKey verifies at a terminal, and gives what is seen there.
func (d *device) typesKey(key string) string {
	d.t.Helper()
	command := exec.Command("script", "-qec", `"$PROGRAM" verify --state "$STATE"; echo "status $?"`, "/dev/null")
	command.Env = append(os.Environ(), "PROGRAM="+d.binary(), "STATE="+d.state, "SHELL=/bin/sh")
	keyboard, err := command.StdinPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	session := startCommand(d.t, command)
	eventually(d.t, "the recovery key is asked for", func() bool {
		return !session.running() || strings.Contains(session.out.String(), "Recovery key or passphrase")
	})
	if _, err := io.WriteString(keyboard, key+"\n"); err != nil {
		d.t.Fatal(err)
	}
	return session.succeeds()
}

// compared lets two sides compare, and say yes.
func compared(t *testing.T, a, b *conversation) {
	t.Helper()
	if left, right := a.code(), b.code(); left != right {
		t.Fatalf("one side shows %q, the other %q", left, right)
	}
	a.types("maybe")
	a.types("yes")
	b.types("y")
}

// Two devices of a person compare emoji, one through its mount, one without.
func TestVerifyWithEmoji(t *testing.T) {
	t.Parallel()
	h := home(t)
	who := h.person(t)
	old, fresh := h.login(t, who), h.login(t, who)
	old.setUpIdentity(t)
	old.mount()
	fresh.mount()

	t.Log("a mismatch")
	waits, asks := old.verify("--wait"), fresh.verify("--emoji")
	waits.hears("wants to verify")
	old.verify("--wait").fails("another verification is going on")
	waits.types("yes")
	waits.code()
	asks.code()
	waits.types("yes")
	asks.types("no")
	asks.fails("the codes do not match")
	waits.fails("the codes do not match")

	t.Log("Ctrl-C")
	waits, asks = old.verify("--wait"), fresh.verify("--emoji")
	waits.hears("wants to verify")
	waits.types("yes")
	asks.code()
	asks.signalAll(syscall.SIGINT)
	asks.fails("interrupted")
	waits.fails("the other side has cancelled")

	t.Log("end of input, without a mount")
	fresh.stop()
	waits, asks = old.verify("--wait"), fresh.verify("--emoji")
	waits.hears("wants to verify")
	waits.types("yes")
	asks.code()
	if err := asks.keyboard.Close(); err != nil {
		t.Fatal(err)
	}
	asks.fails("no answer")
	waits.fails("the other side has cancelled")

	t.Log("a match")
	waits, asks = old.verify("--wait"), fresh.verify("--emoji")
	waits.hears("wants to verify")
	waits.types("yes")
	compared(t, waits, asks)
	if said := waits.succeeds(); !strings.Contains(said, "verified your device") {
		t.Errorf("the old device says %q", said)
	}
	if said := asks.succeeds(); said != "this device is verified, and can verify others\n" {
		t.Errorf("the new device says %q", said)
	}
}

// Two people compare emoji.
func TestVerifyPerson(t *testing.T) {
	t.Parallel()
	h := home(t)
	alice, bob, _ := h.pair(t)
	bob.verify(alice.userID()).fails("matrixfs verify")
	alice.setUpIdentity(t)
	bob.setUpIdentity(t)
	waits := bob.verify("--wait")
	waits.hears("Waiting for a request")
	asks := alice.verify(bob.userID())
	waits.hears(alice.userID())
	waits.types("yes")
	compared(t, asks, waits)
	if said := asks.succeeds(); said != "verified "+bob.userID()+"\n" {
		t.Errorf("alice is told %q", said)
	}
	if said := waits.succeeds(); said != "verified "+alice.userID()+"\n" {
		t.Errorf("bob is told %q", said)
	}
	// A mount that ends takes the verification with it.
	waits = bob.verify("--wait")
	waits.hears("Waiting for a request")
	eventually(t, "the mount listens", func() bool {
		second := bob.verify("--wait")
		second.wait()
		return strings.Contains(second.complaint(), "another verification")
	})
	bob.stop()
	if waits.wait() == 0 {
		t.Error("it ended well")
	}
}

// A command line that says two things, or none that makes sense, is refused.
func TestVerifyUsage(t *testing.T) {
	t.Parallel()
	d := &device{t: t, home: home(t), state: t.TempDir()}
	for _, args := range [][]string{
		{"--emoji", "--wait"}, {"--setup", "@bob:x"}, {"--password-file", "x"}, {"bob"}, {"@bob"},
	} {
		if code := d.verify(args...).wait(); code != 2 {
			t.Errorf("%v: exit status %d, want 2", args, code)
		}
	}
	d.verify("--emoji").fails("not logged in")
}

// A mount says that its device is not verified, until it is.
func TestUnverifiedDeviceIsTold(t *testing.T) {
	t.Parallel()
	h := home(t)
	who := h.person(t)
	file, _ := h.login(t, who).setUpIdentity(t)
	second := h.login(t, who).mount()
	const hint = "this device is not verified"
	table := func() string { return start(t, h.binary, "status", "--state", second.state).succeeds() }
	eventually(t, "status says that the device is not verified", func() bool { return strings.Contains(table(), hint) })
	if said := second.daemon.err.String(); strings.Count(said, hint) != 1 {
		t.Errorf("the mount says %q", said)
	}
	second.verify("--recovery-key-file", file).succeeds()
	eventually(t, "status says no more that the device is not verified", func() bool { return !strings.Contains(table(), hint) })
}
