package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/matrixfs/matrixfs/transfer"
)

// A socket works in a directory whose path is longer than a socket's may be,
// is private, replaces a dead one, and goes away.
func TestControlSocket(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 60))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := askStatus(t.Context(), dir); !errors.Is(err, errNotMounted) {
		t.Errorf("nobody there: %v", err)
	}
	log := slog.New(slog.DiscardHandler)
	told := report{User: "@a:x", PID: 1, Transfers: []transfer.Status{{Name: "a", State: transfer.Elsewhere}}}
	state := func() report { return told }
	dead, err := listenIn(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := askStatus(t.Context(), dir); !errors.Is(err, errNotMounted) {
		t.Errorf("a dead socket: %v", err)
	}
	server, err := startControl(dir, state, nil, log)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(filepath.Join(dir, controlName))
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("the socket is %v (%v)", info, err)
	}
	got, err := askStatus(t.Context(), dir)
	if err != nil || got.User != told.User || len(got.Transfers) != 1 || got.Transfers[0].State != transfer.Elsewhere {
		t.Errorf("got %+v, %v", got, err)
	}
	// Somebody who connects and says nothing does not keep it from closing.
	silent, err := dialIn(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	server.Close()
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := askStatus(t.Context(), dir); !errors.Is(err, errNotMounted) {
		t.Errorf("after the end: %v", err)
	}
}

// What is no matrixfs is an error, not a hang or a crash.
func TestControlSocketOfSomethingElse(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"garbage":    "garbage\n",
		"nothing":    "",
		"no JSON":    "HTTP/1.0 200 OK\r\n\r\n<html>",
		"an error":   "HTTP/1.0 500 Internal Server Error\r\n\r\n",
		"no ending":  "HTTP/1.0 200 OK\r\n\r\n{\"user_id\": \"",
		"wrong type": "HTTP/1.0 200 OK\r\n\r\n{\"pid\": \"one\"}",
	} {
		dir := t.TempDir()
		listener, err := listenIn(dir)
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan struct{})
		go func() {
			defer close(served)
			answerOnce(listener, answer)
		}()
		if _, err := askStatus(context.Background(), dir); err == nil || errors.Is(err, errNotMounted) {
			t.Errorf("%s: error is %v", name, err)
		}
		_ = listener.Close()
		<-served
	}
}

// answerOnce takes one connection and one request, and says answer to it.
func answerOnce(listener net.Listener, answer string) {
	conn, err := listener.Accept()
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = conn.Read(make([]byte, 4096))
	_, _ = conn.Write([]byte(answer))
}
