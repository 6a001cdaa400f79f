package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// maxPassword bounds a password. Homeservers refuse far shorter ones.
const maxPassword = 4096

// errNoPassword: there is neither a file nor a person to ask.
var errNoPassword = errors.New("there is no terminal to ask for the password: give --password-file FILE, or - for standard input")

// passwordFrom reads the password from the file ("-" is standard input), or
// asks for it on the terminal where file is empty.
func passwordFrom(ctx context.Context, con *console, file, user string) (string, error) {
	var password string
	var err error
	switch file {
	case "":
		password, err = askPassword(ctx, con, user)
	case "-":
		password, err = readPassword(con.in)
	default:
		var f *os.File
		if f, err = os.Open(file); err != nil {
			return "", fmt.Errorf("can't read the password: %w", err)
		}
		defer f.Close()
		password, err = readPassword(f)
	}
	if err != nil {
		return "", err
	}
	if password == "" {
		return "", errors.New("the password is empty")
	}
	return password, nil
}

// readPassword takes the first line: editors and echo end it with a newline.
func readPassword(r io.Reader) (string, error) {
	content, err := io.ReadAll(io.LimitReader(r, maxPassword+1))
	if err != nil {
		return "", fmt.Errorf("can't read the password: %w", err)
	}
	if len(content) > maxPassword {
		return "", fmt.Errorf("the password is longer than %d bytes: is this the right file?", maxPassword)
	}
	line, _, _ := bytes.Cut(content, []byte("\n"))
	return string(bytes.TrimSuffix(line, []byte("\r"))), nil
}

// askPassword asks on the terminal without showing the answer. When ctx ends
// first, the terminal is put back as it was; the program is expected to end
// then, because the read itself can't be called off.
func askPassword(ctx context.Context, con *console, user string) (string, error) {
	fd := int(con.in.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", errNoPassword
	}
	fmt.Fprintf(con.err, "Password of %s: ", safeText(user))
	type answer struct {
		password []byte
		err      error
	}
	answers := make(chan answer, 1)
	go func() {
		password, err := term.ReadPassword(fd)
		answers <- answer{password, err}
	}()
	select {
	case a := <-answers:
		fmt.Fprintln(con.err)
		if a.err != nil {
			return "", fmt.Errorf("can't read the password: %w", a.err)
		}
		return string(a.password), nil
	case <-ctx.Done():
		_ = term.Restore(fd, before)
		fmt.Fprintln(con.err)
		return "", errInterrupted
	}
}
