package main_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

// instant is what an answer from memory may take.
const instant = 10 * time.Millisecond

// With the homeserver stopped, looking around takes no time on either mount.
func TestLookingAroundNeedsNoHomeserver(t *testing.T) {
	h := ownHouse(t)
	alice, bob, room := h.measuredPair(t)
	cp := start(t, "cp", sample(t, "listed", 3<<20), alice.room(room))
	offer := bob.awaits(t, "listed")
	h.stopServer(t)
	eventually(t, "both notice that the homeserver is gone", func() bool {
		return !alice.status(t).Online && !bob.status(t).Online
	})
	for _, c := range []struct {
		what string
		do   func() error
	}{
		{"stat of an offer", func() error { _, err := os.Stat(offer); return err }},
		{"stat of a file being sent", func() error {
			_, err := os.Stat(filepath.Join(alice.room(room), "listed"))
			return err
		}},
		{"stat of a room", func() error { _, err := os.Stat(alice.room(room)); return err }},
		{"stat of what is not there", func() error {
			if _, err := os.Stat(bob.incoming("nothing")); !os.IsNotExist(err) {
				return err
			}
			return nil
		}},
		{"ls of the sender's mount", func() error { return list(alice.mountpoint) }},
		{"ls of the room", func() error { return list(alice.room(room)) }},
		{"ls of incoming", func() error { return list(bob.incoming("")) }},
		{"find on the sender's mount", func() error { return find(alice.mountpoint) }},
		{"find on the receiver's mount", func() error { return find(bob.mountpoint) }},
		{"df of the sender's mount", func() error { return df(alice.mountpoint) }},
		{"df of the receiver's mount", func() error { return df(bob.mountpoint) }},
	} {
		if took := median(t, c.what, c.do); took > instant {
			t.Errorf("%s takes %v, want less than %v", c.what, took, instant)
		}
	}
	// The programs themselves work, too.
	for _, d := range []*device{alice, bob} {
		shell(t, `ls -lR "$1" && stat "$1" && find "$1" && df "$1"`, d.mountpoint).succeeds()
	}
	// The peers can be reached without it; what can't be is a new room.
	cp.signalAll(syscall.SIGINT)
	cp.wait()
}

// A mount with stored state starts without a homeserver, shows its rooms, and
// is back when the homeserver is.
func TestMountWithoutHomeserver(t *testing.T) {
	t.Parallel()
	h := ownHouse(t)
	alice, bob, room := h.pair(t)
	alice.stop()
	h.stopServer(t)
	alice.mount()
	if !exists(alice.room(room)) {
		t.Error("the room is not there")
	}
	start(t, "cp", sample(t, "nowhere", 100_000), alice.room(room)).fails("Network is unreachable")
	h.restartServer(t)
	eventually(t, "both are online again", func() bool { return alice.status(t).Online && bob.status(t).Online })
	source := sample(t, "again", 100_000)
	cp := start(t, "cp", source, alice.room(room))
	copied := filepath.Join(t.TempDir(), "copied")
	shell(t, `cat "$1" > "$2"`, bob.awaits(t, "again"), copied).succeeds()
	cp.succeeds()
	sameBytes(t, copied, source)
}

// median runs do many times and gives the median of the times it took.
func median(t *testing.T, what string, do func() error) time.Duration {
	t.Helper()
	var times []time.Duration
	for range 51 {
		begun := time.Now()
		if err := do(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		times = append(times, time.Since(begun))
	}
	slices.Sort(times)
	return times[len(times)/2]
}

// list does what "ls -l" does.
func list(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if _, err := entry.Info(); err != nil {
			return err
		}
	}
	return nil
}

// find does what "find" does.
func find(dir string) error {
	return filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil {
			_, err = entry.Info()
		}
		return err
	})
}

// df does what "df" does.
func df(dir string) error {
	var told syscall.Statfs_t
	return syscall.Statfs(dir, &told)
}
