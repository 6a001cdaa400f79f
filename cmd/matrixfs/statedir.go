package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/matrixfs/matrixfs/matrix"
)

// stateFlag is the --state of every command that needs an account.
type stateFlag struct {
	State string `env:"MATRIXFS_STATE" default:"${state}" type:"path" placeholder:"DIR" help:"State directory (default: matrixfs in $$XDG_STATE_HOME or ~/.local/state)."`
}

// dir gives the state directory, or says that there is none.
func (f stateFlag) dir() (string, error) {
	if f.State == "" {
		return "", usageError("no home directory to keep the state in: give --state DIR")
	}
	return f.State, nil
}

// defaultState follows the XDG base directory specification. It is empty
// where neither $XDG_STATE_HOME nor $HOME says anything usable: relative
// paths there are to be ignored.
func defaultState(getenv func(string) string) string {
	if base := getenv("XDG_STATE_HOME"); filepath.IsAbs(base) {
		return filepath.Join(base, "matrixfs")
	}
	if home := getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", "matrixfs")
	}
	return ""
}

// stateHint is the --state that a next command needs to find the same state,
// or nothing where it finds it by itself.
func stateHint(dir string) string {
	if dir == defaultState(os.Getenv) || dir == os.Getenv("MATRIXFS_STATE") {
		return ""
	}
	return " --state " + dir
}

// alreadyMounted says who uses the state, where err is that somebody does and
// they tell. Every other error is given back as it is.
func alreadyMounted(ctx context.Context, dir string, err error) error {
	if !errors.Is(err, matrix.ErrInUse) {
		return err
	}
	told, askErr := askStatus(ctx, dir)
	if askErr != nil {
		return err
	}
	return fmt.Errorf("already mounted at %s (pid %d): stop that one first, or use another --state", told.Mountpoint, told.PID)
}
