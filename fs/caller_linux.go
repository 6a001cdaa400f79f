package fs

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// proc gives the path of a file about the thread under /proc. The directory of
// a thread is there, although no listing shows it.
func (c caller) proc(name string) string { return "/proc/" + strconv.Itoa(int(c)) + "/" + name }

// program is the name of the program, at most 15 bytes of it.
func (c caller) program() string {
	b, err := os.ReadFile(c.proc("comm"))
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(string(b), "\n")
}

// command is the command line of the thread's program, or the start of one
// longer than limit bytes, which is not whole. Not for one that may have files of
// the mount in its memory: reading this could wait for it.
func (c caller) command(limit int) (args []string, whole bool) {
	f, err := os.Open(c.proc("cmdline"))
	if err != nil {
		return nil, false
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, int64(limit)))
	if err != nil || len(b) == 0 {
		return nil, false
	}
	return strings.Split(string(bytes.TrimRight(b, "\x00")), "\x00"), len(b) < limit
}

// process is the number of the thread's process.
func (c caller) process() int {
	if pid := c.status("Tgid"); pid != 0 {
		return pid
	}
	return int(c)
}

// parent is the process that has started the thread's, or 0.
func (c caller) parent() caller { return caller(c.status("PPid")) }

// status gives a number from /proc/PID/status, or 0.
func (c caller) status(key string) int {
	b, err := os.ReadFile(c.proc("status"))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if name, value, _ := strings.Cut(line, ":"); name == key {
			n, _ := strconv.Atoi(strings.TrimSpace(value))
			return n
		}
	}
	return 0
}

// Flags in /proc/PID/stat (linux/sched.h).
const (
	pfExiting  = 0x4
	pfSignaled = 0x400
)

// ending tells whether the thread is ending, and how.
func (c caller) ending() ending {
	if executing(c.proc("")) {
		return ending{executing: true} // and /proc/PID/stat would wait
	}
	b, err := os.ReadFile(c.proc("stat"))
	if err != nil {
		return ending{}
	}
	e, signaled := parseStat(b)
	if signaled && !e.failed && c.secretive() {
		e.failed = true
	}
	return e
}

// executing reports whether a process is on its way to become another program.
// The kernel closes files for it then, and holds a lock meanwhile that its stat,
// and the links under its fd, wait for: who handles a FLUSH for it and looks at
// them waits for himself, and can't be killed. Its comm, status, statm and fdinfo
// do not wait, nor does a listing of its fd. process is a directory of /proc, with
// a slash.
func executing(process string) bool {
	b, err := os.ReadFile(process + "statm")
	return err == nil && parseStatm(string(b))
}

// parseStatm reads /proc/PID/statm (proc(5)): a process that has memory, but no
// code in it, has not been loaded yet. Those of the kernel have neither.
func parseStatm(statm string) bool {
	fields := strings.Fields(statm)
	return len(fields) > 3 && fields[0] != "0" && fields[3] == "0"
}

// secretive reports whether the kernel hides the exit code of the thread from
// us (it then shows as 0), as it does for programs with more rights than ours.
func (c caller) secretive() bool {
	_, err := os.Readlink(c.proc("cwd"))
	return errors.Is(err, os.ErrPermission)
}

// parseStat reads the flags (field 9) and the exit code (field 52; its form is
// that of wait(2)) of /proc/PID/stat (proc(5)). What killed a process is told
// by the code: the flag is also set in the threads that end because another
// one has called exit.
func parseStat(stat []byte) (e ending, signaled bool) {
	// The second field, the name, may hold anything.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 50 {
		return ending{}, false
	}
	flags, err1 := strconv.ParseUint(fields[6], 10, 64)
	code, err2 := strconv.ParseInt(fields[49], 10, 64)
	if err1 != nil || err2 != nil || flags&pfExiting == 0 {
		return ending{}, false
	}
	return ending{exiting: true, failed: code != 0, signal: syscall.Signal(code & 0x7f)}, flags&pfSignaled != 0
}

// pleas are the signals by which a program is asked to end. One that catches
// them wants to end as much as one that does not.
const pleas = 1<<(syscall.SIGHUP-1) | 1<<(syscall.SIGINT-1) | 1<<(syscall.SIGQUIT-1) | 1<<(syscall.SIGTERM-1)

// harmless are the signals that do not end a program which does not catch
// them: they stop it, let it go on, or do nothing.
const harmless = 1<<(syscall.SIGSTOP-1) | 1<<(syscall.SIGTSTP-1) | 1<<(syscall.SIGTTIN-1) | 1<<(syscall.SIGTTOU-1) |
	1<<(syscall.SIGCONT-1) | 1<<(syscall.SIGCHLD-1) | 1<<(syscall.SIGURG-1) | 1<<(syscall.SIGWINCH-1)

// condemned reports whether a signal is waiting for the thread that will end
// it, or asks it to end. A thread that can't be looked at counts as such.
func (c caller) condemned() bool {
	b, err := os.ReadFile(c.proc("status"))
	return err != nil || parseCondemned(string(b))
}

func parseCondemned(status string) bool {
	var thread, process, blocked, ignored, caught uint64
	for line := range strings.Lines(status) {
		name, value, _ := strings.Cut(line, ":")
		into := map[string]*uint64{
			"SigPnd": &thread, "ShdPnd": &process, "SigBlk": &blocked, "SigIgn": &ignored, "SigCgt": &caught,
		}[name]
		if into != nil {
			*into, _ = strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		}
	}
	pending := (thread | process) &^ blocked &^ ignored
	fatal := pending &^ caught &^ harmless
	return fatal|pending&pleas != 0
}
