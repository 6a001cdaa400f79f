package fs

import (
	"bytes"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// noAtime is the flag of open(2) with which indexers and the like open files.
const noAtime = unix.O_NOATIME

// maxCommand bounds how much of a command line is looked at, in bytes.
const maxCommand = 4096

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
	r.addCommand(process.command())
	return r
}

// command is the command line, or the start of a long one.
func (c caller) command() []string {
	f, err := os.Open(c.proc("cmdline"))
	if err != nil {
		return nil
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxCommand))
	if err != nil || len(b) == 0 {
		return nil
	}
	return strings.Split(string(bytes.TrimRight(b, "\x00")), "\x00")
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
