package main_test

import (
	"io"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"github.com/jedib0t/go-pretty/v6/text"
)

// onTerminal starts a program on a terminal of a size. What it prints is in out;
// type types.
func onTerminal(t *testing.T, width, height uint16, name string, args ...string) (p *program, out *transcript, typed func(string)) {
	t.Helper()
	keyboard, screen, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := pty.Setsize(keyboard, &pty.Winsize{Cols: width, Rows: height}); err != nil {
		t.Fatal(err)
	}
	out = &transcript{}
	read := make(chan struct{})
	t.Cleanup(func() { // after the program has ended
		<-read
		_ = keyboard.Close()
	})
	go func() {
		defer close(read)
		_, _ = io.Copy(out, keyboard) // fails when the last program has left the terminal
	}()
	defer screen.Close()
	command := exec.Command(name, args...)
	command.Stdin, command.Stdout = screen, screen
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true} // so that Ctrl-C reaches it
	p = startCommand(t, command)
	return p, out, func(keys string) {
		if _, err := keyboard.WriteString(keys); err != nil {
			t.Error(err)
		}
	}
}

// painted is where --watch begins to paint over what it has painted.
var painted = regexp.MustCompile(`\x1b\[[0-9]+A\x1b\[J`)

// On a terminal, --watch shows bars in place. Ctrl-C ends it, and so does the
// end of the mount.
func TestStatusWatchOnTerminal(t *testing.T) {
	t.Parallel()
	alice, bob, room := home(t).pair(t)
	watch := func() (*program, *transcript, func(string)) {
		return onTerminal(t, 40, 12, alice.binary(), "status", "--state", alice.state, "--watch")
	}
	first, out, typed := watch()
	eventually(t, "it is painted in place", func() bool { return len(painted.FindAllString(out.String(), -1)) >= 2 })
	start(t, "cp", sample(t, "\u751f\u547d a name that is longer than the terminal is wide.bin", 1<<20), alice.room(room))
	eventually(t, "the offer is shown", func() bool { return strings.Contains(out.String(), "offered, 1.0 MiB, ") })
	eventually(t, "the receiver sees it", func() bool { return len(bob.offers(t)) == 1 })
	start(t, "cat", bob.incoming(bob.offers(t)[0])).succeeds()
	eventually(t, "its end is shown", func() bool { return strings.Contains(out.String(), "delivered, 1.0 MiB") })
	typed("\x03")
	first.succeeds()
	frames := painted.Split(out.String(), -1)
	for _, frame := range frames {
		lines := strings.Split(frame, "\r\n")
		if len(lines) > 12 {
			t.Errorf("%d lines are painted on a terminal of 12:\n%s", len(lines), frame)
		}
		for _, line := range lines {
			if n := text.StringWidth(line); n > 40 || strings.Contains(line, "\x1b") {
				t.Errorf("%d columns are painted on a terminal of 40: %q", n, line)
			}
		}
	}

	second, out, _ := watch()
	eventually(t, "it runs", func() bool { return strings.Contains(out.String(), "delivered") })
	alice.stop()
	second.succeeds()
	eventually(t, "it says why it ends", func() bool { return strings.HasSuffix(out.String(), "The mount has ended.\r\n") })
}
