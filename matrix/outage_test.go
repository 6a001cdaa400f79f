package matrix_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/matrixfs/matrixfs/matrix"
	"github.com/matrixfs/matrixfs/matrix/matrixtest"
	"github.com/matrixfs/matrixfs/transfer"
)

// The homeserver goes away, cleanly and by a crash, and comes back.
func TestHomeserverAway(t *testing.T) {
	for name, stop := range map[string]func(*matrixtest.Server){
		"stopped": func(s *matrixtest.Server) { s.Stop() },
		"killed":  func(s *matrixtest.Server) { s.Kill() },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			stop(p.server)
			matrixtest.Eventually(t, soon, "the client is offline", func() bool { return !p.ac.Online() })

			begun := time.Now()
			_, err := p.ac.Send(t.Context(), p.room, cancelOf("lost"))
			wantError(t, err, transfer.ErrOffline)
			if took := time.Since(begun); took > 8*time.Second {
				t.Errorf("ErrOffline took %v", took)
			}
			t.Log(err)
			begun = time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			_, err = p.ac.Send(ctx, p.room, cancelOf("lost"))
			wantError(t, err, context.DeadlineExceeded)
			if took := time.Since(begun); took > 2*time.Second {
				t.Errorf("the end of the context took %v", took)
			}
			begun = time.Now()
			if len(p.ac.Rooms()) != 1 || len(p.ac.Members(p.room)) != 2 {
				t.Error("the rooms are not known without the homeserver")
			}
			if took := time.Since(begun); took > 10*time.Millisecond {
				t.Errorf("looking took %v", took)
			}

			p.server.Restart()
			// Send does not wait for the back-off of the sync loop.
			begun = time.Now()
			id := send(t, p.ac, p.room, cancelOf("again"))
			t.Logf("back after %v", time.Since(begun))
			if !p.ac.Online() {
				t.Error("not online, although sending worked")
			}
			for _, b := range []*box{p.abox, p.bbox} {
				if got := b.next(); got.Event != id {
					t.Fatalf("received %+v", got)
				}
			}
			matrixtest.Eventually(t, soon, "bob is online", p.bc.Online)
		})
	}
}

// What is sent while a client has no line comes when it has one again.
func TestNothingIsLost(t *testing.T) {
	p := newPair(t)
	proxy := matrixtest.NewProxy(t, p.server.URL())
	c := matrixtest.Open(t, matrixtest.Login(t, p.bob, proxy.URL()))
	b := start(t, c)
	for range 3 {
		proxy.Cut()
		id := send(t, p.ac, p.room, cancelOf("cut"))
		matrixtest.Eventually(t, soon, "the client is offline", func() bool { return !c.Online() })
		proxy.Mend()
		if got := b.next(); got.Event != id {
			t.Fatalf("received %+v, want %s", got, id)
		}
	}
	b.empty()
}

// The answer to a send is lost: it is sent again, and arrives once.
func TestSendOnce(t *testing.T) {
	p := newPair(t)
	proxy := matrixtest.NewProxy(t, p.server.URL())
	c := matrixtest.Open(t, matrixtest.Login(t, p.bob, proxy.URL()))
	start(t, c)
	awaitRoom(t, c, p.room, "the room is known", known)
	proxy.LoseAnswer(1, http.MethodPut, "/send/")
	id := send(t, c, p.room, cancelOf("once"))
	if got := p.abox.next(); got.Event != id {
		t.Fatalf("received %+v, want %s", got, id)
	}
	last := send(t, c, p.room, cancelOf("last"))
	if got := p.abox.next(); got.Event != last {
		t.Fatalf("received again: %+v", got)
	}
	if n := len(proxy.Log(http.MethodPut, "/send/")); n != 3 {
		t.Errorf("%d requests, want 3", n)
	}
}

const limitExceeded = `{"errcode":"M_LIMIT_EXCEEDED","error":"Too Many Requests","retry_after_ms":700}`

func TestRateLimit(t *testing.T) {
	p := newPair(t)
	proxy := matrixtest.NewProxy(t, p.server.URL())
	c := matrixtest.Open(t, matrixtest.Login(t, p.bob, proxy.URL()))
	start(t, c)
	awaitRoom(t, c, p.room, "the room is known", known)

	t.Run("send waits", func(t *testing.T) {
		proxy.Answer(2, http.MethodPut, "/send/", http.StatusTooManyRequests, limitExceeded)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if _, err := c.Send(t.Context(), p.room, cancelOf("x")); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		checkPauses(t, proxy.Log(http.MethodPut, "/send/"))
	})
	t.Run("no longer than the context", func(t *testing.T) {
		proxy.Answer(1, http.MethodPut, "/send/", http.StatusTooManyRequests,
			`{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":600000}`)
		begun := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		_, err := c.Send(ctx, p.room, cancelOf("x"))
		wantError(t, err, context.DeadlineExceeded)
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("took %v", took)
		}
	})
	t.Run("sync waits", func(t *testing.T) {
		before := len(proxy.Log(http.MethodGet, "/sync"))
		proxy.Answer(2, http.MethodGet, "/sync", http.StatusTooManyRequests, limitExceeded)
		send(t, p.ac, p.room, cancelOf("wakes the poll"))
		matrixtest.Eventually(t, soon, "both answers were given", func() bool {
			return len(proxy.Log(http.MethodGet, "/sync")) >= before+4
		})
		checkPauses(t, proxy.Log(http.MethodGet, "/sync")[before:])
		matrixtest.Eventually(t, soon, "online again", c.Online)
	})
}

// checkPauses makes sure that each 429 was followed by the pause it asked for.
func checkPauses(t *testing.T, log []matrixtest.Exchange) {
	t.Helper()
	limited := 0
	for i, e := range log {
		if e.Status != http.StatusTooManyRequests {
			continue
		}
		limited++
		for _, later := range log[i+1:] {
			// Requests that were under way together don't count.
			if pause := later.At.Sub(e.At); pause > 100*time.Millisecond && pause < 690*time.Millisecond {
				t.Errorf("a request came %v after a 429 that asked for 700ms", pause)
			}
		}
	}
	if limited != 2 {
		t.Errorf("%d requests were limited, want 2", limited)
	}
}

// A homeserver that is slow, or answers with errors of its own, is waited for.
func TestHomeserverErrors(t *testing.T) {
	p := newPair(t)
	proxy := matrixtest.NewProxy(t, p.server.URL())
	c := matrixtest.Open(t, matrixtest.Login(t, p.bob, proxy.URL()))
	proxy.Answer(1, http.MethodGet, "/sync", http.StatusBadGateway, "<html>bad gateway</html>")
	proxy.Answer(1, http.MethodGet, "/sync", http.StatusOK, "not JSON")
	proxy.Answer(1, http.MethodGet, "/sync", http.StatusOK, "{}")
	b := start(t, c)
	awaitRoom(t, c, p.room, "the room is known", known)
	proxy.Answer(1, http.MethodPut, "/send/", http.StatusServiceUnavailable, "")
	proxy.Answer(1, http.MethodPut, "/send/", http.StatusOK, "not JSON")
	proxy.Delay(1, http.MethodPut, "/send/", 300*time.Millisecond)
	id := send(t, c, p.room, cancelOf("at last"))
	if got := b.next(); got.Event != id {
		t.Fatalf("received %+v", got)
	}
	proxy.Answer(1, http.MethodPut, "/send/", http.StatusRequestEntityTooLarge, `{"errcode":"M_TOO_LARGE","error":"secret text"}`)
	_, err := c.Send(t.Context(), p.room, cancelOf("large"))
	if err == nil || !strings.Contains(err.Error(), "M_TOO_LARGE") || strings.Contains(err.Error(), "secret") {
		t.Fatalf("error is %v", err)
	}
	proxy.Answer(1, http.MethodPut, "/send/", http.StatusForbidden, `{"errcode":"M_FORBIDDEN","error":"no"}`)
	_, err = c.Send(t.Context(), p.room, cancelOf("forbidden"))
	wantError(t, err, transfer.ErrNotAllowed)
}

// One event that makes no sense must not stop all the others, for good.
func TestSyncWithNonsense(t *testing.T) {
	p := newPair(t)
	proxy := matrixtest.NewProxy(t, p.server.URL())
	c := matrixtest.Open(t, matrixtest.Login(t, p.bob, proxy.URL()))
	proxy.Answer(1, http.MethodGet, "/sync", http.StatusOK, `{"next_batch":"`+"s0_0_0_0_0_0_0_0_0"+`",
		"account_data":{"events":[5,{"type":"m.direct","content":{"@x:localhost":5,"y":["!z"]}},{"type":"m.direct","content":[]}]},
		"rooms":{"leave":{"!gone:localhost":7},"join":{"!null:localhost":null,"!odd:localhost":{
			"state":{"events":[{"type":"m.room.create","state_key":"","sender":"@x:localhost","content":{"room_version":5,"predecessor":7}},
				{"type":"m.room.member","state_key":"@x:localhost","content":{"membership":"join","displayname":{}}},
				{"type":"m.room.power_levels","state_key":"","content":{"users":{"@x:localhost":"100"}}},
				{"type":"m.room.encryption","state_key":"","content":"rot13"}]},
			"timeline":{"limited":false,"events":[5,"x",{"type":5},{"type":"m.d2dfile.cancel","unsigned":{"age":"x"},"content":{}},
				{"type":"m.d2dfile.cancel","event_id":"$1","sender":"@x:localhost","content":{"transfer_id":"1"}}]}}}}}`)
	b := start(t, c)
	awaitRoom(t, c, "!odd:localhost", "a room whose encryption can't be read is encrypted", func(r matrix.Room) bool {
		return strings.Contains(r.Refused, "encrypted") || strings.Contains(r.Refused, "not known")
	})
	awaitRoom(t, c, p.room, "the sync goes on", known)
	id := send(t, c, p.room, cancelOf("good"))
	if got := b.next(); got.Event != id {
		t.Fatalf("received %+v", got)
	}
}

// The login is ended from elsewhere.
func TestRevoked(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *pair, *matrix.Client){
		"noticed by sync": func(*testing.T, *pair, *matrix.Client) {},
		"noticed by send": func(t *testing.T, p *pair, c *matrix.Client) {
			_, err := c.Send(t.Context(), p.room, cancelOf("x"))
			wantError(t, err, matrix.ErrLoggedOut)
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			dir := matrixtest.Login(t, p.bob, p.server.URL())
			c := matrixtest.Open(t, dir)
			b := start(t, c)
			awaitRoom(t, c, p.room, "the room is known", known)
			if _, err := p.bob.API.LogoutAll(t.Context()); err != nil {
				t.Fatal(err)
			}
			end(t, p, c)
			select {
			case err := <-b.ran:
				wantError(t, err, matrix.ErrLoggedOut)
			case <-time.After(soon):
				t.Fatal("Run goes on without a valid login")
			}
			if c.Online() {
				t.Error("online without a valid login")
			}
			begun := time.Now()
			_, err := c.Send(t.Context(), p.room, cancelOf("x"))
			wantError(t, err, matrix.ErrLoggedOut)
			if took := time.Since(begun); took > time.Second {
				t.Errorf("took %v", took)
			}
			// The way out of it works without the homeserver's blessing.
			if err := c.Logout(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := p.bob.Login(t.Context(), p.server.URL(), dir); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Another kind of answer than Dendrite's, through the proxy.
func TestRevokedSoftly(t *testing.T) {
	p := newPair(t)
	proxy := matrixtest.NewProxy(t, p.server.URL())
	c := matrixtest.Open(t, matrixtest.Login(t, p.bob, proxy.URL()))
	b := start(t, c)
	awaitRoom(t, c, p.room, "the room is known", known)
	gone := `{"errcode":"M_UNKNOWN_TOKEN","error":"Access token has expired","soft_logout":true}`
	proxy.Answer(1000, "", "/_matrix/", http.StatusUnauthorized, gone)
	_, err := c.TURNServers(t.Context())
	wantError(t, err, matrix.ErrLoggedOut)
	_, err = c.Send(t.Context(), p.room, cancelOf("x"))
	wantError(t, err, matrix.ErrLoggedOut)
	wantError(t, <-b.ran, matrix.ErrLoggedOut)
}

// The homeserver forgot our sync token, as one restored from a backup does.
func TestForgottenToken(t *testing.T) {
	p := newPair(t)
	proxy := matrixtest.NewProxy(t, p.server.URL())
	dir := matrixtest.Login(t, p.bob, proxy.URL())
	c := matrixtest.Open(t, dir)
	start(t, c)
	awaitRoom(t, c, p.room, "the room is known", known)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	proxy.Answer(3, http.MethodGet, "/sync", http.StatusBadRequest, `{"errcode":"M_UNKNOWN","error":"bad token"}`)
	c = matrixtest.Open(t, dir)
	b := start(t, c)
	awaitRoom(t, c, p.room, "the room is known", func(r matrix.Room) bool { return r.Refused == "" })
	id := send(t, c, p.room, cancelOf("x"))
	if got := b.next(); got.Event != id {
		t.Fatalf("received %+v", got)
	}
}

// Close ends whatever is under way, at once.
func TestCloseInterrupts(t *testing.T) {
	p := newPair(t)
	proxy := matrixtest.NewProxy(t, p.server.URL())
	c := matrixtest.Open(t, matrixtest.Login(t, p.bob, proxy.URL()))
	b := start(t, c)
	awaitRoom(t, c, p.room, "the room is known", known)
	proxy.Delay(10, http.MethodPut, "/send/", time.Minute)
	proxy.Delay(10, http.MethodGet, "/turnServer", time.Minute)
	sent, asked := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := c.Send(t.Context(), p.room, cancelOf("x"))
		sent <- err
	}()
	go func() {
		_, err := c.TURNServers(t.Context())
		asked <- err
	}()
	begun := time.Now()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	wantError(t, <-sent, matrix.ErrClosed)
	wantError(t, <-asked, matrix.ErrClosed)
	if err := <-b.ran; err != nil {
		t.Errorf("Run ended with %v", err)
	}
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("closing took %v", took)
	}
	wantError(t, c.Run(t.Context()), matrix.ErrClosed)
}

// A homeserver that answers, and takes long over a message, gets the time.
func TestSlowHomeserver(t *testing.T) {
	p := newPair(t)
	proxy := matrixtest.NewProxy(t, p.server.URL())
	c := matrixtest.Open(t, matrixtest.Login(t, p.bob, proxy.URL()))
	start(t, c)
	awaitRoom(t, c, p.room, "the room is known", known)
	proxy.Answer(25, http.MethodPut, "/send/", http.StatusGatewayTimeout, "")
	begun := time.Now()
	id := send(t, c, p.room, cancelOf("slow"))
	if took := time.Since(begun); took < 4500*time.Millisecond {
		t.Errorf("took %v: nothing was slow", took)
	}
	for got := p.abox.next(); got.Event != id; got = p.abox.next() {
		t.Fatalf("received %+v", got)
	}
}
