package main_test

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The password can be typed: it is not shown, and Ctrl-C leaves the terminal
// as it was.
func TestPasswordIsAskedFor(t *testing.T) {
	t.Parallel()
	h := home(t)
	who := h.person(t)
	state := filepath.Join(t.TempDir(), "state")
	// "script" gives the program a terminal.
	ask := func() (*program, io.Writer) {
		command := exec.Command("script", "-qec",
			`trap : INT; "$PROGRAM" login --state "$STATE" --homeserver "$URL" --user "$NAME"; echo "status $?"; stty -a | tr ' ;' '\n\n' | grep '^-*echo$'`,
			"/dev/null")
		command.Env = append(os.Environ(), "PROGRAM="+h.binary, "STATE="+state, "URL="+h.url(), "NAME="+who.Name, "SHELL=/bin/sh")
		keyboard, err := command.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		session := startCommand(t, command)
		eventually(t, "the password is asked for", func() bool {
			return !session.running() || strings.Contains(session.out.String(), "Password of "+who.Name+": ")
		})
		return session, keyboard
	}
	typed := func(keyboard io.Writer, text string) {
		if _, err := io.WriteString(keyboard, text); err != nil {
			t.Fatal(err)
		}
	}
	session, keyboard := ask()
	typed(keyboard, "\x03") // Ctrl-C
	said := session.succeeds()
	if !strings.Contains(said, "matrixfs: interrupted") || !strings.Contains(said, "status 1") || !strings.Contains(said, "\necho") {
		t.Errorf("after Ctrl-C: %q", said)
	}
	session, keyboard = ask()
	typed(keyboard, who.Password+"\n")
	said = session.succeeds()
	if !strings.Contains(said, "logged in as ") || !strings.Contains(said, "status 0") {
		t.Errorf("after the password: %q", said)
	}
	if strings.Contains(said, who.Password) {
		t.Error("the password was shown")
	}
}
