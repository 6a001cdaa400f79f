package matrixtest

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/matrixfs/matrixfs/matrix"
	"github.com/matrixfs/matrixfs/transfer"
)

// Server is a homeserver that belongs to a test: whatever it can't do fails
// the test.
type Server struct {
	*Homeserver
	t testing.TB
}

// Start starts a homeserver for a test, the one that RunChosen runs. It is
// ended when the test is over, and its output is shown if the test has failed.
func Start(t testing.TB, opts ...Option) *Server {
	t.Helper()
	h, err := RunChosen(t.Context(), t.TempDir(), testWriter{t}, opts...)
	if err != nil {
		t.Fatalf("this test needs a homeserver: %v", err)
	}
	t.Cleanup(func() {
		_ = h.Close()
		if t.Failed() {
			t.Logf("the homeserver printed:\n%s", h.Output())
		}
	})
	return &Server{Homeserver: h, t: t}
}

// NewUser makes a user.
func (s *Server) NewUser(name string) *User {
	s.t.Helper()
	u, err := s.Register(s.t.Context(), name)
	if err != nil {
		s.t.Fatal(err)
	}
	return u
}

// NewRoom makes a room with everybody joined.
func (s *Server) NewRoom(creator *User, members []*User, opts ...RoomOption) transfer.RoomID {
	s.t.Helper()
	room, err := creator.CreateRoom(s.t.Context(), members, opts...)
	if err != nil {
		s.t.Fatal(err)
	}
	return room
}

// Restart starts the server again, at the same address and with the same data.
func (s *Server) Restart() {
	s.t.Helper()
	if err := s.Homeserver.Restart(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// Login logs a user in as matrixfs does, and gives the state directory. The
// homeserver is the URL of a server, or of a Proxy in front of it.
func Login(t testing.TB, u *User, homeserver string) (stateDir string) {
	t.Helper()
	stateDir = t.TempDir()
	if _, err := u.Login(t.Context(), homeserver, stateDir); err != nil {
		t.Fatal(err)
	}
	return stateDir
}

// Open opens a stored login, and closes it when the test is over.
func Open(t testing.TB, stateDir string, opts ...matrix.Option) *matrix.Client {
	t.Helper()
	log := slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	c, err := matrix.Open(t.Context(), stateDir, log, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// Eventually waits until cond holds, and fails the test if it does not within
// the time. It is for what can be seen but not waited for.
func Eventually(t testing.TB, within time.Duration, what string, cond func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	for !cond() {
		select {
		case <-ctx.Done():
			t.Fatalf("not within %s: %s", within, what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// testWriter passes what is written to the test's log.
type testWriter struct{ t testing.TB }

// Write implements io.Writer.
func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}
