package matrixtest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"maunium.net/go/mautrix/id"

	"github.com/matrixfs/matrixfs/matrix/matrixtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A homeserver keeps its address and its data, however it was ended.
func TestRestart(t *testing.T) {
	s := matrixtest.Start(t)
	alice, bob := s.NewUser("alice"), s.NewUser("bob")
	room := s.NewRoom(alice, []*matrixtest.User{bob}, matrixtest.Named("x"), matrixtest.Encrypted())
	url := s.URL()
	for _, end := range []func(){s.Stop, s.Kill, func() {}} {
		end()
		s.Restart()
		if s.URL() != url {
			t.Fatalf("address is %s, was %s", s.URL(), url)
		}
		resp, err := bob.API.JoinedMembers(t.Context(), id.RoomID(room))
		if err != nil || len(resp.Joined) != 2 {
			t.Fatalf("members are %v, %v", resp, err)
		}
	}
	s.Stop()
	if _, err := alice.API.Whoami(t.Context()); err == nil {
		t.Fatal("a stopped server answers")
	}
}

// What stands in the way is said in a sentence.
func TestBinaryErrors(t *testing.T) {
	t.Setenv("MATRIXFS_DENDRITE", filepath.Join(t.TempDir(), "none"))
	_, err := matrixtest.Run(t.Context(), t.TempDir(), nil)
	if err == nil || !strings.Contains(err.Error(), "MATRIXFS_DENDRITE does not name a program") {
		t.Fatalf("error is %v", err)
	}
	t.Setenv("MATRIXFS_DENDRITE", "/bin/false")
	_, err = matrixtest.Run(t.Context(), t.TempDir(), nil)
	if err == nil || !strings.Contains(err.Error(), "did not come up") {
		t.Fatalf("error is %v", err)
	}
	t.Setenv("MATRIXFS_DENDRITE", "")
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("PATH", "")
	_, err = matrixtest.Binary(t.Context(), nil)
	if err == nil || !strings.Contains(err.Error(), "the Go tool is needed") {
		t.Fatalf("error is %v", err)
	}
}

// Processes that need Dendrite at once build it once. The go tool is stood in
// for by a script: the real one takes minutes, and Start uses it.
func TestBinaryIsBuiltOnce(t *testing.T) {
	dir := t.TempDir()
	count := filepath.Join(dir, "count")
	script := "#!/bin/sh\n" +
		"grep -q 'github.com/element-hq/dendrite v0.15.2' go.mod && grep -q dendrite go.sum && grep -q tools tools.go || exit 1\n" +
		"echo x >> " + count + "\nwhile [ $# -gt 1 ]; do [ \"$1\" = -o ] && echo built > \"$2\"; shift; done\n"
	if err := os.WriteFile(filepath.Join(dir, "go"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("MATRIXFS_DENDRITE", "")
	t.Setenv("XDG_CACHE_HOME", filepath.Join(dir, "cache"))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			path, err := matrixtest.Binary(t.Context(), nil)
			if err != nil {
				t.Error(err)
				return
			}
			if text, err := os.ReadFile(path); err != nil || string(text) != "built\n" {
				t.Errorf("built %q, %v", text, err)
			}
		})
	}
	wg.Wait()
	if text, err := os.ReadFile(count); err != nil || string(text) != "x\n" {
		t.Errorf("built %q times, %v", text, err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "cache", "matrixfs-test", "*.new"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestProxy(t *testing.T) {
	s := matrixtest.Start(t)
	p := matrixtest.NewProxy(t, s.URL())
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	get := func(ctx context.Context) (int, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL()+"/_matrix/client/versions", nil)
		if err != nil {
			return 0, err
		}
		resp, err := client.Do(req)
		if err != nil {
			return 0, err
		}
		// One that is not read to its end counts as given up.
		_, err = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode, errors.Join(err, resp.Body.Close())
	}
	want := func(status int, ok bool) {
		t.Helper()
		if got, err := get(t.Context()); got != status || (err == nil) != ok {
			t.Fatalf("status %d, %v; want %d", got, err, status)
		}
	}
	want(200, true)
	p.Cut()
	want(0, false)
	p.Mend()
	p.Answer(1, "GET", "/versions", 429, "{}")
	want(429, true)
	want(200, true)
	p.LoseAnswer(1, "GET", "/versions")
	want(0, false)
	p.Delay(1, "", "/versions", time.Minute)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := get(ctx); err == nil {
		t.Fatal("not delayed")
	}
	p.Answer(5, "", "", 500, "")
	p.Clear()
	want(200, true)
	if log := p.Log("GET", "/versions"); len(log) < 4 || !strings.Contains(log[0].Response, "versions") || log[0].Status != 200 {
		t.Fatalf("log is %+v", log)
	}
}
