package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"github.com/matrixfs/matrixfs/matrix"
)

// opener opens an address in the browser of a desktop.
const opener = "xdg-open"

// maxPasted bounds a line that is pasted, in bytes. A terminal takes no more
// than 4096.
const maxPasted = 8192

// visitor is the person at the terminal, who logs in in a browser.
type visitor struct {
	con     *console
	reading sync.Once
	lines   chan string // closed at the end of the input
}

var _ matrix.Person = (*visitor)(nil)

// HasBrowser implements matrix.Person. Without a display there may be a browser
// for terminals; it would take this one.
func (v *visitor) HasBrowser() bool {
	_, err := exec.LookPath(opener)
	return err == nil && (os.Getenv("DISPLAY") != "" || os.Getenv("WAYLAND_DISPLAY") != "")
}

// Show implements matrix.Person.
func (v *visitor) Show(visit matrix.Visit) {
	address, comeback := printable(visit.Address, maxLine), printable(visit.Comeback, maxLine)
	switch {
	case visit.Wrong:
		fmt.Fprintf(v.con.err, "That is not it. The address begins with %s?\n", comeback)
	case visit.Code != "":
		fmt.Fprintf(v.con.err, "Log in in any browser, on any machine, at:\n\n  %s\n\nThe code is %s\n", address, safeText(visit.Code))
	default:
		fmt.Fprintf(v.con.err, "Log in in the browser, at:\n\n  %s\n\n", address)
		fmt.Fprintf(v.con.err, "If the browser is on another machine, it ends at a page that it can't open.\nPaste the address of that page here, it begins with %s?\n", comeback)
		if v.HasBrowser() {
			openBrowser(visit.Address)
		}
	}
}

// openBrowser starts the browser and leaves it alone: it may stay when this
// program ends, and if none comes, the person has the address.
func openBrowser(address string) {
	command := exec.Command(opener, address)
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is not for it
	if command.Start() == nil {
		_ = command.Process.Release()
	}
}

// Pasted implements matrix.Person. A read can't be called off, so the one that
// is under way when ctx ends goes on; the program is expected to end then.
func (v *visitor) Pasted(ctx context.Context) (string, error) {
	v.reading.Do(func() {
		v.lines = make(chan string)
		go v.read()
	})
	select {
	case line, ok := <-v.lines:
		if !ok {
			return "", io.EOF
		}
		return line, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// read reads lines until the input ends, or has a line that is too long.
func (v *visitor) read() {
	defer close(v.lines)
	scanner := bufio.NewScanner(v.con.in)
	scanner.Buffer(nil, maxPasted)
	for scanner.Scan() {
		v.lines <- scanner.Text()
	}
}
