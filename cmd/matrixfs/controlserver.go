package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// The control socket speaks HTTP: it brings deadlines, limits and an orderly
// end, and "curl --unix-socket" can ask it. It knows GET /status, and POST /verify,
// which turns into a dialog (see verifyProtocol).
const (
	controlName    = "control.sock"
	controlTimeout = 5 * time.Second // for a whole request: all is answered from memory
)

// controlServer answers questions about a running mount on a socket in the
// state directory. Whoever starts one must hold the lock of the state.
type controlServer struct {
	path   string
	server *http.Server
	verify verifyFunc
	open   context.Context // of the dialogs; ended by shut
	shut   func()
	done   sync.WaitGroup
}

// startControl listens in the state directory and answers with what state
// gives and does what verify does, which are called from many goroutines. A socket that a dead mount
// left behind is replaced.
func startControl(stateDir string, state func() report, verify verifyFunc, log *slog.Logger) (*controlServer, error) {
	listener, err := listenIn(stateDir)
	if err != nil {
		return nil, fmt.Errorf("can't open the control socket in %s: %w", stateDir, err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		// An error here is the client's going away.
		_ = json.NewEncoder(w).Encode(state())
	})
	s := &controlServer{
		verify: verify,
		path:   filepath.Join(stateDir, controlName),
		server: &http.Server{
			Handler:        mux,
			ReadTimeout:    controlTimeout,
			WriteTimeout:   controlTimeout,
			IdleTimeout:    controlTimeout,
			MaxHeaderBytes: 4 << 10, // a request line and a few headers
			ErrorLog:       slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		},
	}
	s.open, s.shut = context.WithCancel(context.Background())
	mux.HandleFunc("POST /verify", s.serveVerify)
	s.done.Go(func() { _ = s.server.Serve(listener) }) // always ends with ErrServerClosed
	return s, nil
}

// Close removes the socket, ends dialogs, lets other requests under way finish,
// and waits.
func (s *controlServer) Close() {
	s.shut()
	_ = os.Remove(s.path)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if s.server.Shutdown(ctx) != nil {
		_ = s.server.Close()
	}
	s.done.Wait()
}

// listenIn binds the socket under a name of its own and renames it, so that
// the right name is never missing, nor there before somebody listens. The
// directory is addressed through a descriptor: a socket's path may have 107
// bytes, and a state directory's is often longer.
func listenIn(stateDir string) (net.Listener, error) {
	dir, err := os.Open(stateDir)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	temporary := fmt.Sprintf(".%s.%d", controlName, os.Getpid())
	if err := os.Remove(filepath.Join(stateDir, temporary)); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: throughDescriptor(dir, temporary)})
	if err != nil {
		return nil, err
	}
	listener.SetUnlinkOnClose(false) // its name changes now
	from := filepath.Join(stateDir, temporary)
	err = os.Chmod(from, 0o600)
	if err == nil {
		err = os.Rename(from, filepath.Join(stateDir, controlName))
	}
	if err != nil {
		_ = listener.Close()
		_ = os.Remove(from)
		return nil, err
	}
	return listener, nil
}

// throughDescriptor is a short path to a name in an open directory.
func throughDescriptor(dir *os.File, name string) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), name)
}
