package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"time"

	"golang.org/x/term"
)

// maxPassword bounds a password. Homeservers refuse far shorter ones.
const maxPassword = 4096

// errNoPassword: there is neither a file nor a person to ask.
var errNoPassword = errors.New("there is no terminal to ask for the password: give --password-file FILE, or - for standard input")

// passwordFrom reads the password from the file ("-" is standard input), or
// asks for it on the terminal where file is empty.
func passwordFrom(ctx context.Context, con *console, file, user string) (string, error) {
	if file != "" {
		return secretFrom(con, file, "password")
	}
	password, err := askSecret(ctx, con, fmt.Sprintf("Password of %s: ", safeText(user)), errNoPassword)
	if err == nil && password == "" {
		err = errors.New("the password is empty")
	}
	return password, err
}

// secretFrom reads a secret, which is called what, from a file ("-" is standard
// input).
func secretFrom(con *console, file, what string) (string, error) {
	from := con.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", fmt.Errorf("can't read the %s: %w", what, err)
		}
		defer f.Close()
		from = f
	}
	secret, err := readSecret(from, what)
	if err == nil && secret == "" {
		err = fmt.Errorf("the %s is empty", what)
	}
	return secret, err
}

// readSecret takes the first line: editors and echo end it with a newline.
func readSecret(r io.Reader, what string) (string, error) {
	content, err := io.ReadAll(io.LimitReader(r, maxPassword+1))
	if err != nil {
		return "", fmt.Errorf("can't read the %s: %w", what, err)
	}
	if len(content) > maxPassword {
		return "", fmt.Errorf("the %s is longer than %d bytes: is this the right file?", what, maxPassword)
	}
	line, _, _ := bytes.Cut(content, []byte("\n"))
	return string(bytes.TrimSuffix(line, []byte("\r"))), nil
}

// askSecret asks on the terminal without showing the answer. Where there is no
// terminal the error is missing. When ctx ends first, the terminal is put back
// as it was; the program is expected to end then, because the read itself can't
// be called off.
func askSecret(ctx context.Context, con *console, question string, missing error) (string, error) {
	fd := int(con.in.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", missing
	}
	type answer struct {
		password []byte
		err      error
	}
	answers := make(chan answer, 1)
	go func() {
		password, err := term.ReadPassword(fd)
		answers <- answer{password, err}
	}()
	awaitQuiet(fd, before)
	fmt.Fprint(con.err, question)
	select {
	case a := <-answers:
		fmt.Fprintln(con.err)
		if a.err != nil {
			return "", fmt.Errorf("can't read the answer: %w", a.err)
		}
		return string(a.password), nil
	case <-ctx.Done():
		_ = term.Restore(fd, before)
		fmt.Fprintln(con.err)
		return "", errInterrupted
	}
}

// awaitQuiet waits until the terminal, which was like before, shows no longer
// what is typed: who is quick would see the start of the answer. One that never
// shows it does not change.
func awaitQuiet(fd int, before *term.State) {
	const looks = 200
	for range looks {
		if now, err := term.GetState(fd); err != nil || !reflect.DeepEqual(now, before) {
			return
		}
		time.Sleep(time.Millisecond)
	}
}
