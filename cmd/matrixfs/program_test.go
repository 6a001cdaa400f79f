package main_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for something that must happen. It is
// far more than any of it takes, because machines stall.
const patience = 60 * time.Second

// program is a child process, as a person would start it.
type program struct {
	t        testing.TB
	command  *exec.Cmd
	out, err transcript
	ended    chan struct{} // closed after the fields below are set
	code     int           // -1 if a signal ended it
	signal   syscall.Signal
	endedAt  time.Time
}

// transcript collects what a program prints; it may be read meanwhile.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (s *transcript) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// start starts a program in a process group of its own, so that a signal can
// reach it as Ctrl-C does: with all its children. It is killed if the test
// ends first.
func start(t testing.TB, name string, args ...string) *program {
	t.Helper()
	return startCommand(t, exec.Command(name, args...))
}

// shell starts a script. Its positional parameters are args, so that no
// quoting is needed.
func shell(t testing.TB, script string, args ...string) *program {
	t.Helper()
	return start(t, "bash", append([]string{"-c", script, "bash"}, args...)...)
}

func startCommand(t testing.TB, command *exec.Cmd) *program {
	t.Helper()
	p := &program{t: t, command: command, ended: make(chan struct{})}
	if command.Stdout == nil {
		command.Stdout = &p.out
	}
	command.Stderr = &p.err
	if command.Env == nil {
		command.Env = os.Environ()
	}
	command.Env = append(command.Env, "LC_ALL=C")
	if command.SysProcAttr == nil {
		command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	}
	if err := command.Start(); err != nil {
		t.Fatalf("can't start %s: %v", command.Path, err)
	}
	go func() {
		defer close(p.ended)
		_ = command.Wait()
		p.endedAt = time.Now()
		p.code = command.ProcessState.ExitCode()
		if status, ok := command.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			p.signal = status.Signal()
		}
	}()
	t.Cleanup(func() {
		select {
		case <-p.ended:
			return
		default:
		}
		_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL)
		select {
		case <-p.ended:
		case <-time.After(patience):
			t.Errorf("%s survived SIGKILL", p)
		}
	})
	return p
}

// String is the command line.
func (p *program) String() string { return strings.Join(p.command.Args, " ") }

// signalAll sends a signal to the program and its children.
func (p *program) signalAll(s syscall.Signal) {
	p.t.Helper()
	if err := syscall.Kill(-p.command.Process.Pid, s); err != nil {
		p.t.Errorf("can't send %v to %s: %v", s, p, err)
	}
}

// running reports whether the program has not ended yet.
func (p *program) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// wait waits for the end and gives the exit status.
func (p *program) wait() int {
	p.t.Helper()
	return p.waitFor(patience)
}

func (p *program) waitFor(limit time.Duration) int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(limit):
		p.t.Fatalf("%s has not ended after %v\n%s", p, limit, p.stacks())
	}
	return p.code
}

// stacks ends a program that hangs, and gives the last of what it prints: in
// the case of a Go program, where it hangs.
func (p *program) stacks() string {
	_ = p.command.Process.Signal(syscall.SIGQUIT)
	select {
	case <-p.ended:
	case <-time.After(5 * time.Second):
	}
	const most = 50_000
	said := p.err.String()
	return said[max(0, len(said)-most):]
}

// succeeds waits for exit status 0 and gives standard output.
func (p *program) succeeds() string {
	p.t.Helper()
	if code := p.wait(); code != 0 {
		p.t.Fatalf("%s: exit status %d, %s", p, code, p.complaint())
	}
	return p.out.String()
}

// fails waits for an exit status other than 0 and a complaint that contains
// text.
func (p *program) fails(text string) {
	p.t.Helper()
	if code := p.wait(); code == 0 {
		p.t.Errorf("%s: exit status 0, want a failure", p)
	}
	if !strings.Contains(p.complaint(), text) {
		p.t.Errorf("%s: complains %q, want %q", p, p.complaint(), text)
	}
}

// complaint is standard error of a program that has ended.
func (p *program) complaint() string { return strings.TrimSpace(p.err.String()) }

// eventually waits until condition is true. what says what did not happen.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	within(t, patience, what, condition)
}

func within(t testing.TB, limit time.Duration, what string, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// startHeld starts a script that prints "ready" and then reads a line. It
// returns once the script is ready; release lets it go on.
func startHeld(t testing.TB, script string, args ...string) (held *program, release func()) {
	t.Helper()
	return startHeldCommand(t, exec.Command("bash", append([]string{"-c", script, "bash"}, args...)...))
}

func startHeldCommand(t testing.TB, command *exec.Cmd) (held *program, release func()) {
	t.Helper()
	input, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	held = startCommand(t, command)
	eventually(t, held.String()+" is ready", func() bool {
		return !held.running() || strings.Contains(held.out.String(), "ready")
	})
	return held, func() {
		if _, err := input.Write([]byte("go\n")); err != nil {
			t.Errorf("%s does not listen: %v", held, err)
		}
	}
}
