package fs_test

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/matrixfs/matrixfs/fs"
	"github.com/matrixfs/matrixfs/fs/fstest"
	"github.com/matrixfs/matrixfs/transfer/transfertest"
)

// Environment variables of the test program.
const (
	// servant makes it mount there, until it is told to stop or killed.
	servant = "MATRIXFS_TEST_MOUNTPOINT"
	// servantOffers makes it offer itself a file that never comes to its end.
	servantOffers = "MATRIXFS_TEST_OFFERS"
	// servantDies is the time after which it kills itself, counted from the
	// beginning of mounting.
	servantDies = "MATRIXFS_TEST_DIES"
	// servantForAll makes the mount one for all users.
	servantForAll = "MATRIXFS_TEST_FOR_ALL"
)

// TestServant is not a test but what startServant runs.
func TestServant(t *testing.T) {
	point := os.Getenv(servant)
	if point == "" {
		return // the usual case: nothing to do here
	}
	hub := transfertest.NewHub(t)
	m := hub.Join(t, "@alice:test", "ALICE", nil)
	if os.Getenv(takes) != "" {
		go takeAll(hub.Join(t, "@bob:test", "BOB", nil))
	}
	if os.Getenv(servantOffers) != "" {
		out, err := hub.Join(t, "@bob:test", "BOB", nil).Exchange.Offer(hub.Room, "slow")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := out.Write(t.Context(), []byte("begins")); err != nil {
			t.Fatal(err)
		}
	}
	rooms := &fstest.Rooms{}
	rooms.Set(fs.Room{ID: hub.Room, Name: "Team Room"})
	if after, err := time.ParseDuration(os.Getenv(servantDies)); err == nil {
		go func() {
			time.Sleep(after)
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}()
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM) // before there is a mount that tells others to go on
	mounted, err := fs.Mount(fs.Options{
		Mountpoint: point, Rooms: rooms, Exchange: m.Exchange, AllowOther: os.Getenv(servantForAll) != "",
	})
	if err != nil {
		t.Fatal(err)
	}
	var stopping atomic.Bool
	go func() {
		<-stop
		stopping.Store(true)
		if mounted.Close() != nil {
			os.Exit(3)
		}
		os.Exit(0)
	}()
	if mounted.Wait(); stopping.Load() {
		select {} // the other one says how it ends
	}
}

// startServant mounts in another process, as the given user, and waits until
// it is usable.
func startServant(t *testing.T, point string, uid uint32) *program {
	t.Helper()
	p := launchServant(t, point, uid)
	eventually(t, "the mount of another process", func() bool {
		if !p.running() {
			t.Fatalf("it ended: %s%s", p.out.String(), p.err.String())
		}
		// In this order: a dead mount goes before the new one comes, and must
		// not be taken for it.
		_, dead := os.Stat(point)
		info, err := os.ReadFile("/proc/self/mountinfo")
		return err == nil && !errors.Is(dead, syscall.ENOTCONN) && strings.Contains(string(info), " "+point+" ")
	})
	return p
}

// launchServant is startServant, and does not wait.
func launchServant(t *testing.T, point string, uid uint32, env ...string) *program {
	t.Helper()
	remember(point)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir), filepath.Dir(point), point} {
		if d == point && mountsOn(t, d) > 0 {
			continue // dead; it has been changed before
		}
		if err := errors.Join(os.Chmod(d, 0o755), os.Chown(d, int(uid), -1)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(filepath.Join(dir, "servant"), "-test.run=^TestServant$")
	if out, err := exec.Command("cp", exe, cmd.Path).CombinedOutput(); err != nil {
		t.Fatalf("%s", out)
	}
	cmd.Env = append(append(os.Environ(), servant+"="+point, "TMPDIR="+dir), env...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	p := startCommand(t, cmd)
	t.Cleanup(func() {
		p.signal(syscall.SIGKILL)
		<-p.done
		_ = exec.Command("fusermount3", "-uz", point).Run()
	})
	return p
}

// TestDeadMount: a mount whose process was killed is taken over, with somebody
// standing in it and more than once.
func TestDeadMount(t *testing.T) {
	point := t.TempDir()
	for range 2 {
		p := startServant(t, point, 0)
		if err := fs.CheckMountpoint(point); !errors.Is(err, fs.ErrBusy) {
			t.Errorf("a live mount: %v", err)
		}
		shell := sh(t, `cd "$1/!room:test" && echo in && exec sleep 100`, point)
		eventually(t, "a shell in the mount", func() bool {
			link, _ := os.Readlink("/proc/" + strconv.Itoa(shell.cmd.Process.Pid) + "/cwd")
			return strings.HasPrefix(link, point)
		})
		p.signal(syscall.SIGKILL)
		_ = p.wait()
		if _, err := os.Stat(point); !errors.Is(err, syscall.ENOTCONN) {
			t.Fatalf("the mount is not dead: %v", err)
		}
		if err := fs.CheckMountpoint(point); err != nil {
			t.Errorf("a dead mount: %v", err)
		}
	}
	hub := transfertest.NewHub(t)
	m, err := fs.Mount(fs.Options{Mountpoint: point, Rooms: &fstest.Rooms{}, Exchange: hub.Join(t, "@a:test", "A", nil).Exchange})
	if err != nil {
		t.Fatal(err)
	}
	if err := fstest.NoPoll(point); err != nil {
		t.Fatal(err)
	}
	if names := list(t, point); len(names) != 1 {
		t.Errorf("it shows %q", names)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

// openFUSE makes /dev/fuse what it is on all distributions, for everybody to
// open, for as long as the test runs.
func openFUSE(t *testing.T) {
	t.Helper()
	info, err := os.Stat("/dev/fuse")
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() == 0o666 {
		return
	}
	if err := os.Chmod("/dev/fuse", 0o666); err != nil {
		t.Fatalf("this test needs a /dev/fuse that everybody may open: %v", err)
	}
	t.Cleanup(func() { _ = os.Chmod("/dev/fuse", info.Mode().Perm()) })
}

// TestOrdinaryUser: nobody mounts through fusermount3, and sees the tree; root
// does not.
func TestOrdinaryUser(t *testing.T) {
	openFUSE(t)
	point := t.TempDir()
	p := startServant(t, point, nobody)
	as := func(script string) *program { return asUser(t, nobody, "bash", "-c", script, "bash", point) }
	if out := string(as(`ls "$1"; stat -f -c %T "$1"; stat -c %U "$1/Team Room/"`).succeeds()); out != "!room:test\nTeam Room\nincoming\nfuseblk\nnobody\n" {
		t.Errorf("nobody sees %q", out)
	}
	if _, err := os.ReadDir(point); !errors.Is(err, os.ErrPermission) {
		t.Errorf("root sees it: %v", err)
	}
	options := string(start(t, "findmnt", "-n", "-o", "FSTYPE,OPTIONS", point).succeeds())
	for _, o := range []string{"fuse.matrixfs", "nosuid", "nodev", "noexec"} {
		if !strings.Contains(options, o) {
			t.Errorf("%s is not among %s", o, options)
		}
	}
	// A failing writer is seen by an ordinary user too.
	if as(`(echo half; exit 3) > "$1/Team Room/x"`).wait() == nil {
		t.Error("a failing shell succeeded")
	}
	as(`for i in {1..300}; do test -e "$1/Team Room/x" || exit 0; sleep 0.1; done; exit 1`).succeeds()
	as(`fusermount3 -u "$1"`).succeeds()
	_ = p.wait()
	if !strings.Contains(p.out.String(), "PASS") {
		t.Errorf("the mount ended with %s%s", p.out.String(), p.err.String())
	}

	// It also ends in good order while somebody stands in it.
	p = startServant(t, point, nobody)
	stays := as(`cd "$1/Team Room/" && exec sleep 100`)
	eventually(t, "somebody in the mount", func() bool {
		link, _ := os.Readlink("/proc/" + strconv.Itoa(stays.cmd.Process.Pid) + "/cwd")
		return strings.HasPrefix(link, point)
	})
	p.signal(syscall.SIGTERM)
	if err := p.wait(); err != nil {
		t.Errorf("unmounting as an ordinary user: %v: %s", err, p.err.String())
	}
	if info, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(info), point) {
		t.Errorf("it is still mounted (%v)", err)
	}
	stays.signal(syscall.SIGKILL)
	_ = stays.wait()
}

// TestBadMountpoint: each mistake gets one line that says what to do.
func TestBadMountpoint(t *testing.T) {
	dir := t.TempDir()
	full, _ := file(t, "file", 1)
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Dir(full), link); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{
		filepath.Join(dir, "none"): fs.ErrNotDir, full: fs.ErrNotDir, filepath.Dir(full): fs.ErrBusy, link: fs.ErrBusy,
		"/proc": fs.ErrBusy, "": fs.ErrNotDir, filepath.Join(full, "x"): fs.ErrNotDir,
	} {
		err := fs.CheckMountpoint(path)
		if !errors.Is(err, want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", path, err)
		}
		t.Log(err)
		if _, again := fs.Mount(fs.Options{Mountpoint: path, Rooms: &fstest.Rooms{}, Exchange: newWorld(t).alice.member.Exchange}); !errors.Is(again, want) {
			t.Errorf("Mount on %q: %v", path, again)
		}
	}
	if err := fs.CheckMountpoint(newWorld(t).alice.point); !errors.Is(err, fs.ErrBusy) {
		t.Errorf("a mount of ours: %v", err)
	} else {
		t.Log(err)
	}
	t.Setenv("PATH", dir)
	if os.Getuid() == 0 { // root needs no fusermount3
		if err := fs.CheckMountpoint(dir); !errors.Is(err, fs.ErrBusy) { // it holds link
			t.Error(err)
		}
	}
}

// TestWithoutFusermount: root mounts without it, and children do not inherit
// the connection.
func TestWithoutFusermount(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("this test needs root, to mount without fusermount3")
	}
	t.Setenv("PATH", t.TempDir())
	w := newWorld(t)
	out := string(start(t, "/bin/ls", "-l", "/proc/self/fd").succeeds())
	if strings.Contains(out, "/dev/fuse") {
		t.Errorf("a child has the connection: %s", out)
	}
	if names := list(t, w.alice.point); len(names) != 3 {
		t.Errorf("it shows %q", names)
	}
}

// TestCloseBusy: closing a mount that is in use ends all who wait in it.
func TestCloseBusy(t *testing.T) {
	w := newWorld(t)
	large, _ := file(t, "large", 20_000_000)
	small, _ := file(t, "small", 10)
	inWrite := start(t, "cp", large, w.alice.room)
	inClose := start(t, "cp", small, w.alice.room)
	w.bob.arrives("large")
	got := w.bob.arrives("small")
	back := sh(t, `(cat "$1"; sleep 100) > "$2"`, large, filepath.Join(w.bob.room, "back"))
	inRead := start(t, "cat", w.alice.arrives("back"))
	eventually(t, "the reader waits", func() bool { return attr(t, filepath.Join(w.alice.incoming, "back"), "state") == "streaming" })
	stays := sh(t, `cd "$1" && exec sleep 100`, w.alice.room)
	holds := sh(t, `exec 3>"$1/held"; exec sleep 100`, w.alice.room)
	eventually(t, "a file is held", func() bool { return exists(filepath.Join(w.alice.room, "held")) })
	began := time.Now()
	if err := w.alice.mount.Close(); err != nil {
		t.Error(err)
	}
	if d := time.Since(began); d > patience/4 {
		t.Errorf("closing took %v", d)
	}
	w.alice.mount.Wait()
	for _, p := range []*program{inWrite, inClose, inRead} {
		if p.wait() == nil {
			t.Errorf("%v succeeded", p.cmd.Args)
		}
		t.Logf("%s", p.err.String())
	}
	eventually(t, "the offer goes away", func() bool { return !exists(got) })
	if !stays.running() || !holds.running() {
		t.Error("a process was ended")
	}
	back.signal(syscall.SIGKILL)
	if names, err := os.ReadDir(w.alice.point); err != nil || len(names) != 0 {
		t.Errorf("still mounted: %v %v", names, err)
	}
	if err := w.alice.mount.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
}

// TestUnmountedByOthers: Wait returns.
func TestUnmountedByOthers(t *testing.T) {
	w := newWorld(t)
	// Whoever looks at the descriptors of all processes keeps it busy for a moment.
	eventually(t, "it is not busy", func() bool { return start(t, "fusermount3", "-u", w.alice.point).wait() == nil })
	w.alice.mount.Wait()
	if err := w.alice.mount.Close(); err != nil {
		t.Error(err)
	}
}
