package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"syscall"
)

// maxReport bounds an answer: the exchange tells of some hundred transfers,
// and none takes 4 KiB.
const maxReport = 8 << 20

// errNotMounted: no mount runs with this state.
var errNotMounted = errors.New("not mounted")

// askStatus asks the mount that runs with this state. It fails with
// errNotMounted where there is none.
func askStatus(ctx context.Context, stateDir string) (report, error) {
	ctx, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	var told report
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, // one question, then no goroutine left
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialIn(ctx, stateDir)
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://matrixfs/status", nil)
	if err != nil {
		return told, err
	}
	response, err := client.Do(request)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return told, errNotMounted
	case err != nil:
		return told, fmt.Errorf("the running mount does not answer: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return told, fmt.Errorf("the running mount answers %q", response.Status)
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxReport)).Decode(&told); err != nil {
		return told, fmt.Errorf("can't understand the running mount: %w", err)
	}
	return told, nil
}

// dialIn connects to the control socket, see listenIn.
func dialIn(ctx context.Context, stateDir string) (net.Conn, error) {
	dir, err := os.Open(stateDir)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	var dialer net.Dialer
	return dialer.DialContext(ctx, "unix", throughDescriptor(dir, controlName))
}
