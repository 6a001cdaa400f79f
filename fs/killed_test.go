package fs_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/matrixfs/matrixfs/fs"
)

// moment is when a mount is killed, and by whom it is used then.
type moment struct {
	what string
	// use starts programs that use the mount, and waits until they do.
	use func(*victim) []*program
	// suicide is the time after which the mount kills itself, counted from the
	// beginning of mounting. With 0 it is killed when use is over.
	suicide time.Duration
	// clean: the dead mount of before is taken away first.
	clean bool
}

// victim is a mount that will be killed.
type victim struct {
	*program
	t     *testing.T
	point string
	uid   uint32
	large string // a file that is larger than the window
}

// as starts a script for the user of the mount. $1 is its directory.
func (v *victim) as(script string, args ...string) *program {
	v.t.Helper()
	return asUser(v.t, v.uid, append([]string{"bash", "-c", script, "bash", v.point}, args...)...)
}

// seen asks a program of the user: nobody else can look.
func (v *victim) seen(what, script string, args ...string) {
	v.t.Helper()
	eventually(v.t, what, func() bool {
		if !v.running() {
			v.t.Fatalf("the mount has ended: %s%s", v.out.String(), v.err.String())
		}
		return v.as(script, args...).wait() == nil
	})
}

// moments: at each of them a mount is killed.
func moments(random *rand.Rand) []moment {
	shows := moment{what: "as soon as it shows", clean: true, use: func(v *victim) []*program {
		eventually(v.t, "the mount shows", func() bool { return !v.running() || mountsOn(v.t, v.point) > 0 })
		return nil
	}}
	all := []moment{
		shows, shows, shows,
		{what: "while a write waits", use: func(v *victim) []*program {
			v.usable()
			cp := v.as(`cp "$2" "$1/Team Room/large"`, v.large)
			v.seen("the window fills", `test "$(stat -c %s "$1/Team Room/large")" -ge 8388608`)
			return []*program{cp}
		}},
		{what: "while a read waits", use: func(v *victim) []*program {
			v.usable()
			v.seen("the offer", `test -e "$1/incoming/slow"`)
			cat := v.as(`cat "$1/incoming/slow"`)
			v.seen("the transfer starts", `test "$(getfattr --only-values -n user.matrix.state "$1/incoming/slow")" = streaming`)
			return []*program{cat}
		}},
		{what: "while a close waits and somebody stands in it", use: func(v *victim) []*program {
			v.usable()
			cp := v.as(`cd "$1/Team Room" && echo small | dd of=small`)
			v.seen("the close waits", `test "$(getfattr --only-values -n user.matrix.state "$1/Team Room/small")" = offered`)
			return []*program{cp}
		}},
	}
	for range 8 {
		after := time.Duration(random.Int64N(int64(50 * time.Millisecond)))
		all = append(all, moment{
			what: fmt.Sprint("after ", after), suicide: after + 1,
			use: func(v *victim) []*program {
				pid := fmt.Sprint(v.cmd.Process.Pid)
				return []*program{
					v.as(`while kill -0 "$2"; do ls "$1" "$1/incoming"; cat "$1/incoming/slow"; done; false`, pid),
					v.as(`while kill -0 "$2"; do test -d "$1/Team Room" && cp "$3" "$1/Team Room/$RANDOM"; done; false`, pid, v.large),
				}
			},
		})
	}
	return all
}

// TestKilledAnyTime: a mount whose process is killed at any moment leaves
// nobody hanging, and the next one takes over.
func TestKilledAnyTime(t *testing.T) {
	openFUSE(t)
	large, _ := file(t, "large", 10<<20)
	for dir := large; dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, uid := range map[string]uint32{"root": 0, "ordinary user": nobody} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			point := t.TempDir()
			remember(point)
			for _, m := range moments(rand.New(rand.NewPCG(2354, uint64(uid)))) {
				if m.clean && mountsOn(t, point) > 0 {
					asUser(t, uid, "fusermount3", "-uz", point).succeeds()
				}
				env := []string{servantOffers + "=1"}
				if m.suicide > 0 {
					env = append(env, servantDies+"="+m.suicide.String())
				}
				v := &victim{program: launchServant(t, point, uid, env...), t: t, point: point, uid: uid, large: large}
				v.dieAt(m)
			}
			last := &victim{program: launchServant(t, point, uid), t: t, point: point, uid: uid}
			last.usable()
			last.signal(syscall.SIGTERM)
			if err := last.wait(); err != nil {
				t.Errorf("the last mount: %v: %s%s", err, last.out.String(), last.err.String())
			}
			if n := mountsOn(t, point); n != 0 {
				t.Errorf("%d mounts are left", n)
			}
		})
	}
}

// dieAt lets the mount be killed at that moment, and looks at what is left.
func (v *victim) dieAt(m moment) {
	v.t.Helper()
	before := mountsOn(v.t, v.point)
	users := m.use(v)
	if m.suicide == 0 {
		v.signal(syscall.SIGKILL)
	}
	if v.wait() == nil || !v.killed() {
		v.t.Fatalf("%s: it was not killed: %s%s", m.what, v.out.String(), v.err.String())
	}
	for _, u := range users {
		if u.wait() == nil {
			v.t.Errorf("%s: %v succeeded", m.what, u.cmd.Args)
		}
	}
	left := mountsOn(v.t, v.point)
	if left > max(before, 1) {
		v.t.Errorf("%s: %d mounts are left, there were %d", m.what, left, before)
	}
	// Root can't look into what others have mounted, dead or alive.
	if err := fs.CheckMountpoint(v.point); v.uid == 0 && err != nil {
		v.t.Errorf("%s: what is left: %v", m.what, err)
	}
}

// usable waits until the mount answers its user.
func (v *victim) usable() {
	v.t.Helper()
	v.seen("the mount answers", `test -d "$1/Team Room/"`)
}

func (v *victim) killed() bool {
	status, ok := v.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// orphan stands for the fusermount3 of a program that was killed. The first
// time it leaves a dead mount, before the one that is asked for. Whatever it is
// to unmount goes away without its help.
const orphan = `#!/bin/bash
PATH=%s
case $1 in
-u*) fusermount3 "$@"; exit 1 ;;
esac
mkdir "$1.first" 2> /dev/null || exec fusermount3 "$@"
python3 -c '
import os, socket, subprocess, sys
ours, its = socket.socketpair()
subprocess.run(["fusermount3", "-o", "fsname=matrixfs,subtype=matrixfs", sys.argv[1]],
	pass_fds=[its.fileno()], env=os.environ | {"_FUSE_COMMFD": str(its.fileno())}, check=True)
socket.recv_fds(ours, 1, 1)' "$1"
exit 1
`

// TestOrphanedFusermount: what the fusermount3 of a killed program does when
// the next mount is at work already does not disturb that one.
func TestOrphanedFusermount(t *testing.T) {
	openFUSE(t)
	bin, point := t.TempDir(), t.TempDir()
	for _, dir := range []string{filepath.Dir(bin), bin} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	path := os.Getenv("PATH")
	if err := os.WriteFile(filepath.Join(bin, "fusermount3"), fmt.Appendf(nil, orphan, path), 0o755); err != nil {
		t.Fatal(err)
	}
	v := &victim{t: t, point: point, uid: nobody}
	v.program = launchServant(t, point, nobody, "PATH="+bin+":"+path)
	v.usable()
	v.signal(syscall.SIGTERM)
	if err := v.wait(); err != nil || mountsOn(t, point) != 0 {
		t.Errorf("it ended with %v: %s%s", err, v.out.String(), v.err.String())
	}
}

// mountsOn counts the mounts on that path, one above the other.
func mountsOn(t *testing.T, point string) (n int) {
	t.Helper()
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(info), " "+point+" ")
}

// nobody is an ordinary user.
const nobody = 65534

// asUser starts a program for a user.
func asUser(t testing.TB, uid uint32, args ...string) *program {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	return startCommand(t, cmd)
}
