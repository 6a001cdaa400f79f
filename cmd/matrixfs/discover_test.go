package main_test

import (
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/matrixfs/matrixfs/matrix/matrixtest"
)

// internet is a web in which every name leads to one server, and the
// environment of a program that lives in it.
func internet(t *testing.T, handler http.Handler) (environment []string) {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	authority := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(authority, block, 0o600); err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			http.Error(w, "https only", http.StatusForbidden)
			return
		}
		tunnel(w, r, server.Listener.Addr().String())
	}))
	t.Cleanup(proxy.Close)
	return append(os.Environ(), "HTTPS_PROXY="+proxy.URL, "HTTP_PROXY="+proxy.URL, "NO_PROXY=", "SSL_CERT_FILE="+authority)
}

// tunnel joins the connection of a CONNECT request with one to an address.
func tunnel(w http.ResponseWriter, r *http.Request, address string) {
	there, err := new(net.Dialer).DialContext(r.Context(), "tcp", address)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer there.Close()
	w.WriteHeader(http.StatusOK)
	here, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer here.Close()
	var copying sync.WaitGroup
	copying.Go(func() {
		_, _ = io.Copy(there, buffered)
		_ = there.Close()
	})
	_, _ = io.Copy(here, there)
	_ = here.Close()
	copying.Wait()
}

// A full user name is enough: the server says where the homeserver is.
func TestHomeserverIsFound(t *testing.T) {
	t.Parallel()
	h := home(t)
	server := matrixtest.Start(t, matrixtest.WithServerName("example.com"))
	who := server.NewUser("alice")
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte(who.Password), 0o600); err != nil {
		t.Fatal(err)
	}
	behind, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("example.com/.well-known/matrix/client", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"m.homeserver":{"base_url":"https://matrix.example.com"}}`)
	})
	mux.Handle("matrix.example.com/", httputil.NewSingleHostReverseProxy(behind))
	mux.HandleFunc("www.example.com/.well-known/matrix/client", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://example.com"+r.URL.Path, http.StatusFound)
	})
	environment := internet(t, mux)
	state := filepath.Join(t.TempDir(), "state")
	run := func(args ...string) *program {
		command := exec.Command(h.binary, args...)
		command.Env = environment
		return startCommand(t, command)
	}
	run("login", "--state", state, "--user", "@alice:www.example.com", "--password-file", password).
		complains(1, "www.example.com", "a redirect away from https", "--homeserver")
	run("login", "--state", state, "--user", "@alice:nobody.example.com", "--password-file", password).
		complains(1, "no Matrix homeserver answers", "https://nobody.example.com")
	if exists(state) {
		t.Error("a failed login left a state directory behind")
	}
	got := run("login", "--state", state, "--user", "@alice:example.com", "--password-file", password).succeeds()
	if !strings.Contains(got, "logged in as @alice:example.com") {
		t.Errorf("login prints %q", got)
	}
	run("logout", "--state", state).succeeds()
	devices, err := who.Devices(t.Context())
	if err != nil || len(devices) != 1 {
		t.Errorf("devices are %v (%v)", devices, err)
	}
}
