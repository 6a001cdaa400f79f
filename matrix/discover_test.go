package matrix

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// site is a web server with a certificate for example.com, and a client for
// which every name is at its address.
func site(t *testing.T, handler http.HandlerFunc) *http.Client {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	client := newHTTP()
	transport := client.Transport.(*http.Transport)
	transport.TLSClientConfig = server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
	}
	t.Cleanup(client.CloseIdleConnections)
	return client
}

func TestDiscover(t *testing.T) {
	good := `{"m.homeserver":{"base_url":"https://matrix.example.com/"},"m.identity_server":{"base_url":"https://x"}}`
	say := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	tests := []struct {
		name    string
		handler http.HandlerFunc
		want    string // empty: an error
	}{
		{"good", say(200, good), "https://matrix.example.com"},
		{"none", say(404, good), "https://example.com"},
		{"server error", say(500, good), ""},
		{"empty", say(200, ""), ""},
		{"not JSON", say(200, "<html>hello</html>"), ""},
		{"a list", say(200, `[]`), ""},
		{"no homeserver", say(200, `{}`), ""},
		{"a number", say(200, `{"m.homeserver":{"base_url":5}}`), ""},
		{"http", say(200, strings.Replace(good, "https://matrix", "http://matrix", 1)), ""},
		{"a file", say(200, `{"m.homeserver":{"base_url":"file:///etc/passwd"}}`), ""},
		{"with a password", say(200, `{"m.homeserver":{"base_url":"https://a:b@example.com"}}`), ""},
		{"a long address", say(200, fmt.Sprintf(`{"m.homeserver":{"base_url":"https://example.com/%s"}}`, strings.Repeat("a", 3000))), ""},
		{"huge", func(w http.ResponseWriter, _ *http.Request) {
			for _, err := w.Write([]byte(good)); err == nil; {
				_, err = w.Write(make([]byte, 1<<16))
			}
		}, ""},
		{"two redirects", redirects(2, say(200, good)), "https://matrix.example.com"},
		{"redirects without end", redirects(1e6, nil), ""},
		{"a redirect to http", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://example.com/", http.StatusFound)
		}, ""},
		{"never", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, ""},
	}
	reasons := map[string]string{
		"server error":          "HTTP status 500",
		"http":                  "no https address",
		"huge":                  "too long",
		"redirects without end": "too many redirects",
		"a redirect to http":    "a redirect away from https",
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx := t.Context()
			if tt.name == "never" {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, 100*time.Millisecond)
				defer cancel()
			}
			got, err := discover(ctx, site(t, tt.handler), "example.com")
			if got != tt.want || (err == nil) != (tt.want != "") {
				t.Fatalf("homeserver is %q, error %v", got, err)
			}
			if err == nil {
				return
			}
			if says := reasons[tt.name]; !strings.Contains(err.Error(), says) {
				t.Errorf("error is %v, want %q", err, says)
			}
			t.Log(err)
			if !errors.Is(err, ErrNoServer) && ctx.Err() == nil || strings.Contains(err.Error(), "\n") {
				t.Errorf("error is %v", err)
			}
		})
	}
	t.Run("another certificate", func(t *testing.T) {
		_, err := discover(t.Context(), site(t, say(200, good)), "example.net")
		if !errors.Is(err, ErrNoServer) || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("error is %v", err)
		}
	})
}

// redirects sends the client on n times.
func redirects(n int, end http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if n--; n < 0 {
			end(w, r)
			return
		}
		http.Redirect(w, r, "https://www.example.com/next", http.StatusFound)
	}
}

func TestServerOf(t *testing.T) {
	for user, want := range map[string]string{
		"@alice:example.org":      "example.org",
		"@alice:example.org:8448": "example.org",
		"@alice:1.2.3.4":          "1.2.3.4",
		"@alice:[::1]:8448":       "[::1]",
		"@:example.org":           "",
		"alice":                   "",
		"alice:example.org":       "",
		"@alice":                  "",
		"@alice:":                 "",
		"@alice:a/b":              "",
		"@alice:a?b":              "",
		"@alice:a#b":              "",
		"@alice:u@b":              "",
		"@alice:a b":              "",
		"@alice:a%2fb":            "",
		"@alice:a\nb":             "",
		"@alice:bücher.example":   "", // such a name is written in ASCII
		"@alice:example.org:x":    "",
	} {
		if got := serverOf(user); got != want {
			t.Errorf("%q: %q, want %q", user, got, want)
		}
	}
}
