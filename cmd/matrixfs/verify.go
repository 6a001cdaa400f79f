package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/matrixfs/matrixfs/matrix"
	"github.com/matrixfs/matrixfs/transfer"
)

// verifyCommand makes devices and people trusted.
type verifyCommand struct {
	stateFlag
	Emoji           bool   `help:"Compare emoji with another device of the account, which is verified."`
	Wait            bool   `help:"Wait for the other side to ask, be it a device of the account or somebody else."`
	Setup           bool   `help:"Give an account that has none an identity, and print its recovery key."`
	RecoveryKeyFile string `placeholder:"FILE" help:"File with the recovery key or passphrase in its first line, - for standard input. Without it, it is asked for."`
	PasswordFile    string `placeholder:"FILE" help:"For --setup: file with the account's password in its first line, - for standard input."`
	User            string `arg:"" optional:"" placeholder:"USER" help:"Verify this person instead, as @bob:example.org, by comparing emoji."`
}

// Run verifies, in the mount that has the state if there is one.
func (c *verifyCommand) Run(ctx context.Context, con *console) error {
	dir, err := c.dir()
	if err != nil {
		return err
	}
	if err := c.check(); err != nil {
		return err
	}
	ctx, stop := untilSignal(ctx, func() {})
	defer stop()
	v, err := openVerifier(ctx, dir)
	if err != nil {
		return err
	}
	defer v.close()
	err = c.verify(ctx, con, v)
	if ctx.Err() != nil && err != nil {
		return errInterrupted
	}
	return err
}

// check refuses flags that say two things.
func (c *verifyCommand) check() error {
	var ways []string
	for name, given := range map[string]bool{
		"--emoji": c.Emoji, "--wait": c.Wait, "--setup": c.Setup, "--recovery-key-file": c.RecoveryKeyFile != "", "USER": c.User != "",
	} {
		if given {
			ways = append(ways, name)
		}
	}
	switch {
	case len(ways) > 1:
		return usageError("give one of --emoji, --wait, --setup, --recovery-key-file and USER")
	case c.PasswordFile != "" && !c.Setup:
		return usageError("--password-file is for --setup")
	case c.User != "" && (!strings.HasPrefix(c.User, "@") || !strings.Contains(c.User, ":")):
		return usageError(fmt.Sprintf("%q is not a user: give it as @bob:example.org", safeText(c.User)))
	}
	return nil
}

// verify does what the flags say.
func (c *verifyCommand) verify(ctx context.Context, con *console, v verifier) error {
	person := newDialog(con)
	switch {
	case c.Setup:
		return c.setUp(ctx, con, v)
	case c.Wait:
		person.Tell("Waiting for a request; ask for it on the other side. Ctrl-C ends it.")
		return perform(ctx, con, v, verifyJob{Do: doAnswer}, person)
	case c.User != "":
		return perform(ctx, con, v, verifyJob{Do: doCompare, User: transfer.UserID(c.User)}, person)
	case c.Emoji:
		return perform(ctx, con, v, verifyJob{Do: doCompare}, person)
	}
	return c.verifyThis(ctx, con, v, person)
}

// perform does a job and says what came of it.
func perform(ctx context.Context, con *console, v verifier, job verifyJob, person matrix.Judge) error {
	result, err := v.do(ctx, job, person)
	if err != nil {
		return err
	}
	fmt.Fprintln(con.out, result.text())
	return nil
}

// verifyThis makes this device a verified one, with the recovery key, or with
// emoji if the person gives none.
func (c *verifyCommand) verifyThis(ctx context.Context, con *console, v verifier, person matrix.Judge) error {
	now, err := v.do(ctx, verifyJob{Do: doStanding}, person)
	if err != nil {
		return err
	}
	switch now.Standing {
	case matrix.NoIdentity:
		return matrix.ErrNoIdentity
	case matrix.Vouching:
		fmt.Fprintln(con.out, "this device is verified already")
		return nil
	}
	secret, err := c.recoveryKey(ctx, con)
	if err != nil {
		return err
	}
	if secret == "" {
		return perform(ctx, con, v, verifyJob{Do: doCompare}, person)
	}
	return perform(ctx, con, v, verifyJob{Do: doRecover, Secret: secret}, person)
}

// errNoRecoveryKey: there is neither a file nor a person to ask.
var errNoRecoveryKey = errors.New("there is no terminal to ask for the recovery key: give --recovery-key-file FILE, - for standard input, or --emoji")

// recoveryKey reads it from the file, or asks for it. It is empty where the
// person has just pressed Enter.
func (c *verifyCommand) recoveryKey(ctx context.Context, con *console) (string, error) {
	if c.RecoveryKeyFile != "" {
		return secretFrom(con, c.RecoveryKeyFile, "recovery key")
	}
	return askSecret(ctx, con, "Recovery key or passphrase (Enter alone: compare emoji with another device): ", errNoRecoveryKey)
}

// setUp gives the account an identity. The recovery key alone goes to standard
// output, so that it can be kept.
func (c *verifyCommand) setUp(ctx context.Context, con *console, v verifier) error {
	now, err := v.do(ctx, verifyJob{Do: doStanding}, newDialog(con))
	if err != nil {
		return err
	}
	if now.Standing == matrix.Unverified || now.Standing == matrix.Verified {
		return matrix.ErrIdentity // somebody else's work; nothing to ask for
	}
	password, err := passwordFrom(ctx, con, c.PasswordFile, string(now.Account))
	if err != nil {
		return err
	}
	result, err := v.do(ctx, verifyJob{Do: doSetUp, Secret: password}, newDialog(con))
	if err != nil {
		return err
	}
	fmt.Fprintln(con.err, "The account has an identity now, and this device is verified.")
	fmt.Fprintln(con.err, "This is its recovery key. It verifies your other devices, and is shown this once: keep it where you will find it and nobody else does.")
	_, err = fmt.Fprintln(con.out, safeText(result.RecoveryKey))
	return err
}
