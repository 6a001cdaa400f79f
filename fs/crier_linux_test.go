package fs_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/matrixfs/matrixfs/fs"
	"github.com/matrixfs/matrixfs/transfer"
	"github.com/matrixfs/matrixfs/transfer/transfertest"
)

// crierEnv makes the test program a crier; its value is where to write its
// number to.
const crierEnv = "MATRIXFS_TEST_CRIER"

// A crier needs the main thread, which it has here.
func init() {
	path := os.Getenv(crierEnv)
	if path == "" {
		return
	}
	runtime.LockOSThread()
	err := os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())), 0o600)
	if err = errors.Join(err, fs.Announce(os.Stdin, os.Stdout)); err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

// crierIn gives the command of a crier that writes its number into dir.
func crierIn(dir string) func() *exec.Cmd {
	return func() *exec.Cmd {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = []string{crierEnv + "=" + filepath.Join(dir, "pid"), "GOMAXPROCS=1"}
		return cmd
	}
}

// newWatchedSide is newSide with a crier, which has written its number into
// the file that is returned when it is up.
func newWatchedSide(t testing.TB, hub *transfertest.Hub, user transfer.UserID, device transfer.DeviceID) (s *side, pid string) {
	t.Helper()
	dir := t.TempDir()
	return newSide(t, hub, user, device, nil, func(o *fs.Options) { o.Announce = crierIn(dir) }), filepath.Join(dir, "pid")
}

// TestCrierKilled: it comes back, and nothing is lost.
func TestCrierKilled(t *testing.T) {
	t.Parallel()
	hub := transfertest.NewHub(t)
	s, pidFile := newWatchedSide(t, hub, "@bob:test", "BOB")
	in := watch(t, s.incoming)
	post(hub, "@carol:test", "first", "first")
	in.sees("CREATE first")
	for round := range 2 {
		pid := crierOf(t, pidFile)
		for i := range 100 {
			post(hub, transfer.UserID(fmt.Sprintf("@carol%d:test", round)), transfer.ID(fmt.Sprint(round, "-", i)), fmt.Sprintf("file %d %d", round, i))
			if i == 50 {
				eventually(t, "some are told", func() bool { return len(in.names()) > round*100+1 })
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
			}
		}
		in.agrees(s.incoming)
		if again := crierOf(t, pidFile); again == pid {
			t.Error("it did not come back")
		}
	}
	if n := len(ls(t, s.incoming)); n != 201 {
		t.Errorf("%d offers are there", n)
	}
	// It may come back three times a minute: no more. All but the events is as
	// it was.
	if err := syscall.Kill(crierOf(t, pidFile), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	post(hub, "@dave:test", "last", "last")
	eventually(t, "the offer", func() bool { return slices.Contains(ls(t, s.incoming), "last") })
	start(t, "rm", filepath.Join(s.incoming, "last")).succeeds()
	in.sees("DELETE last")
}

// crierOf gives the number of the crier that started last.
func crierOf(t testing.TB, pidFile string) int {
	t.Helper()
	b, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(string(b))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// TestCloseWhileAnnouncing: the mount ends in good order, whoever ends it; the
// crier is gone, and has touched nothing of what lies under the mount.
func TestCloseWhileAnnouncing(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"close", "unmount", "lazy"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			hub := transfertest.NewHub(t)
			s, pidFile := newWatchedSide(t, hub, "@bob:test", "BOB")
			in := watch(t, s.point)
			ctx, cancel := context.WithCancel(t.Context())
			var storm sync.WaitGroup
			storm.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					s.rooms.Set(manyRooms(i % 50)...)
					time.Sleep(time.Millisecond)
				}
			})
			in.sees("CREATE,ISDIR !room0:example.org", "DELETE,ISDIR !room0:example.org")
			switch how {
			case "close":
			case "unmount":
				eventually(t, "it is unmounted", func() bool { return start(t, "fusermount3", "-u", s.point).wait() == nil })
				s.mount.Wait()
			case "lazy":
				start(t, "fusermount3", "-uz", s.point).succeeds()
				s.mount.Wait()
			}
			if err := s.mount.Close(); err != nil {
				t.Error(err)
			}
			s.mount.Wait()
			cancel()
			storm.Wait()
			if err := syscall.Kill(crierOf(t, pidFile), 0); !errors.Is(err, syscall.ESRCH) {
				t.Errorf("the crier is still there: %v", err)
			}
			if names := ls(t, s.point); len(names) != 0 {
				t.Errorf("under the mount there is %q", names)
			}
		})
	}
}

// TestOnlyTheCrier: what is granted to the crier is granted to nobody else,
// and the offers that it makes vanish are not those that a person removes.
func TestOnlyTheCrier(t *testing.T) {
	t.Parallel()
	hub := transfertest.NewHub(t)
	w := &world{hub: hub, alice: newSide(t, hub, "@alice:test", "ALICE", nil)}
	w.bob, _ = newWatchedSide(t, hub, "@bob:test", "BOB")
	in := watch(t, w.bob.incoming)
	// Somebody tries to do the crier's work while it does it, over and over.
	const python = `
import os, sys
root, incoming = sys.argv[1], sys.argv[1] + "/incoming"
granted, tried = [], 0
open(sys.argv[2], "w")
while os.path.exists(incoming + "/first"):
    for name in ["file %d" % i for i in range(20)]:
        for attempt in [lambda: os.mknod(incoming + "/" + name), lambda: os.mkdir(incoming + "/" + name), lambda: os.symlink("x", incoming + "/" + name),
            lambda: os.rmdir(incoming + "/" + name), lambda: os.rename(incoming + "/" + name, incoming + "/other"),
            lambda: os.unlink(root + "/Team Room"), lambda: os.mkdir(root + "/!new:test"), lambda: os.rmdir(root + "/!room:test")]:
            tried += 1
            try: attempt(); granted.append(name)
            except OSError: pass
print(granted, tried > 0)
print([n for n in os.listdir(root) if n.startswith(".")])`
	post(hub, "@carol:test", "first", "first")
	in.sees("CREATE first")
	ready := filepath.Join(t.TempDir(), "ready")
	meddler := start(t, "python3", "-c", python, w.bob.point, ready)
	eventually(t, "somebody meddles", func() bool { return exists(ready) })
	for i := range 200 {
		id := transfer.ID(strconv.Itoa(i))
		post(hub, "@carol:test", id, fmt.Sprintf("file %d", i%20))
		if i%20 == 19 {
			in.agrees(w.bob.incoming)
		}
		withdraw(hub, "@carol:test", id)
	}
	in.agrees(w.bob.incoming)
	cp, got, _ := w.offer(t, "real", 1000)
	in.sees("CREATE real")
	// A person's rm rejects, and is told once.
	start(t, "rm", got).succeeds()
	cp.failsWith("Connection refused")
	start(t, "rm", filepath.Join(w.bob.incoming, "first")).succeeds()
	if out := string(meddler.succeeds()); out != "[] True\n[]\n" {
		t.Errorf("%s", out)
	}
	for _, event := range []string{"DELETE real", "DELETE first"} {
		if n := in.count(event); n != 1 {
			t.Errorf("%q came %d times", event, n)
		}
	}
	cancels := 0
	for _, r := range hub.Log() {
		if _, ok := r.Message.(*transfer.Cancel); ok && r.From.User == "@bob:test" {
			cancels++
		}
	}
	if cancels != 2 { // "real" and "first"
		t.Errorf("bob has rejected %d offers, not 2", cancels)
	}
}

// TestNoCrier: where it can't be started, or the kernel does not tell that it
// is the one who calls, all works but the events. Nothing that it asks for is
// taken for the wish of a person.
func TestNoCrier(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, crier := range map[string]func() *exec.Cmd{
		"missing": func() *exec.Cmd { return exec.Command("/nonexistent") },
		"unknown": func() *exec.Cmd {
			cmd := exec.Command("bash", "-c", `"$0"; exit`, exe) // a child of the process that is known
			cmd.Env = []string{crierEnv + "=/dev/null"}
			return cmd
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hub := transfertest.NewHub(t)
			said := make(warnings, 1)
			s := newSide(t, hub, "@bob:test", "BOB", nil, func(o *fs.Options) {
				o.Announce, o.Logger = crier, slog.New(slog.NewTextHandler(said, &slog.HandlerOptions{Level: slog.LevelWarn}))
			})
			in := watch(t, s.incoming)
			post(hub, "@carol:test", "1", "a")
			select {
			case line := <-said:
				if !strings.Contains(line, "do not see changes") {
					t.Errorf("it warns of %q", line)
				}
			case <-time.After(patience):
				t.Fatal("it does not warn")
			}
			withdraw(hub, "@carol:test", "1")
			post(hub, "@carol:test", "2", "a")
			eventually(t, "the second offer", func() bool {
				list := s.member.Exchange.Incoming()
				return len(list) == 1 && list[0].ID() == "2"
			})
			if names := ls(t, s.incoming); !slices.Equal(names, []string{"a"}) {
				t.Errorf("there is %q", names)
			}
			start(t, "rm", filepath.Join(s.incoming, "a")).succeeds()
			in.sees("DELETE a")
			if n := len(in.events()); n != 1 {
				t.Errorf("a watcher heard %q", in.events())
			}
		})
	}
}

// warnings gets what is logged, and drops what nobody takes.
type warnings chan string

func (w warnings) Write(p []byte) (int, error) {
	select {
	case w <- string(p):
	default:
	}
	return len(p), nil
}
