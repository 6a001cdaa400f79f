package matrix

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// renewer is a homeserver that knows one token after the other.
type renewer struct {
	mu       sync.Mutex
	current  string // the token it takes
	renewals int
	bodies   []string
}

func (h *renewer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	h.mu.Lock()
	defer h.mu.Unlock()
	if strings.HasSuffix(r.URL.Path, "/refresh") {
		h.renewals++
		h.current = "t" + string(rune('0'+h.renewals))
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": h.current, "refresh_token": "r", "expires_in_ms": 1e15})
		return
	}
	if r.Header.Get("Authorization") != "Bearer "+h.current {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"errcode":"M_UNKNOWN_TOKEN"}`)
		return
	}
	h.bodies = append(h.bodies, string(body))
}

func (h *renewer) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.renewals
}

func newTestSession(t *testing.T, h http.Handler, have tokens, save func(context.Context, tokens) error) (*session, *http.Client, string) {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	log := slog.New(slog.DiscardHandler)
	api, err := newAPI(server.URL, "", have.access, log)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := newAPI(server.URL, "", "", log)
	if err != nil {
		t.Fatal(err)
	}
	s := newSession(api, plain, have, log, save)
	t.Cleanup(s.close)
	return s, api.Client, server.URL
}

// post sends a body with a token, and gives the status.
func post(ctx context.Context, client *http.Client, address, body string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer whatever")
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// Tokens that can't be stored are not used, and are not asked for again.
func TestTokensAreStoredFirst(t *testing.T) {
	h := &renewer{current: "gone"}
	disk := errors.New("disk full")
	saves := 0
	s, client, address := newTestSession(t, h, tokens{access: "t0", refresh: "r"}, func(_ context.Context, got tokens) error {
		saves++
		if got.access != "t1" || time.Until(got.expires) > maxTokenLife {
			t.Errorf("stored is %+v", got)
		}
		return disk
	})
	for try := 1; try <= 2; try++ {
		_, err := post(t.Context(), client, address, "x")
		if err == nil || !errors.Is(err, disk) || loggedOut(err) {
			t.Fatalf("error is %v", err)
		}
		if h.count() != 1 || saves != try || len(h.bodies) != 0 {
			t.Fatalf("%d renewals, %d tries to store, %d requests taken", h.count(), saves, len(h.bodies))
		}
		s.mu.Lock()
		s.retry = time.Time{} // it is a second later
		s.mu.Unlock()
	}
	disk = nil
	status, err := post(t.Context(), client, address, "body")
	if err != nil || status != http.StatusOK || h.count() != 1 || len(h.bodies) != 1 || h.bodies[0] != "body" {
		t.Fatalf("status %d, error %v, %d renewals, bodies %q", status, err, h.count(), h.bodies)
	}
}

// Who waits for a renewal can give up; the renewal goes on.
func TestRenewalOutlivesItsRequest(t *testing.T) {
	h := &renewer{current: "gone"}
	saving, saved := make(chan struct{}), make(chan struct{})
	_, client, address := newTestSession(t, h, tokens{access: "t0", refresh: "r"}, func(context.Context, tokens) error {
		close(saving)
		<-saved
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-saving
		cancel()
	}()
	if _, err := post(ctx, client, address, "one"); !errors.Is(err, context.Canceled) {
		t.Fatalf("error is %v", err)
	}
	close(saved)
	if status, err := post(t.Context(), client, address, "two"); err != nil || status != http.StatusOK || h.count() != 1 {
		t.Fatalf("status %d, error %v, %d renewals", status, err, h.count())
	}
}

// A token goes nowhere that its request was not for.
func TestTokenStaysHome(t *testing.T) {
	var got string
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Get("Authorization") }))
	defer elsewhere.Close()
	other := strings.Replace(elsewhere.URL, "127.0.0.1", "localhost", 1)
	_, client, address := newTestSession(t, http.RedirectHandler(other, http.StatusFound), tokens{access: "t0"}, nil)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer t0")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if got != "" {
		t.Errorf("the other server got %q", got)
	}
	// A request with something in it is not repeated elsewhere at all.
	if status, err := post(t.Context(), client, address, "password"); err != nil || status != http.StatusFound {
		t.Errorf("status %d, error %v", status, err)
	}
}

// What was stored before there were refresh tokens, and what is now, is read
// as it was.
func TestTokensInTheStore(t *testing.T) {
	ctx := t.Context()
	s, err := openStore(ctx, filepath.Join(t.TempDir(), storeName), true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}()
	check := func(want tokens) {
		t.Helper()
		l, err := s.loadLogin(ctx)
		if err != nil || l.tokens != want {
			t.Fatalf("tokens are %+v, want %+v (%v)", l.tokens, want, err)
		}
	}
	if err := s.saveLogin(ctx, login{Account: Account{"http://x", "@a:x", "D"}, tokens: tokens{access: "a", client: "c"}}); err != nil {
		t.Fatal(err)
	}
	check(tokens{access: "a", client: "c"})
	ends := time.UnixMilli(1_800_000_000_123)
	if err := s.saveTokens(ctx, tokens{access: "b", refresh: "r", expires: ends}); err != nil {
		t.Fatal(err)
	}
	check(tokens{access: "b", refresh: "r", expires: ends, client: "c"})
	var level int
	if err := s.db.QueryRow(ctx, "PRAGMA synchronous").Scan(&level); err != nil || level != 1 {
		t.Errorf("synchronous is %d (%v), want 1 (NORMAL)", level, err)
	}
}
