package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/matrixfs/matrixfs/matrix"
)

// loginCommand logs in, as a new device.
type loginCommand struct {
	stateFlag
	Homeserver   string `placeholder:"URL" help:"The homeserver, as https://matrix.example.org or matrix.example.org. Without it, the server of --user is asked where it is."`
	User         string `placeholder:"NAME" help:"The user, as @alice:example.org, or alice with --homeserver. With --homeserver, --sso and --oauth do without."`
	PasswordFile string `placeholder:"FILE" help:"File with the password in its first line, - for standard input. Without it, the password is asked for."`
	SSO          bool   `name:"sso" xor:"method" help:"Log in in the browser, with the homeserver's single sign-on."`
	OAuth        bool   `name:"oauth" xor:"method" help:"Log in with OAuth 2.0: in the browser, or with a code."`
	OAuthFlow    string `name:"oauth-flow" enum:"auto,browser,device" default:"auto" placeholder:"HOW" help:"With --oauth: browser (of this machine, or paste its last address), device (a code, in any browser), or auto (browser if one opens here)."`
}

// errInterrupted: a signal came before the command was done.
var errInterrupted = errors.New("interrupted")

// Run logs in and tells who that is and how to go on.
func (c *loginCommand) Run(ctx context.Context, con *console) error {
	if err := c.check(); err != nil {
		return err
	}
	dir, err := c.dir()
	if err != nil {
		return err
	}
	ctx, stop := untilSignal(ctx, func() {})
	defer stop()
	cfg := matrix.LoginConfig{StateDir: dir, User: c.User, Method: c.method(), Person: &visitor{con: con}}
	if c.Homeserver != "" {
		cfg.Homeserver = homeserverURL(c.Homeserver)
	}
	if cfg.Method == matrix.MethodPassword {
		if cfg.Password, err = passwordFrom(ctx, con, c.PasswordFile, c.User); err != nil {
			return err
		}
	}
	account, err := matrix.Login(ctx, cfg)
	switch {
	case ctx.Err() != nil && err != nil:
		return interruptedBy(err)
	case err != nil:
		return alreadyMounted(context.Background(), dir, err)
	}
	fmt.Fprintf(con.out, "logged in as %s, device %s\n", safeText(string(account.User)), safeText(string(account.Device)))
	fmt.Fprintf(con.out, "next: matrixfs mount%s MOUNTPOINT\n", stateHint(dir))
	return nil
}

// interruptedBy adds what a person must know of a login that was interrupted:
// a device that could not be removed.
func interruptedBy(err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return errors.Join(append([]error{errInterrupted}, joined.Unwrap()[1:]...)...)
	}
	return errInterrupted
}

// check refuses flags that don't go together.
func (c *loginCommand) check() error {
	c.User = strings.TrimSpace(c.User)
	browser := c.SSO || c.OAuth
	switch {
	case c.User == "" && !browser:
		return usageError("a password login needs --user, as --user @alice:example.org")
	case c.Homeserver == "" && (!strings.HasPrefix(c.User, "@") || !strings.Contains(c.User, ":")):
		return usageError("which homeserver? Give a full user name, as --user @alice:example.org, or --homeserver URL")
	case browser && c.PasswordFile != "":
		return usageError("--password-file does not go with --sso and --oauth")
	case !c.OAuth && c.OAuthFlow != "auto":
		return usageError("--oauth-flow goes with --oauth")
	}
	return nil
}

// method is what the flags ask for.
func (c *loginCommand) method() matrix.Method {
	switch {
	case c.SSO:
		return matrix.MethodSSO
	case c.OAuth && c.OAuthFlow == "browser":
		return matrix.MethodOAuthBrowser
	case c.OAuth && c.OAuthFlow == "device":
		return matrix.MethodOAuthDevice
	case c.OAuth:
		return matrix.MethodOAuth
	}
	return matrix.MethodPassword
}

// homeserverURL completes a bare server name. It never guesses http: that
// would send the password in the clear.
func homeserverURL(given string) string {
	if given = strings.TrimSpace(given); strings.Contains(given, "://") {
		return given
	}
	return "https://" + given
}
