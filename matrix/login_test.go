package matrix_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/matrixfs/matrixfs/matrix"
	"github.com/matrixfs/matrixfs/matrix/matrixtest"
)

func TestLogin(t *testing.T) {
	server := matrixtest.Start(t)
	alice := server.NewUser("alice")
	dir := filepath.Join(t.TempDir(), "new", "state dir%41?#")
	account, err := alice.Login(t.Context(), server.URL()+"/", dir)
	if err != nil {
		t.Fatal(err)
	}
	if account.User != alice.ID() || account.Device == "" || account.Homeserver != server.URL() {
		t.Fatalf("account is %+v", account)
	}
	t.Run("stored", func(t *testing.T) {
		c := matrixtest.Open(t, dir)
		if c.Account() != *account {
			t.Fatalf("stored account is %+v, want %+v", c.Account(), account)
		}
		checkModes(t, dir)
		_, err := matrix.Open(t.Context(), dir, nil)
		wantError(t, err, matrix.ErrInUse)
		_, err = alice.Login(t.Context(), server.URL(), dir)
		wantError(t, err, matrix.ErrInUse)
		wantError(t, matrix.Forget(dir), matrix.ErrInUse)
	})
	t.Run("over an existing login", func(t *testing.T) {
		c := matrixtest.Open(t, dir)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		before := devices(t, alice)
		_, err := alice.Login(t.Context(), server.URL(), dir)
		wantError(t, err, matrix.ErrLoggedIn)
		if after := devices(t, alice); after != before {
			t.Fatalf("%d devices, were %d", after, before)
		}
	})
	t.Run("full user id", func(t *testing.T) {
		_, err := matrix.Login(t.Context(), matrix.LoginConfig{
			StateDir: t.TempDir(), Homeserver: server.URL(), User: string(alice.ID()), Password: alice.Password,
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func devices(t *testing.T, u *matrixtest.User) int {
	t.Helper()
	list, err := u.Devices(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// checkModes makes sure that nobody else can read the state, while it is in
// use.
func checkModes(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode().Perm(), want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestLoginRefused(t *testing.T) {
	server := matrixtest.Start(t)
	alice := server.NewUser("alice")
	webpage := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>hello</html>")) })
	missing := serve(t, http.NotFound)
	tests := []struct {
		name   string
		change func(*matrix.LoginConfig)
		want   error
	}{
		{"wrong password", func(c *matrix.LoginConfig) { c.Password = "not the password" }, matrix.ErrPassword},
		{"no password", func(c *matrix.LoginConfig) { c.Password = "" }, matrix.ErrPassword},
		{"no such user", func(c *matrix.LoginConfig) { c.User = "mallory" }, matrix.ErrPassword},
		{"no user", func(c *matrix.LoginConfig) { c.User = " " }, matrix.ErrUser},
		{"no scheme", func(c *matrix.LoginConfig) { c.Homeserver = "matrix.example.org" }, matrix.ErrAddress},
		{"host and port", func(c *matrix.LoginConfig) { c.Homeserver = "localhost:8008" }, matrix.ErrAddress},
		{"other scheme", func(c *matrix.LoginConfig) { c.Homeserver = "ftp://localhost" }, matrix.ErrAddress},
		{"password in URL", func(c *matrix.LoginConfig) { c.Homeserver = "http://a:b@localhost" }, matrix.ErrAddress},
		{"no address", func(c *matrix.LoginConfig) { c.Homeserver = "" }, matrix.ErrNoAddress},
		{"no such host", func(c *matrix.LoginConfig) { c.Homeserver = "http://nosuch.invalid" }, matrix.ErrNoServer},
		{"nobody listens", func(c *matrix.LoginConfig) { c.Homeserver = "http://" + closedPort(t) }, matrix.ErrNoServer},
		{"a web page", func(c *matrix.LoginConfig) { c.Homeserver = webpage }, matrix.ErrNoServer},
		{"404 for everything", func(c *matrix.LoginConfig) { c.Homeserver = missing }, matrix.ErrNoServer},
	}
	before := devices(t, alice)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "state")
			cfg := matrix.LoginConfig{StateDir: dir, Homeserver: server.URL(), User: "alice", Password: alice.Password}
			tt.change(&cfg)
			_, err := matrix.Login(t.Context(), cfg)
			wantError(t, err, tt.want)
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %v", err)
			}
			if cfg.Password != "" && strings.Contains(err.Error(), cfg.Password) {
				t.Errorf("the password is in the error: %v", err)
			}
			if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the state directory is there: %v", err)
			}
			t.Log(err)
		})
	}
	if after := devices(t, alice); after != before {
		t.Fatalf("%d devices, were %d", after, before)
	}
}

func serve(t *testing.T, h http.HandlerFunc) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l)
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-done
	})
	return "http://" + l.Addr().String()
}

func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// A login that fails late must not leave a device behind.
func TestLoginLeavesNoOrphan(t *testing.T) {
	server := matrixtest.Start(t)
	alice := server.NewUser("alice")
	before := devices(t, alice)
	check := func(t *testing.T, dir string) {
		t.Helper()
		if after := devices(t, alice); after != before {
			t.Errorf("%d devices, were %d", after, before)
		}
		_, err := matrix.Open(t.Context(), dir, nil)
		wantError(t, err, matrix.ErrNotLoggedIn)
	}
	t.Run("the answer is lost", func(t *testing.T) {
		proxy := matrixtest.NewProxy(t, server.URL())
		proxy.LoseAnswer(1, http.MethodPost, "/login")
		dir := filepath.Join(t.TempDir(), "state")
		if _, err := alice.Login(t.Context(), proxy.URL(), dir); err == nil {
			t.Fatal("login worked")
		}
		check(t, dir)
	})
	t.Run("interrupted", func(t *testing.T) {
		proxy := matrixtest.NewProxy(t, server.URL())
		proxy.Delay(1, http.MethodPost, "/login", 500*time.Millisecond)
		dir := filepath.Join(t.TempDir(), "state")
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		_, err := alice.Login(ctx, proxy.URL(), dir)
		wantError(t, err, context.DeadlineExceeded)
		check(t, dir)
	})
	t.Run("the state can't be stored", func(t *testing.T) {
		dir := t.TempDir()
		// A database in a directory that is not there.
		if err := os.Symlink(filepath.Join(dir, "missing", "file"), filepath.Join(dir, "matrix.db")); err != nil {
			t.Fatal(err)
		}
		_, err := alice.Login(t.Context(), server.URL(), dir)
		if err == nil || !strings.Contains(err.Error(), "can't store the login") {
			t.Fatalf("error is %v", err)
		}
		t.Log(err)
		check(t, dir)
	})
	t.Run("the state is a directory", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, "matrix.db", "x"), 0o700); err != nil {
			t.Fatal(err)
		}
		_, err := alice.Login(t.Context(), server.URL(), dir)
		wantError(t, err, matrix.ErrState)
		t.Log(err)
	})
}

func TestOpenErrors(t *testing.T) {
	_, err := matrix.Open(t.Context(), filepath.Join(t.TempDir(), "none"), nil)
	wantError(t, err, matrix.ErrNotLoggedIn)
	_, err = matrix.Open(t.Context(), t.TempDir(), nil)
	wantError(t, err, matrix.ErrNotLoggedIn)
	wantError(t, matrix.Forget(t.TempDir()), matrix.ErrNotLoggedIn)

	open := t.TempDir()
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	_, err = matrix.Open(t.Context(), open, nil)
	if err == nil || !strings.Contains(err.Error(), "others can write") {
		t.Fatalf("error is %v", err)
	}
}

func TestDamagedState(t *testing.T) {
	server := matrixtest.Start(t)
	alice := server.NewUser("alice")
	good := matrixtest.Login(t, alice, server.URL())
	text, err := os.ReadFile(filepath.Join(good, "matrix.db"))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		damage []byte
		want   error
	}{
		{"not a database", []byte(strings.Repeat("not a database at all\n", 1000)), matrix.ErrState},
		{"cut off", text[:len(text)/2], matrix.ErrState},
		{"overwritten inside", slices.Concat(text[:5000], make([]byte, len(text)-5000)), matrix.ErrState},
		{"empty", nil, matrix.ErrNotLoggedIn},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "matrix.db"), tt.damage, 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := matrix.Open(t.Context(), dir, nil)
			wantError(t, err, tt.want)
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %v", err)
			}
			t.Log(err)
			if tt.want == matrix.ErrState {
				_, err = alice.Login(t.Context(), server.URL(), dir)
				wantError(t, err, matrix.ErrState)
				if err := matrix.Forget(dir); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := alice.Login(t.Context(), server.URL(), dir); err != nil {
				t.Fatal(err)
			}
			checkModes(t, dir)
		})
	}
}

func TestLogout(t *testing.T) {
	server := matrixtest.Start(t)
	alice := server.NewUser("alice")
	before := devices(t, alice)
	dir := matrixtest.Login(t, alice, server.URL())
	c := matrixtest.Open(t, dir)
	b := start(t, c)
	if after := devices(t, alice); after != before+1 {
		t.Fatalf("%d devices, want %d", after, before+1)
	}
	if err := c.Logout(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-b.ran; err != nil {
		t.Fatalf("Run ended with %v", err)
	}
	if after := devices(t, alice); after != before {
		t.Fatalf("%d devices, want %d", after, before)
	}
	list, err := filepath.Glob(filepath.Join(dir, "matrix.db*"))
	if err != nil || len(list) != 0 {
		t.Fatalf("left behind: %v %v", list, err)
	}
	_, err = matrix.Open(t.Context(), dir, nil)
	wantError(t, err, matrix.ErrNotLoggedIn)
	wantError(t, c.Logout(t.Context()), matrix.ErrClosed)
	_, err = c.Send(t.Context(), "!x:localhost", cancelOf("1"))
	wantError(t, err, matrix.ErrClosed)
}

func TestLogoutOffline(t *testing.T) {
	server := matrixtest.Start(t)
	dir := matrixtest.Login(t, server.NewUser("alice"), server.URL())
	server.Stop()
	c := matrixtest.Open(t, dir)
	err := c.Logout(t.Context())
	if err == nil || strings.Contains(err.Error(), "\n") {
		t.Fatalf("error is %v", err)
	}
	t.Log(err)
	c = matrixtest.Open(t, dir) // nothing was removed
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := matrix.Forget(dir); err != nil {
		t.Fatal(err)
	}
	_, err = matrix.Open(t.Context(), dir, nil)
	wantError(t, err, matrix.ErrNotLoggedIn)
}
