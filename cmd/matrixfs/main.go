package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kong"
)

// The exit statuses. Scripts depend on them.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// commandLine is the whole command line, as kong reads it.
type commandLine struct {
	Login   loginCommand   `cmd:"" help:"Log in, and keep the login in the state directory."`
	Mount   mountCommand   `cmd:"" help:"Mount the rooms of the account until stopped."`
	Status  statusCommand  `cmd:"" help:"Show the transfers of a running mount."`
	Verify  verifyCommand  `cmd:"" help:"Verify this device (recovery key or emoji), or a person."`
	Logout  logoutCommand  `cmd:"" help:"End the login on the homeserver and remove the state."`
	Demo    demoCommand    `cmd:"" help:"Try everything on this machine: a homeserver, two people, two mounts."`
	Unit    unitCommand    `cmd:"" help:"Print a unit for systemd, which mounts at every login."`
	Version versionCommand `cmd:"" help:"Print the version."`

	Announce announceCommand `cmd:"" hidden:""`
}

// console is where a command reads and writes.
type console struct {
	in  *os.File
	out io.Writer
	err io.Writer
}

// usageError is a wrong command line that kong could not see.
type usageError string

func (e usageError) Error() string { return string(e) }

// quietError ends the program with status 1; everything has been said.
type quietError struct{}

func (quietError) Error() string { return "failed" }

func main() {
	con := &console{in: os.Stdin, out: os.Stdout, err: os.Stderr}
	if isMountHelper(os.Args[0]) {
		os.Exit(runHelper(os.Args[1:], con))
	}
	os.Exit(run(os.Args[1:], con))
}

// run executes the command line and returns the exit status.
func run(args []string, con *console) int {
	done := false
	var cli commandLine
	parser, err := kong.New(&cli,
		kong.Name("matrixfs"),
		kong.Description("Send files to the devices in a Matrix room with cp, receive them with cat."),
		kong.Writers(con.out, con.err),
		kong.Exit(func(int) { done = true }), // --help was printed
		kong.Vars{"state": defaultState(os.Getenv)},
		kong.Bind(con),
	)
	if err != nil {
		fmt.Fprintf(con.err, "matrixfs: %s\n", oneLine(err.Error()))
		return exitFailed
	}
	parsed, err := parser.Parse(args)
	if done {
		return exitOK
	}
	if err != nil {
		fmt.Fprintf(con.err, "matrixfs: %s; see matrixfs --help\n", oneLine(err.Error()))
		return exitUsage
	}
	parsed.BindTo(context.Background(), (*context.Context)(nil))
	return finish(con, parsed.Run())
}

// finish prints err as one line and gives the exit status for it.
func finish(con *console, err error) int {
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		fmt.Fprintf(con.err, "matrixfs: %s; see matrixfs --help\n", oneLine(err.Error()))
		return exitUsage
	case errors.Is(err, quietError{}):
		return exitFailed
	}
	fmt.Fprintf(con.err, "matrixfs: %s\n", oneLine(err.Error()))
	return exitFailed
}
