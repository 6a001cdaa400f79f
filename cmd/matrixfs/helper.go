package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// The exit statuses of mount(8) and its helpers.
const (
	mountWrong  = 1  // wrong options
	mountFailed = 32 // the mount failed
)

// helperNames are the names by which mount(8) calls this program, for the
// types fuse.matrixfs and matrixfs.
var helperNames = []string{"mount.fuse.matrixfs", "mount.matrixfs"}

// isMountHelper reports whether the program was called by mount(8).
func isMountHelper(name string) bool { return slices.Contains(helperNames, filepath.Base(name)) }

// helperCommand is how mount(8) calls its helpers ("External helpers" there).
type helperCommand struct {
	Sloppy     bool     `short:"s"`
	Fake       bool     `short:"f"`
	NoMtab     bool     `short:"n"`
	Verbose    bool     `short:"v"`
	Namespace  string   `short:"N"`
	Type       string   `short:"t"`
	Options    []string `short:"o" sep:","`
	Source     string   `arg:""`
	Mountpoint string   `arg:""`
}

// generic are options of mount(8) that are its own business, or that every
// mount of ours has anyway.
var generic = []string{
	"rw", "defaults", "auto", "noauto", "user", "nouser", "users", "owner", "group", "nofail", "_netdev", "comment",
	"nosuid", "nodev", "noexec", "atime", "noatime", "relatime", "norelatime", "async", "silent", "loud",
}

// runHelper mounts for mount(8), in the background, and gives the exit status.
func runHelper(args []string, con *console) int {
	var c helperCommand
	parser, err := kong.New(&c, kong.Name("mount.matrixfs"), kong.NoDefaultHelp(), kong.Writers(con.out, con.err))
	if err != nil {
		fmt.Fprintf(con.err, "matrixfs: %s\n", oneLine(err.Error()))
		return mountFailed
	}
	if _, err := parser.Parse(args); err != nil {
		fmt.Fprintf(con.err, "matrixfs: %s; usage: mount.matrixfs NAME MOUNTPOINT [-o OPTIONS]\n", oneLine(err.Error()))
		return mountWrong
	}
	flags, err := c.flags()
	if err != nil {
		fmt.Fprintf(con.err, "matrixfs: %s\n", oneLine(err.Error()))
		return mountWrong
	}
	if c.Fake {
		return exitOK
	}
	if err := completeEnvironment(); err != nil {
		fmt.Fprintf(con.err, "matrixfs: %s\n", oneLine(err.Error()))
		return mountFailed
	}
	ctx, stop := untilSignal(context.Background(), func() { os.Exit(mountFailed) })
	defer stop()
	return mountStatus(con, startInBackground(ctx, con, append(flags, "--", c.Mountpoint)))
}

// mountStatus gives the exit status for how a mount in the background started.
// One that ended has said why.
func mountStatus(con *console, err error) int {
	var ended *exec.ExitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &ended) && ended.ExitCode() == exitUsage:
		return mountWrong
	case !errors.Is(err, errNotMountedHere):
		fmt.Fprintf(con.err, "matrixfs: %s\n", oneLine(err.Error()))
	}
	return mountFailed
}

// flags translates the options of mount(8) to flags of "matrixfs mount".
func (c *helperCommand) flags() ([]string, error) {
	if c.Namespace != "" {
		return nil, usageError("a mount for another namespace must be made in that namespace: use nsenter")
	}
	known, err := mountFlags()
	if err != nil {
		return nil, err
	}
	var flags []string
	if c.Verbose {
		flags = append(flags, "--verbose")
	}
	for _, option := range c.Options {
		name, value, hasValue := strings.Cut(option, "=")
		flag := strings.ReplaceAll(name, "_", "-") // allow_other, as elsewhere
		takesValue, isFlag := known[flag]
		switch {
		case option == "", slices.Contains(generic, name), strings.HasPrefix(name, "x-"), strings.HasPrefix(name, "X-"):
		case isFlag && takesValue != hasValue:
			return nil, usageError(fmt.Sprintf("the option %s must be written %s", name, map[bool]string{true: name + "=VALUE", false: name}[takesValue]))
		case isFlag && hasValue:
			flags = append(flags, "--"+flag+"="+value)
		case isFlag:
			flags = append(flags, "--"+flag)
		case name == "ro":
			return nil, usageError("the option ro is refused: reading a file accepts it, so nothing here is read-only")
		case c.Sloppy:
		default:
			return nil, usageError(fmt.Sprintf("the option %s is not known: see matrixfs mount --help for those that are", safeText(name)))
		}
	}
	return flags, nil
}

// mountFlags gives the flags of "matrixfs mount" that a person may use, and
// which of them take a value.
func mountFlags() (map[string]bool, error) {
	parser, err := kong.New(&struct {
		Mount mountCommand `cmd:""`
	}{}, kong.Vars{"state": ""})
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, command := range parser.Model.Children {
		for _, flag := range command.Flags {
			if !flag.Hidden && flag.Name != "help" {
				known[flag.Name] = !flag.IsBool()
			}
		}
	}
	return known, nil
}

// completeEnvironment adds what mount(8) keeps from its helpers, and systemd
// from its mount units.
func completeEnvironment() error {
	if os.Getenv("PATH") == "" {
		if err := os.Setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"); err != nil {
			return err
		}
	}
	if os.Getenv("HOME") == "" {
		if us, err := user.Current(); err == nil {
			return os.Setenv("HOME", us.HomeDir)
		}
	}
	return nil
}
