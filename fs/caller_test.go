package fs

import (
	"os"
	"strings"
	"syscall"
	"testing"
)

// stat makes a line of /proc/PID/stat with the given flags and exit code.
func stat(flags, code string) []byte {
	fields := strings.Fields(strings.Repeat("0 ", 50))
	fields[0], fields[6], fields[49] = "S", flags, code
	return []byte("42 (a ) 7) b) " + strings.Join(fields, " ") + "\n")
}

func TestParseStat(t *testing.T) {
	for _, c := range []struct {
		flags, code string
		want        ending
		signaled    bool
	}{
		{"4194304", "0", ending{}, false},
		{"4194304", "768", ending{}, false}, // not exiting
		{"4194308", "0", ending{exiting: true}, false},
		{"4194308", "768", ending{exiting: true, failed: true}, false},
		{"4195332", "15", ending{exiting: true, failed: true, signal: syscall.SIGTERM}, true},
		{"4195332", "131", ending{exiting: true, failed: true, signal: syscall.SIGQUIT}, true}, // with a core dump
		{"4195332", "0", ending{exiting: true}, true},                                          // another thread called exit
	} {
		got, signaled := parseStat(stat(c.flags, c.code))
		if got != c.want || signaled != c.signaled {
			t.Errorf("flags %s, code %s: %+v %v", c.flags, c.code, got, signaled)
		}
	}
	for _, bad := range []string{"", ")", "1 (x) S 1", "1 (x) " + strings.Repeat("x ", 60)} {
		if got, _ := parseStat([]byte(bad)); got != (ending{}) {
			t.Errorf("%q: %+v", bad, got)
		}
	}
}

func TestParseStatm(t *testing.T) {
	for statm, want := range map[string]bool{
		"33 33 0 0 0 33 0\n": true, "0 0 0 0 0 0 0\n": false, "2240 512 400 5 0 200 0\n": false, "": false, "1 2 3": false,
	} {
		if got := parseStatm(statm); got != want {
			t.Errorf("%q: %v", statm, got)
		}
	}
	if executing("/proc/self/") {
		t.Error("this test runs")
	}
}

func TestParseCondemned(t *testing.T) {
	const (
		hup, interrupt, kill, alarm = "0000000000000001", "0000000000000002", "0000000000000100", "0000000000002000"
		stop, none, child           = "0000000000040000", "0000000000000000", "0000000000010000"
		tstp                        = "0000000000080000"
	)
	for _, c := range []struct {
		name                                      string
		thread, process, blocked, ignored, caught string
		want                                      bool
	}{
		{"nothing", none, none, none, none, none, false},
		{"SIGKILL", kill, none, none, none, none, true},
		{"Ctrl-C", none, interrupt, none, none, none, true},
		{"Ctrl-C, caught", none, interrupt, none, none, interrupt, true},
		{"Ctrl-C, ignored", none, interrupt, none, interrupt, none, false},
		{"Ctrl-C, blocked", none, interrupt, interrupt, none, none, false},
		{"hangup", hup, none, none, none, none, true},
		{"alarm", none, alarm, none, none, none, true},
		{"alarm, caught", none, alarm, none, none, alarm, false},
		{"Ctrl-Z", none, tstp, none, none, none, false},
		{"SIGSTOP", stop, none, none, none, none, false},
		{"SIGCHLD", none, child, none, none, child, false},
	} {
		status := "Name:\tcp\nSigPnd:\t" + c.thread + "\nShdPnd:\t" + c.process + "\nSigBlk:\t" + c.blocked +
			"\nSigIgn:\t" + c.ignored + "\nSigCgt:\t" + c.caught + "\n"
		if got := parseCondemned(status); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	if caller(os.Getpid()).condemned() || !caller(0).condemned() {
		t.Error("a thread that runs, or one that is not there")
	}
}

func TestMountInfo(t *testing.T) {
	got := parseMountInfo(`36 35 0:98 / /mnt/a\040b\134c rw,noatime shared:1 - fuse.matrixfs matrixfs rw,user_id=0`)
	if got == nil || *got != (mountInfo{minor: 98, point: `/mnt/a b\c`, fstype: "fuse.matrixfs"}) {
		t.Errorf("%+v", got)
	}
	for _, bad := range []string{"", "x", "1 2 3 4 5 6", "1 2 0:x / /p rw - t s", "1 2 - t"} {
		if got := parseMountInfo(bad); got != nil {
			t.Errorf("%q: %+v", bad, got)
		}
	}
}
