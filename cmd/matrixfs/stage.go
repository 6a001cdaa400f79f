package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// stage runs the programs of the demo: those that come and go, and the mounts
// that stay. It prints each command as a person would type it.
type stage struct {
	dir     string // holds everything
	program string // this program
	out     io.Writer

	mu     sync.Mutex
	mounts []*kept // guarded by mu: hurry comes from another goroutine
}

// kept is a mount that stays.
type kept struct {
	*child
	point string
}

// child is a program that was started.
type child struct {
	command *exec.Cmd
	shown   string
	output  bytes.Buffer // of both kinds; to be read after the end
	ended   chan struct{}
	err     error // set before ended is closed
}

// endPatience is how long a mount gets to end by itself: it tells its peers,
// which takes up to 5 s where the homeserver does not answer.
const endPatience = 15 * time.Second

// path is the path of something in the demo's directory.
func (s *stage) path(name string) string { return filepath.Join(s.dir, name) }

// begin starts a shell script with its parameters in $1, $2, …, after having
// printed it with the parameters put in. "matrixfs" in it is this program.
func (s *stage) begin(ctx context.Context, script string, args ...string) (*child, error) {
	shown := script
	for i, arg := range args {
		shown = strings.ReplaceAll(shown, fmt.Sprintf(`"$%d"`, i+1), quote(arg))
	}
	fmt.Fprintf(s.out, "  $ %s\n", shown)
	if rest, ok := strings.CutPrefix(script, "matrixfs "); ok {
		script = `"$0" ` + rest
	}
	command := exec.CommandContext(ctx, "sh", append([]string{"-c", script, s.program}, args...)...)
	return startChild(command, shown)
}

// do runs such a script to its end, prints what it prints, and fails if it
// fails.
func (s *stage) do(ctx context.Context, script string, args ...string) (string, error) {
	c, err := s.begin(ctx, script, args...)
	if err != nil {
		return "", err
	}
	err = c.wait(ctx)
	for line := range strings.Lines(c.output.String()) {
		fmt.Fprintf(s.out, "  %s", line)
	}
	return c.output.String(), err
}

// keep mounts, waits until that has worked, and leaves the mount.
func (s *stage) keep(ctx context.Context, state, point string) error {
	shown := fmt.Sprintf("matrixfs mount --state %s %s", quote(state), quote(point))
	fmt.Fprintf(s.out, "  $ %s &\n", shown)
	command := exec.Command(s.program, "mount", "--state", state, point)
	told, said, err := os.Pipe()
	if err != nil {
		return err
	}
	defer told.Close()
	command.Stdout = said
	c, err := startChild(command, shown)
	_ = said.Close()
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.mounts = append(s.mounts, &kept{c, point})
	s.mu.Unlock()
	lines := make(chan string, 1)
	go func() { // ends with the line, or with the child
		line := make([]byte, 4200) // a path and some
		n, _ := told.Read(line)
		lines <- string(line[:n])
	}()
	select {
	case line := <-lines:
		if strings.HasPrefix(line, "mounted ") {
			fmt.Fprintf(s.out, "  %s", line)
			return nil
		}
		return c.wait(ctx)
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(demoPatience):
		return fmt.Errorf("%s: no mount within %v", shown, demoPatience)
	}
}

// await waits until a path is there. The demo looks as a person would.
func (s *stage) await(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, demoPatience, fmt.Errorf("%s did not appear", path))
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Lstat(path); err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// hurry tells the mounts a second time to end.
func (s *stage) hurry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.mounts {
		_ = m.command.Process.Signal(syscall.SIGTERM)
	}
}

// end ends the mounts and waits for them. An error means that one may be left.
func (s *stage) end() error {
	s.hurry()
	s.mu.Lock()
	mounts := s.mounts
	s.mu.Unlock()
	var errs []error
	for _, m := range mounts {
		select {
		case <-m.ended:
			errs = append(errs, m.failure())
		case <-time.After(endPatience):
			_ = m.command.Process.Kill()
			<-m.ended
			unmount := exec.Command("fusermount3", "-u", "-z", m.point)
			errs = append(errs, fmt.Errorf("%s did not end", m.shown), unmount.Run())
		}
	}
	return errors.Join(errs...)
}

// startChild starts a program in a process group of its own, so that Ctrl-C
// reaches only this program, which then ends things in their order. The kernel
// ends the child if this program is killed; as that is tied to the thread that
// started it, that thread waits for it.
func startChild(command *exec.Cmd, shown string) (*child, error) {
	c := &child{command: command, shown: shown, ended: make(chan struct{})}
	if command.Stdout == nil {
		command.Stdout = &c.output
	}
	command.Stderr = &c.output
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	dieWithUs(command.SysProcAttr)
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := command.Start()
		started <- err
		if err == nil {
			c.err = command.Wait()
			close(c.ended)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("%s: %w", shown, err)
	}
	return c, nil
}

// wait waits for the end of the child, which must have gone well.
func (c *child) wait(ctx context.Context) error {
	select {
	case <-c.ended:
		return c.failure()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// failure is the error of a child that has ended.
func (c *child) failure() error {
	if c.err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w: %s", c.shown, c.err, strings.TrimSpace(c.output.String()))
}

// quote writes a word so that a shell reads it as it is. Single quotes are
// what keeps an interactive bash from expanding "!room".
func quote(word string) string {
	if word != "" && !strings.ContainsFunc(word, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+=:,./-_", r)
	}) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
