package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/matrixfs/matrixfs/matrix"
)

// loginCommand logs in with a password, as a new device.
type loginCommand struct {
	stateFlag
	Homeserver   string `required:"" placeholder:"URL" help:"The homeserver, as https://matrix.example.org or matrix.example.org."`
	User         string `required:"" placeholder:"NAME" help:"The user, as alice or @alice:example.org."`
	PasswordFile string `placeholder:"FILE" help:"File with the password in its first line, - for standard input. Without it, the password is asked for."`
}

// errInterrupted: a signal came before the command was done.
var errInterrupted = errors.New("interrupted")

// Run logs in and tells who that is and how to go on.
func (c *loginCommand) Run(ctx context.Context, con *console) error {
	dir, err := c.dir()
	if err != nil {
		return err
	}
	ctx, stop := untilSignal(ctx, func() {})
	defer stop()
	password, err := passwordFrom(ctx, con, c.PasswordFile, c.User)
	if err != nil {
		return err
	}
	account, err := matrix.Login(ctx, matrix.LoginConfig{
		StateDir:   dir,
		Homeserver: homeserverURL(c.Homeserver),
		User:       c.User,
		Password:   password,
	})
	switch {
	case ctx.Err() != nil && err != nil:
		return errInterrupted
	case err != nil:
		return alreadyMounted(context.Background(), dir, err)
	}
	fmt.Fprintf(con.out, "logged in as %s, device %s\n", safeText(string(account.User)), safeText(string(account.Device)))
	fmt.Fprintf(con.out, "next: matrixfs mount%s MOUNTPOINT\n", stateHint(dir))
	return nil
}

// homeserverURL completes a bare server name. It never guesses http: that
// would send the password in the clear.
func homeserverURL(given string) string {
	if given = strings.TrimSpace(given); strings.Contains(given, "://") {
		return given
	}
	return "https://" + given
}
