package fs_test

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/matrixfs/matrixfs/fs"
)

// TestDirectoryTimes: a directory has been changed when an entry came or went,
// and at no other time.
func TestDirectoryTimes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	source, content := file(t, "example.doc", 100_000)
	dirs := []string{w.bob.incoming, w.alice.room, w.alice.point}
	times := func() (list []string) {
		for _, dir := range dirs {
			list = append(list, string(start(t, "stat", "-c", "%.9Y", dir).succeeds()))
		}
		return list
	}
	last := times()
	// changes checks which of the directories have changed since the last call.
	changes := func(what string, incoming, room, root bool) {
		t.Helper()
		now := times()
		for i, want := range []bool{incoming, room, root} {
			if changed := now[i] != last[i]; changed != want {
				t.Errorf("%s: that %s has changed is %v", what, dirs[i], changed)
			}
		}
		last = now
	}
	changes("nothing", false, false, false)

	sent := filepath.Join(w.alice.room, "example.doc")
	cp := start(t, "cp", source, w.alice.room)
	w.bob.arrives("example.doc")
	changes("an offer", true, true, false)
	cp.signal(syscall.SIGTERM)
	eventually(t, "the offer goes", func() bool { return !exists(filepath.Join(w.bob.incoming, "example.doc")) })
	start(t, "ls", sent).failsWith("No such file") // which forgets it
	changes("a killed cp", true, true, false)

	cp = start(t, "cp", source, w.alice.room)
	got := w.bob.arrives("example.doc")
	changes("another offer", true, true, false)
	w.bob.takes("example.doc", content)
	cp.succeeds()
	changes("a transfer", false, false, false)
	start(t, "mv", sent, sent+".sent").succeeds()
	changes("mv", false, true, false)
	start(t, "rm", sent+".sent", got).succeeds()
	changes("rm", true, true, false)

	room := fs.Room{ID: w.hub.Room, Name: "Team Room", Refused: "anybody can join it"}
	w.alice.rooms.Set(room)
	changes("a room that refuses", false, false, false)
	w.alice.rooms.Set(room, fs.Room{ID: "!other:test", Name: "Other"})
	changes("a room that was joined", false, false, true)
	w.alice.rooms.Set(room)
	changes("a room that was left", false, false, true)
}
