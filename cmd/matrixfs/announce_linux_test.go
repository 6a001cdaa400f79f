package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestAnnounce: an open file manager sees an offer come and go. The process
// that tells it holds nothing, and goes with the mount, however that ends.
func TestAnnounce(t *testing.T) {
	t.Parallel()
	alice, bob, room := home(t).pair(t)
	log := filepath.Join(t.TempDir(), "events")
	watcher := shell(t, `exec inotifywait -m -e create,delete --format '%e %f' "$1" > "$2"`, bob.incoming(""), log)
	eventually(t, "somebody watches", func() bool {
		return !watcher.running() || strings.Contains(watcher.err.String(), "Watches established")
	})
	sees := func(event string) {
		t.Helper()
		eventually(t, event, func() bool {
			b, err := os.ReadFile(log)
			return err == nil && slices.Contains(strings.Split(string(b), "\n"), event)
		})
	}
	cp := start(t, "cp", sample(t, "a.doc", 1000), alice.room(room))
	sees("CREATE a.doc")
	if offers := bob.offers(t); !slices.Equal(offers, []string{"a.doc"}) {
		t.Errorf("there is %q", offers)
	}
	cp.signalAll(syscall.SIGINT)
	cp.wait()
	sees("DELETE a.doc")

	crier := crierOf(t, bob.daemon.command.Process.Pid)
	if cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", crier)); cwd != "/" {
		t.Errorf("it stands in %q (%v)", cwd, err)
	}
	for fd, want := range []string{"pipe:", "pipe:", "/dev/null"} {
		if link, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", crier, fd)); !strings.HasPrefix(link, want) {
			t.Errorf("descriptor %d is %q (%v)", fd, link, err)
		}
	}
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", crier))
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range open[3:] {
		link, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", crier, fd.Name()))
		if !strings.HasPrefix(link, "/sys/fs/cgroup") && !strings.HasPrefix(link, "anon_inode:") { // the Go runtime's
			t.Errorf("it has %q open", link)
		}
	}

	bob.crash()
	gone := func() bool { return syscall.Kill(crier, 0) == syscall.ESRCH || state(crier) == "Z" }
	eventually(t, "it goes with a mount that was killed", gone)
	bob.mount()
	cp = start(t, "cp", sample(t, "b.doc", 1000), alice.room(room))
	bob.awaits(t, "b.doc")
	eventually(t, "another one", func() bool { return len(childrenOf(bob.daemon.command.Process.Pid)) == 1 })
	crier = crierOf(t, bob.daemon.command.Process.Pid)
	bob.stop()
	if !gone() {
		t.Error("it is left after an orderly end")
	}
	cp.signalAll(syscall.SIGINT)
	cp.wait()
}

// crierOf gives the one child of a mount.
func crierOf(t *testing.T, daemon int) int {
	t.Helper()
	children := childrenOf(daemon)
	if len(children) != 1 {
		t.Fatalf("the mount has the children %v", children)
	}
	return children[0]
}

func childrenOf(pid int) []int {
	var list []int
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, file := range files {
		b, _ := os.ReadFile(file)
		for _, word := range strings.Fields(string(b)) {
			if child, err := strconv.Atoi(word); err == nil {
				list = append(list, child)
			}
		}
	}
	return list
}

// state gives the letter for the state of a process (proc(5)).
func state(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, ok := strings.Cut(string(b), ") ")
	if err != nil || !ok {
		return ""
	}
	return rest[:1]
}
