package fs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/matrixfs/matrixfs/fs"
	"github.com/matrixfs/matrixfs/transfer"
)

// TestTree: every room by all its names, at once when it changes.
func TestTree(t *testing.T) {
	w := newWorld(t)
	point := w.alice.point
	rooms := []fs.Room{
		{ID: "!a:test", Name: "Team Room", Alias: "#team:test"},
		{ID: "!b:test", Name: "Team Room"},
		{ID: "!c:test", Direct: "@bob:test"},
		{ID: "!d", Name: "incoming"},
		{ID: "!e:test", Name: "#a:b/c\u202e"},
		{ID: "!f/../x:test", Alias: "#x/y:test"},
	}
	want := map[string]string{
		"!a:test": "", "!b:test": "", "!c:test": "", "!d": "", "!e:test": "", "!f_.._x:test": "", "incoming": "",
		"#team:test": "!a:test", "Team Room": "!a:test", "Team Room (2)": "!b:test", "@bob:test": "!c:test", "bob": "!c:test",
		"incoming (2)": "!d", "a_b_c": "!e:test", "#x_y:test": "!f_.._x:test", "x_y": "!f_.._x:test",
	}
	check := func() {
		t.Helper()
		names := list(t, point)
		for _, name := range names {
			target, _ := os.Readlink(filepath.Join(point, name))
			if expected, ok := want[name]; !ok || expected != target {
				t.Errorf("%q leads to %q, not %q", name, target, expected)
			}
			if info, err := os.Stat(filepath.Join(point, name)); err != nil || !info.IsDir() {
				t.Errorf("%q is no directory: %v", name, err)
			}
		}
		if len(names) != len(want) {
			t.Errorf("there are %q", names)
		}
	}
	w.alice.rooms.Set(rooms...)
	check()
	check() // the same again

	// A new room of the same name does not take it from the others, even if it
	// comes first.
	rooms = append(rooms, fs.Room{ID: "!0:test", Name: "Team Room"})
	want["!0:test"], want["Team Room (3)"] = "", "!0:test"
	w.alice.rooms.Set(rooms...)
	check()

	// Renaming and leaving show at once.
	rooms[0].Name = "Other"
	want["Other"] = "!a:test"
	delete(want, "Team Room")
	delete(want, "!b:test")
	delete(want, "Team Room (2)")
	w.alice.rooms.Set(slices.Delete(rooms, 1, 2)...)
	check()
}

// TestRefused: a room that takes no files says so, and why.
func TestRefused(t *testing.T) {
	w := newWorld(t)
	w.alice.rooms.Set(fs.Room{ID: w.hub.Room, Name: "Public", Refused: "anyone can join\x1b"})
	source, _ := file(t, "a", 10)
	start(t, "cp", source, w.alice.room).failsWith("Permission denied")
	if why := attr(t, w.alice.room, "error"); why != "anyone can join\ufffd" {
		t.Errorf("it says %q", why)
	}
	if s := string(start(t, "stat", "-c", "%A", w.alice.room).succeeds()); s != "dr-x------\n" {
		t.Errorf("its mode is %q", s)
	}
	w.alice.rooms.Set(fs.Room{ID: w.hub.Room})
	cp := start(t, "cp", source, w.alice.room)
	w.bob.arrives("a")
	cp.signal(syscall.SIGINT)
	_ = cp.wait()
}

// TestForbidden: what makes no sense fails, with an error that does.
func TestForbidden(t *testing.T) {
	w := newWorld(t)
	w.alice.rooms.Set(fs.Room{ID: w.hub.Room, Name: "Team Room"}, fs.Room{ID: "!other:test"})
	source, _ := file(t, "a", 10)
	sh(t, `cp "$1" "$2/done"`, source, w.alice.room)
	w.bob.takes("done", func() []byte { b, _ := os.ReadFile(source); return b }())
	eventually(t, "delivery", func() bool { return attr(t, filepath.Join(w.alice.room, "done"), "state") == "delivered" })
	for script, words := range map[string]string{
		`mkdir "$2/d"`: "Operation not permitted", `ln -s a "$2/l"`: "Operation not permitted",
		`mkfifo "$2/f"`: "Operation not permitted", `ln "$2/done" "$2/l"`: "Operation not permitted",
		`cp "$1" "$3/x"`: "Permission denied", `rmdir "$2"`: "Operation not permitted",
		`rm "$3/Team Room"`: "Operation not permitted", `mv "$3/Team Room" "$3/x"`: "Operation not permitted",
		`cp -r "$(dirname "$1")" "$2/"`: "Operation not permitted", `cat "$2/done"`: "Permission denied",
		`mv "$2/done" "$3/!other:test/"`: "Permission denied", `cp "$1" "$3/incoming/"`: "Permission denied",
		`echo >> "$2/done"`: "Operation not permitted", `: > "$2/.a.swp"`: "Permission denied",
		`dd if="$1" of="$2/done" conv=notrunc bs=1`: "Illegal seek",
	} {
		sh(t, script, source, w.alice.room, w.alice.point).failsWith(words)
	}
}

// TestRename gives a file its name before it is announced.
func TestRename(t *testing.T) {
	w := newWorld(t)
	const python = `
import os,sys
f = os.open(sys.argv[1]+"/.goutputstream-ABCDEF", os.O_WRONLY|os.O_CREAT|os.O_EXCL)
os.write(f, b"hello"); os.fsync(f)
os.rename(sys.argv[1]+"/.goutputstream-ABCDEF", sys.argv[1]+"/real.txt")
os.close(f)`
	p := start(t, "python3", "-c", python, w.alice.room)
	w.bob.takes("real.txt", []byte("hello"))
	p.succeeds()
	if names := list(t, w.alice.room); !slices.Equal(names, []string{"real.txt"}) {
		t.Errorf("listed: %q", names)
	}
	for temporary, final := range map[string]string{".b.doc.AbC123": "b.doc", "c.doc.part": "c.doc", "d.doc.partial~": "d.doc"} {
		p := sh(t, `echo hi > "$1/$2" && mv "$1/$2" "$1/$3"`, w.alice.room, temporary, final)
		w.bob.takes(final, []byte("hi\n"))
		p.succeeds()
	}
}

// TestNothingWaits: while a transfer waits for its peer, everything else is as
// quick as ever.
func TestNothingWaits(t *testing.T) {
	w := newWorld(t)
	var rooms []fs.Room
	for i := range 300 {
		rooms = append(rooms, fs.Room{ID: transfer.RoomID(fmt.Sprintf("!r%d:test", i)), Name: fmt.Sprintf("Room %d", i), Alias: fmt.Sprintf("#r%d:test", i)})
	}
	w.alice.rooms.Set(append(rooms, fs.Room{ID: w.hub.Room})...)
	large, _ := file(t, "large", 20_000_000)
	small, _ := file(t, "small", 10)
	for i := range 4 {
		start(t, "cp", large, filepath.Join(w.alice.room, fmt.Sprintf("large%d", i)))
		start(t, "cp", small, filepath.Join(w.alice.room, fmt.Sprintf("small%d", i)))
	}
	eventually(t, "eight offers", func() bool { return len(list(t, w.bob.incoming)) == 8 })
	for _, script := range []string{`ls -la "$1" "$1"/*`, `stat "$1"/*`, `find "$1"`, `df "$1"`, `du "$1"`} {
		best := time.Hour
		for range 5 {
			began := time.Now()
			sh(t, script, w.alice.room).succeeds()
			best = min(best, time.Since(began))
		}
		t.Logf("%s: %v", script, best)
		if best > 300*time.Millisecond {
			t.Errorf("%s took %v", script, best)
		}
	}
	began := time.Now()
	sh(t, `ls -l "$1"`, w.alice.point).succeeds()
	t.Logf("ls -l of 900 entries: %v", time.Since(began))
	sh(t, `chmod 600 "$1"/large0; touch "$1"/large1; mv "$1"/large2 "$1"/moved; rm "$1"/*`, w.alice.room).succeeds()
	if d := time.Since(began); d > patience/2 {
		t.Errorf("changing the files took %v", d)
	}
}
