package fs

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// noAtime is the flag of open(2) with which indexers and the like open files.
const noAtime = unix.O_NOATIME

// who tells the names of the thread's program. It reads no links: those of a
// process within execve wait for a lock that it holds, and may never get.
func (c caller) who() program {
	var r program
	if c == 0 {
		r.hidden = true
		return r
	}
	process := caller(c.process())
	name := process.program()
	r.add(name)
	if thread := c.program(); thread != name {
		r.add(thread)
	}
	r.hidden = len(r.names) == 0
	args, _ := process.command(maxCommand)
	r.addCommand(args)
	return r
}

// gone reports whether the thread has ended. One that has been killed stays,
// as a zombie, until somebody asks how it ended.
func (c caller) gone() bool {
	b, err := os.ReadFile(c.proc("status"))
	if err != nil {
		return true
	}
	for line := range strings.Lines(string(b)) {
		if state, ok := strings.CutPrefix(line, "State:"); ok {
			return strings.ContainsAny(state[:min(len(state), 3)], "ZX")
		}
	}
	return true
}
