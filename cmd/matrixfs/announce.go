package main

import (
	"os"
	"os/exec"
	"runtime"

	"github.com/matrixfs/matrixfs/fs"
)

// announceName is the command that a mount starts for itself.
const announceName = "announce"

// announceCommand makes the system calls by which a mount tells file managers
// of changes. A person has no use for it.
type announceCommand struct{}

// The mount knows that process by its main thread, which only an init function
// can keep.
func init() {
	if len(os.Args) > 1 && os.Args[1] == announceName {
		runtime.LockOSThread()
	}
}

// Run serves until its input ends.
func (*announceCommand) Run(con *console) error { return fs.Announce(con.in, con.out) }

// newCrier makes the command. It is this very program, even if the file that it
// was started from has been replaced.
func newCrier() *exec.Cmd {
	return &exec.Cmd{
		Path: "/proc/self/exe",
		Args: []string{"matrixfs", announceName},
		Env:  []string{"GOMAXPROCS=1"}, // it does one thing at a time
	}
}
