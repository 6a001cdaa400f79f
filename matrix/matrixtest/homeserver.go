package matrixtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/synapseadmin"
)

// Times of the server.
const (
	// startTimeout is for starting; it takes a second or two on an idle machine.
	startTimeout = time.Minute
	// stopTimeout is for stopping cleanly, after which the server is killed.
	stopTimeout = 10 * time.Second
	// startTries is how many ports are tried: one found free can be taken
	// before the server has it.
	startTries = 3
)

// Homeserver is a homeserver in a child process. Its methods are safe for
// concurrent use.
type Homeserver struct {
	software software
	dir      string
	secret   string
	output   output

	// mu guards what follows, and is held while the process starts or stops.
	mu      sync.Mutex
	address string // host:port; the same after Restart
	proc    *process
}

// process is one run of the server.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when it has ended
	err    error         // why; set before exited is closed
}

// software is what a homeserver runs.
type software interface {
	// name is what people call it.
	name() string
	// configure writes the configuration into dir, for a server that listens
	// at address and lets accounts be made by those who know the secret. The
	// server's data in dir, if there is any, stays usable.
	configure(dir, address, secret string, o options) error
	// command is the server's process, not started. It does not fork.
	command(dir, address string) *exec.Cmd
}

// Run starts a Dendrite with its data in dir, which is made if need be, and
// waits until it answers. progress, which may be nil, is told of a build.
func Run(ctx context.Context, dir string, progress io.Writer, opts ...Option) (*Homeserver, error) {
	binary, err := Binary(ctx, progress)
	if err != nil {
		return nil, err
	}
	return run(ctx, dendrite{binary}, dir, opts)
}

func run(ctx context.Context, what software, dir string, opts []Option) (*Homeserver, error) {
	o := options{name: ServerName}
	for _, opt := range opts {
		opt(&o)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	h := &Homeserver{software: what, dir: dir, secret: rand.Text()}
	for range startTries {
		if h.address, err = freeAddress(); err != nil {
			return nil, err
		}
		if err = what.configure(dir, h.address, h.secret, o); err != nil {
			return nil, err
		}
		if err = h.Restart(ctx); err == nil || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	return h, nil
}

// freeAddress gives an address on loopback that nobody listens at.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// URL is the address of the homeserver.
func (h *Homeserver) URL() string { return "http://" + h.address }

// Output gives what the server has printed, the last of it if it was much.
func (h *Homeserver) Output() string { return h.output.String() }

// Restart starts the server again, at the same address and with the same data,
// and waits until it answers. A server that runs is stopped first.
func (h *Homeserver) Restart(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.end(syscall.SIGTERM)
	if err := h.start(); err != nil {
		return fmt.Errorf("%s could not be started: %w", h.software.name(), err)
	}
	if err := h.await(ctx); err != nil {
		h.end(syscall.SIGKILL)
		return fmt.Errorf("%s did not come up: %w\n%s", h.software.name(), err, h.output.String())
	}
	return nil
}

// start starts the process. On Linux it dies with this one, even if this one is
// killed; that is tied to the thread that started it, so that thread waits for
// it.
func (h *Homeserver) start() error {
	p := &process{cmd: h.software.command(h.dir, h.address), exited: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &h.output, &h.output
	p.cmd.WaitDelay = time.Second
	dieWithParent(p.cmd)
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
			close(p.exited)
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	h.proc = p
	return nil
}

// await waits until the server answers. There is nothing to wait for but that.
func (h *Homeserver) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.URL()+"/_matrix/client/versions", nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-h.proc.exited:
			return fmt.Errorf("it ended: %w", errors.Join(h.proc.err, err))
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Stop ends the server cleanly. Its data stays, for Restart.
func (h *Homeserver) Stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.end(syscall.SIGTERM)
}

// Kill ends the server as a crash would. Its data stays, for Restart.
func (h *Homeserver) Kill() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.end(syscall.SIGKILL)
}

// Close ends the server. Its directory stays.
func (h *Homeserver) Close() error {
	h.Stop()
	return nil
}

// end ends the process if there is one, and waits for it. The caller holds mu.
func (h *Homeserver) end(sig syscall.Signal) {
	p := h.proc
	if p == nil {
		return
	}
	h.proc = nil
	_ = p.cmd.Process.Signal(sig) // it may have ended already
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-p.exited:
	case <-timer.C:
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

// Register makes a user with a random password. name is the local part, in
// lower case.
func (h *Homeserver) Register(ctx context.Context, name string) (*User, error) {
	api, err := mautrix.NewClient(h.URL(), "", "")
	if err != nil {
		return nil, err
	}
	// Each user has connections of its own, which Register's caller can close.
	api.Client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	u := &User{Name: name, Password: rand.Text(), API: api}
	admin := &synapseadmin.Client{Client: api}
	name = strings.ToLower(name)
	resp, err := admin.SharedSecretRegister(ctx, h.secret, synapseadmin.ReqSharedSecretRegister{Username: name, Password: u.Password})
	if isLocked(err) { // the account is there, and its device is not
		err = unlocked(ctx, func() error {
			_, err := api.Login(ctx, &mautrix.ReqLogin{
				Type: mautrix.AuthTypePassword, Password: u.Password, StoreCredentials: true,
				Identifier: mautrix.UserIdentifier{Type: mautrix.IdentifierTypeUser, User: name},
			})
			return err
		})
		if err == nil {
			return u, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("user %s could not be made: %w", name, err)
	}
	api.UserID, api.DeviceID, api.AccessToken = resp.UserID, resp.DeviceID, resp.AccessToken
	return u, nil
}

// maxOutput bounds what is kept of the server's output, in bytes.
const maxOutput = 256 << 10

// output keeps the end of what is written to it.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf.Write(p)
	if extra := o.buf.Len() - maxOutput; extra > 0 {
		o.buf.Next(extra)
	}
	return len(p), nil
}

// String gives what is kept.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// Dir is the directory of the server's data.
func (h *Homeserver) Dir() string { return h.dir }
