package matrix_test

import (
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/matrixfs/matrixfs/matrix/matrixtest"
	"github.com/matrixfs/matrixfs/transfer"
)

func TestTURNServers(t *testing.T) {
	urls := []string{
		"turn:127.0.0.1:3478?transport=udp", "turn:127.0.0.1:3478?transport=tcp", "turns:turn.example.org:5349?transport=tcp",
	}
	server := matrixtest.Start(t, matrixtest.WithTURN("secret", time.Hour, urls...))
	proxy := matrixtest.NewProxy(t, server.URL())
	c := matrixtest.Open(t, matrixtest.Login(t, server.NewUser("alice"), proxy.URL()))
	got, err := c.TURNServers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || !slices.Equal(got[0].URLs, urls) || got[0].Password == "" || !strings.Contains(got[0].Username, "@alice:localhost") {
		t.Fatalf("TURN servers are %+v", got)
	}
	// From memory from now on, with or without the homeserver.
	server.Stop()
	again, err := c.TURNServers(t.Context())
	if err != nil || !reflect.DeepEqual(again, got) {
		t.Fatalf("again: %+v, %v", again, err)
	}
	if n := len(proxy.Log("GET", "/turnServer")); n != 1 {
		t.Fatalf("%d requests", n)
	}
}

func TestNoTURNServers(t *testing.T) {
	server := matrixtest.Start(t)
	proxy := matrixtest.NewProxy(t, server.URL())
	alice := server.NewUser("alice")
	none := func(what string) {
		t.Helper()
		c := matrixtest.Open(t, matrixtest.Login(t, alice, proxy.URL()))
		got, err := c.TURNServers(t.Context())
		if err != nil || got != nil {
			t.Fatalf("%s: %+v, %v", what, got, err)
		}
	}
	none("not configured")
	proxy.Answer(1, "GET", "/turnServer", http.StatusNotFound, `{"errcode":"M_UNRECOGNIZED"}`)
	none("not implemented")
	proxy.Answer(1, "GET", "/turnServer", http.StatusOK, `{"uris":["http://x","`+strings.Repeat("turn:", 500)+`"],"ttl":-1}`)
	none("nonsense")

	c := matrixtest.Open(t, matrixtest.Login(t, alice, proxy.URL()))
	proxy.Cut()
	_, err := c.TURNServers(t.Context())
	wantError(t, err, transfer.ErrOffline)
}
