package matrix_test

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"maunium.net/go/mautrix/id"

	"github.com/matrixfs/matrixfs/matrix"
	"github.com/matrixfs/matrixfs/matrix/matrixtest"
)

// door is a homeserver with single sign-on and OAuth, and somebody who logs in
// there.
type door struct {
	t      *testing.T
	server *matrixtest.AuthServer
	alice  *matrixtest.User
	before int // her devices
}

func newDoor(t *testing.T, opts ...matrixtest.AuthOption) *door {
	t.Helper()
	home := matrixtest.Start(t)
	d := &door{t: t, server: matrixtest.NewAuthServer(t, home.URL(), opts...), alice: home.NewUser("alice")}
	d.before = devices(t, d.alice)
	return d
}

// login logs in, and gives the state directory.
func (d *door) login(ctx context.Context, m matrix.Method, b *matrixtest.Browser, change func(*matrix.LoginConfig)) (string, *matrix.Account, error) {
	d.t.Helper()
	if b.User == nil {
		b.User = d.alice
	}
	dir := filepath.Join(d.t.TempDir(), "state")
	cfg := matrix.LoginConfig{
		StateDir: dir, Homeserver: d.server.URL(), Method: m, Person: b, Password: d.alice.Password, DeviceName: "matrixfs test",
	}
	if m == matrix.MethodPassword {
		cfg.User = "alice"
	}
	if change != nil {
		change(&cfg)
	}
	account, err := matrix.Login(ctx, cfg)
	if wrong := b.Wait(); wrong != nil {
		d.t.Errorf("in the browser: %v", wrong)
	}
	return dir, account, err
}

// nothingLeft makes sure that a login that failed left neither a device nor
// state, and gave an error of one line.
func (d *door) nothingLeft(dir string, err error) {
	d.t.Helper()
	d.t.Log(err)
	if err == nil || strings.Contains(err.Error(), "\n") {
		d.t.Errorf("error is %v", err)
	}
	if after := devices(d.t, d.alice); after != d.before {
		d.t.Errorf("%d devices, were %d", after, d.before)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		d.t.Errorf("the state directory is there: %v", err)
	}
}

var browserMethods = []struct {
	name   string
	method matrix.Method
	here   bool
}{
	{"SSO", matrix.MethodSSO, true},
	{"SSO, pasted", matrix.MethodSSO, false},
	{"OAuth with a browser", matrix.MethodOAuth, true},
	{"OAuth, pasted", matrix.MethodOAuthBrowser, false},
	{"OAuth with a code", matrix.MethodOAuth, false},
	{"OAuth with a code, although there is a browser", matrix.MethodOAuthDevice, true},
}

// Each way in leads to a client that syncs, and whose logout leaves nothing.
func TestBrowserLogin(t *testing.T) {
	d := newDoor(t)
	room, err := d.alice.CreateRoom(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range browserMethods {
		t.Run(tt.name, func(t *testing.T) {
			dir, account, err := d.login(t.Context(), tt.method, &matrixtest.Browser{Here: tt.here}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if account.User != d.alice.ID() || account.Homeserver != d.server.URL() || devices(t, d.alice) != d.before+1 {
				t.Fatalf("account is %+v, %d devices", account, devices(t, d.alice))
			}
			checkModes(t, dir)
			if named, err := d.alice.API.GetDeviceInfo(t.Context(), id.DeviceID(account.Device)); err != nil || named.DisplayName != "matrixfs test" {
				t.Errorf("the device is %+v (%v)", named, err)
			}
			c := matrixtest.Open(t, dir)
			start(t, c)
			awaitRoom(t, c, room, "the room is there", known)
			if err := c.Logout(t.Context()); err != nil {
				t.Fatal(err)
			}
			if after := devices(t, d.alice); after != d.before {
				t.Errorf("%d devices after the logout, want %d", after, d.before)
			}
			_, err = matrix.Open(t.Context(), dir, nil)
			wantError(t, err, matrix.ErrNotLoggedIn)
		})
	}
}

func TestBrowserLoginRefused(t *testing.T) {
	d := newDoor(t)
	bob := matrixtest.Browser{User: &matrixtest.User{Name: "nobody", Password: "wrong password"}}
	for _, tt := range browserMethods {
		t.Run(tt.name+", denied", func(t *testing.T) {
			dir, _, err := d.login(t.Context(), tt.method, &matrixtest.Browser{Here: tt.here, Deny: true}, nil)
			wantError(t, err, matrix.ErrDenied)
			d.nothingLeft(dir, err)
		})
		t.Run(tt.name+", somebody else", func(t *testing.T) {
			dir, _, err := d.login(t.Context(), tt.method, &matrixtest.Browser{Here: tt.here}, func(c *matrix.LoginConfig) { c.User = "@bob:localhost" })
			wantError(t, err, matrix.ErrOtherUser)
			d.nothingLeft(dir, err)
		})
		t.Run(tt.name+", not an account", func(t *testing.T) {
			dir, _, err := d.login(t.Context(), tt.method, &matrixtest.Browser{Here: tt.here, User: bob.User}, nil)
			d.nothingLeft(dir, err)
		})
	}
}

// Ctrl-C while the person is in the browser, and while the device is made.
func TestBrowserLoginInterrupted(t *testing.T) {
	d := newDoor(t)
	for _, tt := range browserMethods {
		t.Run(tt.name+", in the browser", func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			b := &matrixtest.Browser{Here: tt.here, Stay: true, Shown: make(chan matrix.Visit, 1)}
			go func() {
				<-b.Shown
				cancel()
			}()
			dir, _, err := d.login(ctx, tt.method, b, nil)
			wantError(t, err, context.Canceled)
			d.nothingLeft(dir, err)
		})
		t.Run(tt.name+", while the device is made", func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			defer d.server.Clear()
			for _, path := range []string{"/oauth/token", "/v3/login"} {
				d.server.Before(1, http.MethodPost, path, cancel)
			}
			dir, _, err := d.login(ctx, tt.method, &matrixtest.Browser{Here: tt.here}, nil)
			wantError(t, err, context.Canceled)
			d.nothingLeft(dir, err)
		})
	}
	t.Run("the answer with the tokens is lost", func(t *testing.T) {
		defer d.server.Clear()
		d.server.LoseAnswer(1, http.MethodPost, "/oauth/token")
		dir, _, err := d.login(t.Context(), matrix.MethodOAuthBrowser, &matrixtest.Browser{Here: true}, nil)
		d.nothingLeft(dir, err)
	})
	t.Run("it does not say who it is", func(t *testing.T) {
		defer d.server.Clear()
		d.server.Answer(1, http.MethodGet, "/whoami", http.StatusOK, `{"user_id":"@alice:localhost","device_id":"OTHER"}`)
		dir, _, err := d.login(t.Context(), matrix.MethodOAuthBrowser, &matrixtest.Browser{Here: true}, nil)
		d.nothingLeft(dir, err)
	})
}

// What comes without the state of the login changes nothing, and the right
// browser can still come.
func TestLandingTakesOnlyItsOwn(t *testing.T) {
	d := newDoor(t)
	wrong := func(change func(string) string) func(string) (string, error) {
		return func(back string) (string, error) {
			for _, bad := range []string{
				change(back),
				strings.Replace(back, "127.0.0.1", "localhost", 1), // a name that a web site could have
				strings.SplitAfter(back, "?")[0],
			} {
				resp, err := http.Get(bad)
				if err != nil {
					return "", err
				}
				_ = resp.Body.Close()
				if resp.StatusCode == http.StatusOK {
					return "", errors.New("taken: " + bad)
				}
			}
			return back, nil
		}
	}
	state := func(back string) string { return strings.Replace(back, "state=", "state=X", 1) }
	for _, m := range []matrix.Method{matrix.MethodSSO, matrix.MethodOAuthBrowser} {
		if _, _, err := d.login(t.Context(), m, &matrixtest.Browser{Here: true, Other: wrong(state)}, nil); err != nil {
			t.Fatal(err)
		}
		b := &matrixtest.Browser{Shown: make(chan matrix.Visit, 8)}
		b.Other = func(back string) (string, error) {
			for _, bad := range []string{"", "x", state(back), "http://127.0.0.1:1/?" + strings.SplitAfter(back, "?")[1]} {
				b.Paste(bad)
			}
			return " " + back + "\n", nil
		}
		if _, _, err := d.login(t.Context(), m, b, nil); err != nil {
			t.Fatal(err)
		}
		if len(b.Shown) != 5 { // the address, and four complaints
			t.Errorf("the person was shown %d things", len(b.Shown))
		}
	}
	t.Run("from another server", func(t *testing.T) {
		d.before = devices(t, d.alice)
		b := &matrixtest.Browser{Here: true, Other: func(back string) (string, error) {
			return strings.Replace(back, "iss=", "iss=x", 1), nil
		}}
		dir, _, err := d.login(t.Context(), matrix.MethodOAuthBrowser, b, nil)
		d.nothingLeft(dir, err)
	})
}

// The device code's server wants to be asked slowly, and the code ends.
func TestDeviceCode(t *testing.T) {
	t.Run("slow down", func(t *testing.T) {
		d := newDoor(t)
		d.server.Answer(1, http.MethodPost, "/oauth/token", http.StatusBadRequest, `{"error":"slow_down"}`)
		b := &matrixtest.Browser{Shown: make(chan matrix.Visit, 1)}
		if _, _, err := d.login(t.Context(), matrix.MethodOAuthDevice, b, nil); err != nil {
			t.Fatal(err)
		}
		if v := <-b.Shown; len(v.Code) != 9 || v.Comeback != "" || !strings.Contains(v.Address, v.Code) {
			t.Errorf("shown is %+v", v)
		}
		polls := d.server.Log(http.MethodPost, "/oauth/token")
		if len(polls) != 2 || polls[1].At.Sub(polls[0].At) < 6*time.Second {
			t.Errorf("polls are %+v", polls)
		}
	})
	t.Run("the code ends", func(t *testing.T) {
		d := newDoor(t, matrixtest.WithCodeLife(2*time.Second))
		dir, _, err := d.login(t.Context(), matrix.MethodOAuthDevice, &matrixtest.Browser{Stay: true}, nil)
		wantError(t, err, matrix.ErrTooLate)
		d.nothingLeft(dir, err)
	})
	t.Run("the server says that it has ended", func(t *testing.T) {
		d := newDoor(t)
		d.server.Answer(1, http.MethodPost, "/oauth/token", http.StatusBadRequest, `{"error":"expired_token"}`)
		dir, _, err := d.login(t.Context(), matrix.MethodOAuthDevice, &matrixtest.Browser{Stay: true}, nil)
		wantError(t, err, matrix.ErrTooLate)
		d.nothingLeft(dir, err)
	})
	t.Run("no answer for a while", func(t *testing.T) {
		d := newDoor(t)
		d.server.Answer(1, http.MethodPost, "/oauth/token", http.StatusBadGateway, `gone`)
		if _, _, err := d.login(t.Context(), matrix.MethodOAuthDevice, &matrixtest.Browser{}, nil); err != nil {
			t.Fatal(err)
		}
	})
}

// A homeserver without the method that was asked for: the error says what to
// use.
func TestMethodNotOffered(t *testing.T) {
	tests := []struct {
		offers []string
		method matrix.Method
		want   string
	}{
		{[]string{"sso"}, matrix.MethodPassword, "use --sso"},
		{[]string{"sso", "browser"}, matrix.MethodPassword, "use --oauth"},
		{[]string{"device"}, matrix.MethodPassword, "use --oauth"},
		{[]string{"device"}, matrix.MethodSSO, "use --oauth"},
		{[]string{"password"}, matrix.MethodSSO, "use a password"},
		{[]string{"password"}, matrix.MethodOAuth, "use a password"},
		{[]string{"device"}, matrix.MethodOAuthBrowser, "use --oauth-flow device"},
		{[]string{"browser"}, matrix.MethodOAuthDevice, "use --oauth-flow browser"},
		{nil, matrix.MethodOAuth, "nothing else"},
	}
	home := matrixtest.Start(t)
	alice := home.NewUser("alice")
	for _, tt := range tests {
		d := &door{t: t, server: matrixtest.NewAuthServer(t, home.URL(), matrixtest.Offering(tt.offers...)), alice: alice, before: 1}
		dir, _, err := d.login(t.Context(), tt.method, &matrixtest.Browser{Stay: true}, nil)
		wantError(t, err, matrix.ErrMethod)
		if !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: error is %v, want %q", tt.offers, err, tt.want)
		}
		d.nothingLeft(dir, err)
	}
}

// What an OAuth server says of itself is not trusted, and does not disturb who
// has no use for it.
func TestOAuthMetadataIsWrong(t *testing.T) {
	d := newDoor(t)
	good := `{"issuer":"http://x/","registration_endpoint":"http://127.0.0.1:1/r","token_endpoint":"http://127.0.0.1:1/t","revocation_endpoint":"http://127.0.0.1:1/v",` +
		`"authorization_endpoint":"http://127.0.0.1:1/a","grant_types_supported":["authorization_code","refresh_token"],"code_challenge_methods_supported":["S256"]}`
	for name, body := range map[string]string{
		"empty":             `{}`,
		"not JSON":          `<html>`,
		"a program":         strings.Replace(good, "http://127.0.0.1:1/a", "file:///bin/sh", 1),
		"an option":         strings.Replace(good, "http://127.0.0.1:1/a", "--help", 1),
		"escapes":           strings.Replace(good, "http://127.0.0.1:1/a", `http://127.0.0.1:1/\u001b[2J`, 1),
		"long":              strings.Replace(good, "http://127.0.0.1:1/a", "http://127.0.0.1:1/"+strings.Repeat("a", 10_000), 1),
		"somebody's name":   strings.Replace(good, "http://127.0.0.1:1/t", "http://a:b@127.0.0.1/t", 1),
		"huge":              `{"issuer":"` + strings.Repeat("x", 9<<20) + `"}`,
		"nobody registers":  good,
		"no code challenge": strings.Replace(good, "S256", "plain", 1),
	} {
		t.Run(name, func(t *testing.T) {
			defer d.server.Clear()
			d.server.Answer(2, http.MethodGet, "/auth_metadata", http.StatusOK, body)
			dir, _, err := d.login(t.Context(), matrix.MethodOAuthBrowser, &matrixtest.Browser{Stay: true}, nil)
			if name != "nobody registers" {
				wantError(t, err, matrix.ErrMethod)
			}
			d.nothingLeft(dir, err)
			dir, _, err = d.login(t.Context(), matrix.MethodPassword, &matrixtest.Browser{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := matrixtest.Open(t, dir).Logout(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
}
