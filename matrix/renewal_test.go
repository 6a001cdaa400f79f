package matrix_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/matrixfs/matrixfs/matrix"
	"github.com/matrixfs/matrixfs/matrix/matrixtest"
	"github.com/matrixfs/matrixfs/transfer"
)

// renewable are the logins whose tokens end.
var renewable = []struct {
	name   string
	method matrix.Method
	path   string // where they are renewed
}{
	{"password", matrix.MethodPassword, "/v3/refresh"},
	{"SSO", matrix.MethodSSO, "/v3/refresh"},
	{"OAuth", matrix.MethodOAuthBrowser, "/oauth/token"},
}

// unknownTokens counts the requests that were refused for their token.
func (d *door) unknownTokens() (n int) {
	for _, e := range d.server.Log("", "/_matrix/client/") {
		if e.Status == http.StatusUnauthorized {
			n++
		}
	}
	return n
}

// A token is renewed before it ends, and the new one is there at the next
// start.
func TestRenewalBeforeTheEnd(t *testing.T) {
	for _, tt := range renewable {
		t.Run(tt.name, func(t *testing.T) {
			d := newDoor(t, matrixtest.WithTokenLife(30*time.Second)) // less than is left before the end
			dir, _, err := d.login(t.Context(), tt.method, &matrixtest.Browser{Here: true}, nil)
			if err != nil {
				t.Fatal(err)
			}
			for run := 1; run <= 2; run++ {
				c := matrixtest.Open(t, dir)
				start(t, c)
				if err := c.Close(); err != nil {
					t.Fatal(err)
				}
				if n := d.server.Renewals(); n != run {
					t.Errorf("%d renewals after run %d", n, run)
				}
			}
			if n := d.unknownTokens(); n != 0 {
				t.Errorf("%d requests were refused", n)
			}
			if err := matrixtest.Open(t, dir).Logout(t.Context()); err != nil {
				t.Fatal(err)
			}
			if after := devices(t, d.alice); after != d.before {
				t.Errorf("%d devices after the logout, want %d", after, d.before)
			}
		})
	}
}

// A token that the server no longer knows is renewed, once for all requests.
func TestRenewalWhenRefused(t *testing.T) {
	for _, tt := range renewable {
		t.Run(tt.name, func(t *testing.T) {
			d := newDoor(t)
			room, err := d.alice.CreateRoom(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			dir, _, err := d.login(t.Context(), tt.method, &matrixtest.Browser{Here: true}, nil)
			if err != nil {
				t.Fatal(err)
			}
			c := matrixtest.Open(t, dir)
			b := start(t, c)
			awaitRoom(t, c, room, "the room is there", known)
			for round := 1; round <= 2; round++ {
				d.server.Expire()
				var sending sync.WaitGroup
				for i := range 8 {
					// Each another: the same message, sent twice in one millisecond,
					// can be one event.
					sending.Go(func() {
						if _, err := c.Send(t.Context(), room, cancelOf(transfer.ID(fmt.Sprint(round, "-", i)))); err != nil {
							t.Error(err)
						}
					})
				}
				sending.Wait()
				for range 8 {
					b.next()
				}
				if n := d.server.Renewals(); n != round {
					t.Errorf("%d renewals after %d times", n, round)
				}
			}
		})
	}
}

// The answer with the new tokens is lost, and then the program is ended, as by
// a crash: the old ones work once more.
func TestRenewalIsLost(t *testing.T) {
	for _, tt := range renewable {
		t.Run(tt.name, func(t *testing.T) {
			d := newDoor(t)
			dir, _, err := d.login(t.Context(), tt.method, &matrixtest.Browser{Here: true}, nil)
			if err != nil {
				t.Fatal(err)
			}
			d.server.Expire()
			d.server.LoseAnswer(100, http.MethodPost, tt.path)
			c := matrixtest.Open(t, dir)
			b := run(t, c)
			matrixtest.Eventually(t, soon, "two answers are lost", func() bool { return d.server.Renewals() >= 2 })
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			if err := <-b.ran; err != nil {
				t.Fatalf("Run ended with %v", err)
			}
			d.server.Clear()
			start(t, matrixtest.Open(t, dir))
		})
	}
}

// A session that its user, or an administrator, has ended: Run says so, and
// does not ask again and again.
func TestSessionEndedByTheServer(t *testing.T) {
	for _, tt := range renewable {
		t.Run(tt.name, func(t *testing.T) {
			d := newDoor(t)
			dir, _, err := d.login(t.Context(), tt.method, &matrixtest.Browser{Here: true}, nil)
			if err != nil {
				t.Fatal(err)
			}
			c := matrixtest.Open(t, dir)
			b := start(t, c)
			if err := d.server.EndAll(t.Context()); err != nil {
				t.Fatal(err)
			}
			d.server.Cut() // it waits for news
			d.server.Mend()
			select {
			case err := <-b.ran:
				wantError(t, err, matrix.ErrLoggedOut)
			case <-time.After(soon):
				t.Fatal("Run goes on")
			}
			// Two or three, depending on what was under way; a loop makes hundreds.
			if n := d.unknownTokens(); n < 1 || n > 8 {
				t.Errorf("%d requests were refused", n)
			}
			if n := len(d.server.Log(http.MethodPost, tt.path)); n > 3 {
				t.Errorf("%d requests to %s", n, tt.path)
			}
			// The device is gone there; logout removes it here.
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			if err := matrixtest.Open(t, dir).Logout(t.Context()); err != nil {
				t.Fatal(err)
			}
			_, err = matrix.Open(t.Context(), dir, nil)
			wantError(t, err, matrix.ErrNotLoggedIn)
		})
	}
}

// While tokens can't be renewed, the client is offline, and comes back.
func TestRenewalFailsForAWhile(t *testing.T) {
	for i, answer := range []struct {
		status int
		body   string
	}{
		{http.StatusServiceUnavailable, `{}`},
		{http.StatusTooManyRequests, `{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":1}`},
		{http.StatusOK, `{"access_token":""}`},
	} {
		tt := renewable[i]
		t.Run(tt.name, func(t *testing.T) {
			d := newDoor(t)
			dir, _, err := d.login(t.Context(), tt.method, &matrixtest.Browser{Here: true}, nil)
			if err != nil {
				t.Fatal(err)
			}
			d.server.Expire()
			d.server.Answer(1, http.MethodPost, tt.path, answer.status, answer.body)
			start(t, matrixtest.Open(t, dir))
		})
	}
}

// A server that refuses even the new token is believed.
func TestRenewedTokenIsRefused(t *testing.T) {
	d := newDoor(t)
	dir, _, err := d.login(t.Context(), matrix.MethodOAuthBrowser, &matrixtest.Browser{Here: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	d.server.Answer(1000, http.MethodGet, "/sync", http.StatusUnauthorized, `{"errcode":"M_UNKNOWN_TOKEN","soft_logout":true}`)
	b := run(t, matrixtest.Open(t, dir))
	select {
	case err := <-b.ran:
		wantError(t, err, matrix.ErrLoggedOut)
	case <-time.After(soon):
		t.Fatal("Run goes on")
	}
	if n := len(d.server.Log(http.MethodGet, "/sync")); n != 2 {
		t.Errorf("%d syncs", n)
	}
}

// logged is what a test logged, at debug level.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// secret is what the tokens and codes of an AuthServer look like.
var secret = regexp.MustCompile(`(access|refresh|code|login|device)_[A-Z2-7]{26}`)

// Nothing secret is in the log of a login, of a run, or of a logout.
func TestNoSecretIsLogged(t *testing.T) {
	for _, tt := range browserMethods {
		t.Run(tt.name, func(t *testing.T) {
			d := newDoor(t)
			var out logged
			log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
			d.server.Answer(1, http.MethodPost, "/oauth/token", http.StatusServiceUnavailable, `{}`)
			dir, _, err := d.login(t.Context(), tt.method, &matrixtest.Browser{Here: tt.here}, func(c *matrix.LoginConfig) { c.Logger = log })
			if err != nil { // the code is used up, where there is one
				dir, _, err = d.login(t.Context(), tt.method, &matrixtest.Browser{Here: tt.here}, func(c *matrix.LoginConfig) { c.Logger = log })
			}
			if err != nil {
				t.Fatal(err)
			}
			c, err := matrix.Open(t.Context(), dir, log)
			if err != nil {
				t.Fatal(err)
			}
			d.server.Answer(1, "", "/sync", http.StatusOK, `not JSON`)
			b := start(t, c)
			home := d.server.Tokens()
			d.server.Expire()
			d.server.Cut()
			d.server.Mend()
			matrixtest.Eventually(t, soon, "the token is renewed", func() bool { return d.server.Renewals() > 0 })
			home = append(home, d.server.Tokens()...)
			if err := c.Logout(t.Context()); err != nil {
				t.Fatal(err)
			}
			<-b.ran
			text := out.text.String()
			if found := secret.FindString(text); found != "" {
				t.Errorf("%s is in the log", found)
			}
			for _, token := range append(home, d.alice.Password) {
				if strings.Contains(text, token) {
					t.Errorf("%s is in the log", token)
				}
			}
			if !strings.Contains(text, "/sync") || !strings.Contains(text, "renewed") {
				t.Errorf("the log is not one: %s", text)
			}
		})
	}
}
