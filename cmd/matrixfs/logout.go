package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/matrixfs/matrixfs/matrix"
	"github.com/matrixfs/matrixfs/transfer"
)

// logoutCommand ends a login for good.
type logoutCommand struct {
	stateFlag
	Force bool `help:"Remove the state even if it is damaged or the homeserver can't be told; the device stays listed there."`
}

// Run ends the device at the homeserver and removes the state. It refuses
// while a mount works with it.
func (c *logoutCommand) Run(ctx context.Context, con *console) error {
	dir, err := c.dir()
	if err != nil {
		return err
	}
	ctx, stop := untilSignal(ctx, func() {})
	defer stop()
	told, err := endLogin(ctx, dir)
	if err != nil && c.Force && !errors.Is(err, matrix.ErrInUse) && !errors.Is(err, matrix.ErrNotLoggedIn) {
		told, err = "state removed", matrix.Forget(dir)
	}
	switch {
	case ctx.Err() != nil && err != nil:
		return errInterrupted
	case errors.Is(err, transfer.ErrOffline):
		return fmt.Errorf("%w: try again later, or use --force to remove the state only", err)
	case err != nil:
		return alreadyMounted(context.Background(), dir, err)
	}
	for _, name := range []string{cacheName, logName} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("logged out, but can't remove what is left: %w", err)
		}
	}
	fmt.Fprintln(con.out, told)
	return nil
}

// endLogin ends the device and says who that was.
func endLogin(ctx context.Context, dir string) (told string, err error) {
	client, err := matrix.Open(ctx, dir, nil)
	if err != nil {
		return "", err
	}
	account := client.Account()
	if err := client.Logout(ctx); err != nil { // closes the client, too
		return "", err
	}
	return fmt.Sprintf("logged out %s, device %s", safeText(string(account.User)), safeText(string(account.Device))), nil
}
