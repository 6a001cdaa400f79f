package main_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/matrixfs/matrixfs/matrix/matrixtest"
)

// door is a homeserver that has more ways to log in, and somebody at a
// terminal who uses them.
type door struct {
	*house
	t        *testing.T
	server   *matrixtest.AuthServer
	who      person
	state    string
	opened   string // where the browser that xdg-open starts notes its address
	keyboard io.Writer
	login    *program
}

func (h *house) door(t *testing.T, opts ...matrixtest.AuthOption) *door {
	t.Helper()
	d := &door{house: h, t: t, server: matrixtest.NewAuthServer(t, h.url(), opts...), who: h.person(t)}
	d.state, d.opened = filepath.Join(t.TempDir(), "state"), filepath.Join(t.TempDir(), "opened")
	return d
}

// enter starts the login. With a browser, the machine has a desktop, on which
// xdg-open notes what it is to open.
func (d *door) enter(browser bool, args ...string) {
	d.t.Helper()
	bin := d.t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\nprintf '%%s\\n' \"$1\" > '%s.new' && mv '%s.new' '%s'\n", d.opened, d.opened, d.opened)
	if err := os.WriteFile(filepath.Join(bin, "xdg-open"), []byte(script), 0o700); err != nil {
		d.t.Fatal(err)
	}
	command := exec.Command(d.binary, append([]string{"login", "--state", d.state, "--homeserver", d.server.URL()}, args...)...)
	command.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "WAYLAND_DISPLAY=", "DISPLAY=")
	if browser {
		command.Env = append(command.Env, "DISPLAY=:0")
	}
	var err error
	if d.keyboard, err = command.StdinPipe(); err != nil {
		d.t.Fatal(err)
	}
	d.login = startCommand(d.t, command)
}

var shownAddress = regexp.MustCompile(`(?m)^  (http\S+)$`)

// address waits until an address is shown, and opened if there is a browser.
func (d *door) address(browser bool) string {
	d.t.Helper()
	var shown, opened string
	eventually(d.t, "an address is shown", func() bool {
		if found := shownAddress.FindStringSubmatch(d.login.err.String()); found != nil {
			shown = found[1]
		}
		text, _ := os.ReadFile(d.opened)
		opened = strings.TrimSpace(string(text))
		return !d.login.running() || shown != "" && browser == (opened != "")
	})
	if shown == "" || browser && opened != shown {
		d.t.Fatalf("shown is %q, opened %q: %s", shown, opened, d.login.err.String())
	}
	return shown
}

// answer answers in the browser, and gives the address that it ends at.
func (d *door) answer(address string, deny bool) string {
	d.t.Helper()
	back, err := (&matrixtest.Browser{User: d.who.User, Deny: deny}).Answer(d.t.Context(), address)
	if err != nil {
		d.t.Fatal(err)
	}
	return back
}

// comeBack opens the address that the browser ends at, on this machine.
func (d *door) comeBack(address string) {
	d.t.Helper()
	resp, err := http.Get(address)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		d.t.Fatalf("the page has status %d", resp.StatusCode)
	}
}

// paste types a line.
func (d *door) paste(line string) {
	d.t.Helper()
	if _, err := io.WriteString(d.keyboard, line+"\n"); err != nil {
		d.t.Fatal(err)
	}
}

// device gives the device that has logged in.
func (d *door) device() *device {
	d.t.Helper()
	if out := d.login.succeeds(); !strings.Contains(out, "logged in as "+string(d.who.ID())) {
		d.t.Fatalf("login prints %q", out)
	}
	one := &device{t: d.t, who: d.who, home: d.house, state: d.state, mountpoint: d.t.TempDir()}
	d.t.Cleanup(one.cleanUp)
	return one
}

// nothingLeft makes sure that there is neither a device nor state.
func (d *door) nothingLeft() {
	d.t.Helper()
	if left := d.who.devices(d.t); len(left) != 0 {
		d.t.Errorf("devices are left: %v", left)
	}
	if exists(d.state) {
		d.t.Error("the state is left")
	}
}

// Each way in, from the command line to the logout.
func TestLoginInTheBrowser(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		browser bool
		pasted  bool
		args    []string
	}{
		{"SSO", true, false, []string{"--sso"}},
		{"SSO over ssh", false, true, []string{"--sso"}},
		{"OAuth with a browser", true, false, []string{"--oauth"}},
		{"OAuth with a code", false, false, []string{"--oauth"}},
		{"OAuth over ssh", false, true, []string{"--oauth", "--oauth-flow", "browser"}},
		{"OAuth with a code, although there is a browser", false, false, []string{"--oauth", "--oauth-flow=device"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := home(t).door(t)
			d.enter(c.browser, c.args...)
			back := d.answer(d.address(c.browser), false)
			switch {
			case c.pasted:
				d.paste("what?")
				eventually(t, "it is not taken", func() bool { return strings.Contains(d.login.err.String(), "That is not it") })
				d.paste(back)
			case back != "":
				d.comeBack(back)
			}
			device := d.device()
			device.mount()
			eventually(t, "it is online", func() bool { return device.status(t).Online })
			device.stop()
			start(t, d.binary, "login", "--state", d.state, "--homeserver", d.server.URL(), "--sso").complains(1, "logged in already")
			out := start(t, d.binary, "logout", "--state", d.state).succeeds()
			if !strings.Contains(out, "logged out "+string(d.who.ID())) {
				t.Errorf("logout prints %q", out)
			}
			if left := d.who.devices(t); len(left) != 0 {
				t.Errorf("devices are left: %v", left)
			}
		})
	}
}

func TestLoginInTheBrowserFails(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"--sso", "--oauth"} {
		t.Run("denied"+method, func(t *testing.T) {
			t.Parallel()
			d := home(t).door(t)
			d.enter(true, method)
			d.comeBack(d.answer(d.address(true), true))
			d.login.fails("refused in the browser")
			d.nothingLeft()
		})
		t.Run("somebody else"+method, func(t *testing.T) {
			t.Parallel()
			d := home(t).door(t)
			d.enter(true, method, "--user", "@somebody:localhost")
			d.comeBack(d.answer(d.address(true), false))
			d.login.fails("not @somebody:localhost")
			d.nothingLeft()
		})
		t.Run("interrupted"+method, func(t *testing.T) {
			t.Parallel()
			d := home(t).door(t)
			d.enter(true, method)
			d.address(true)
			d.login.signalAll(syscall.SIGINT)
			d.login.fails("interrupted")
			d.nothingLeft()
		})
	}
	t.Run("interrupted with a code", func(t *testing.T) {
		t.Parallel()
		d := home(t).door(t)
		// The signal comes when the person has agreed, and the answer is on its way.
		d.server.Before(1, http.MethodPost, "/oauth/token", func() { d.login.signalAll(syscall.SIGINT) })
		d.enter(false, "--oauth")
		d.answer(d.address(false), false)
		d.login.fails("interrupted")
		d.nothingLeft()
	})
	t.Run("a code that ends", func(t *testing.T) {
		t.Parallel()
		d := home(t).door(t, matrixtest.WithCodeLife(1e9))
		d.enter(false, "--oauth")
		d.login.fails("nobody has logged in in time")
		d.nothingLeft()
	})
	t.Run("not offered", func(t *testing.T) {
		t.Parallel()
		d := home(t).door(t, matrixtest.Offering("browser"))
		d.enter(false, "--sso")
		d.login.complains(1, "does not offer SSO", "use --oauth")
		d.enter(false, "--user", "alice", "--password-file", "/dev/null")
		d.login.complains(1, "the password is empty")
		d.nothingLeft()
	})
}

// A session that is ended elsewhere ends the mount, with a message, once.
func TestSessionEndedWhileMounted(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"--sso", "--oauth"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			d := home(t).door(t)
			d.enter(true, method)
			d.comeBack(d.answer(d.address(true), false))
			device := d.device().mount("--verbose")
			eventually(t, "it is online", func() bool { return device.status(t).Online })
			secrets := d.server.Tokens()
			d.server.Expire() // so that it is renewed once
			d.server.Cut()
			d.server.Mend()
			eventually(t, "the token is renewed", func() bool { return d.server.Renewals() == 1 && device.status(t).Online })
			secrets = append(secrets, d.server.Tokens()...)
			if err := d.server.EndAll(t.Context()); err != nil {
				t.Fatal(err)
			}
			d.server.Cut()
			d.server.Mend()
			daemon := device.daemon
			if code := daemon.wait(); code != 1 || !strings.Contains(daemon.complaint(), "the login is no longer valid") {
				t.Errorf("exit status %d: %s", code, daemon.complaint())
			}
			if device.mounted() {
				t.Error("it is still mounted")
			}
			device.daemon = nil
			for _, text := range slices.Concat(secrets, []string{d.who.Password}) {
				if strings.Contains(daemon.err.String(), text) {
					t.Errorf("%s is in the log", text)
				}
			}
			start(t, d.binary, "logout", "--state", d.state).succeeds()
			if _, err := os.Stat(filepath.Join(d.state, "matrix.db")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the state is left: %v", err)
			}
		})
	}
}
