package fs_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
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

// watcher is inotifywait: what a file manager knows.
type watcher struct {
	t    testing.TB
	log  string
	seen int // how much of the log has been looked at
}

// watch watches directories, from when it returns.
func watch(t testing.TB, dirs ...string) *watcher {
	t.Helper()
	w := &watcher{t: t, log: filepath.Join(t.TempDir(), "events")}
	said := w.log + ".err"
	const script = `log=$1; shift; exec inotifywait -m -e create,delete,move,attrib --format '%e %f' "$@" > "$log" 2> "$log.err"`
	p := sh(t, script, append([]string{w.log}, dirs...)...)
	eventually(t, "somebody watches", func() bool {
		b, _ := os.ReadFile(said)
		if !p.running() {
			t.Fatalf("inotifywait (of the package inotify-tools): %s", b)
		}
		return bytes.Contains(b, []byte("Watches established"))
	})
	return w
}

// events gives all so far.
func (w *watcher) events() []string {
	b, err := os.ReadFile(w.log)
	if err != nil {
		w.t.Fatal(err)
	}
	lines := strings.Split(string(b), "\n")
	return lines[:len(lines)-1]
}

// sees waits for events, which must come in this order after those that were
// waited for before. Others may come between them.
func (w *watcher) sees(events ...string) {
	w.t.Helper()
	for _, e := range events {
		eventually(w.t, e, func() bool {
			all := w.events()
			if i := slices.Index(all[w.seen:], e); i >= 0 {
				w.seen += i + 1
				return true
			}
			return false
		})
	}
}

// count gives how often an event has come.
func (w *watcher) count(event string) int {
	n := 0
	for _, e := range w.events() {
		if e == event {
			n++
		}
	}
	return n
}

// names gives the names that whoever has followed all events believes to be
// there.
func (w *watcher) names() []string {
	there := map[string]bool{}
	for _, line := range w.events() {
		event, name, _ := strings.Cut(line, " ")
		event, _, _ = strings.Cut(event, ",")
		switch event {
		case "CREATE", "MOVED_TO":
			there[name] = true
		case "DELETE", "MOVED_FROM":
			delete(there, name)
		}
	}
	names := []string{}
	for name := range there {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// ls lists a directory as another program does.
func ls(t testing.TB, dir string) []string {
	t.Helper()
	names := strings.Split(string(start(t, "ls", "-A", dir).succeeds()), "\n")
	names = names[:len(names)-1]
	slices.Sort(names)
	return names
}

// agrees waits until a watcher that has seen everything believes what is true.
func (w *watcher) agrees(dir string) {
	w.t.Helper()
	var believed, true_ []string
	for start := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		believed, true_ = w.names(), ls(w.t, dir)
		if slices.Equal(believed, true_) {
			return
		}
		if time.Since(start) > patience {
			w.t.Fatalf("a watcher believes in %q, but there is %q", believed, true_)
		}
	}
}

// TestWatch: a watcher of incoming/ and of a room hears of all that happens to
// files.
func TestWatch(t *testing.T) {
	t.Parallel()
	hub := transfertest.NewHub(t)
	w := &world{hub: hub}
	w.alice, _ = newWatchedSide(t, hub, "@alice:test", "ALICE")
	w.bob, _ = newWatchedSide(t, hub, "@bob:test", "BOB")
	in, out := watch(t, w.bob.incoming), watch(t, w.alice.room)

	cp, got, content := w.offer(t, "a", 100_000)
	in.sees("CREATE a")
	out.sees("CREATE a")
	same(t, start(t, "cat", got).succeeds(), content)
	cp.succeeds()
	in.sees("ATTRIB a")
	out.sees("ATTRIB a")
	start(t, "rm", got).succeeds()
	in.sees("DELETE a")

	post(hub, "@carol:test", "1", "b")
	in.sees("CREATE b")
	withdraw(hub, "@carol:test", "1")
	in.sees("DELETE b")
	post(hub, "@carol:test", "2", "c")
	in.sees("CREATE c")
	answerElsewhere(hub, "@bob:test", "2")
	in.sees("DELETE c")

	// What one side rejects vanishes on the other, and a new one of the same
	// name comes.
	cp, got, _ = w.offer(t, "d", 1000)
	in.sees("CREATE d")
	start(t, "rm", got).succeeds()
	cp.failsWith("Connection refused")
	in.sees("DELETE d")
	out.sees("CREATE d", "DELETE d")
	cp, got, content = w.offer(t, "d", 2000)
	in.sees("CREATE d")
	out.sees("CREATE d")
	same(t, start(t, "cat", got).succeeds(), content)
	cp.succeeds()
	out.sees("ATTRIB d")
	in.agrees(w.bob.incoming)
	out.agrees(w.alice.room)
	for event, want := range map[string]int{"CREATE a": 1, "DELETE a": 1, "CREATE b": 1, "DELETE b": 1, "DELETE c": 1, "CREATE d": 2, "DELETE d": 1} {
		if n := in.count(event); n != want {
			t.Errorf("%q came %d times, not %d: %q", event, n, want, in.events())
		}
	}
}

// TestWatchGrowth: while a file comes in, a watcher hears of it again and
// again, but not for every byte.
func TestWatchGrowth(t *testing.T) {
	t.Parallel()
	hub := transfertest.NewHub(t)
	w := &world{hub: hub, alice: newSide(t, hub, "@alice:test", "ALICE", nil)}
	w.bob, _ = newWatchedSide(t, hub, "@bob:test", "BOB")
	in := watch(t, w.bob.incoming)
	pipe := fifo(t)
	cp := sh(t, `exec cat "$1" > "$2"`, pipe, filepath.Join(w.alice.room, "x"))
	enough := filepath.Join(t.TempDir(), "enough")
	drip := sh(t, `exec > "$1"; until test -e "$2"; do echo drip; sleep 0.05; done`, pipe, enough)
	began := time.Now()
	cat := start(t, "cat", w.bob.arrives("x"))
	in.sees("CREATE x")
	// Whatever else goes on.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var others sync.WaitGroup
	others.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			id := transfer.ID(strconv.Itoa(i))
			post(hub, "@carol:test", id, "other")
			time.Sleep(10 * time.Millisecond)
			withdraw(hub, "@carol:test", id)
		}
	})
	in.sees("ATTRIB x", "ATTRIB x")
	cancel()
	others.Wait()
	if err := os.WriteFile(enough, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cat.succeeds()
	drip.succeeds()
	cp.succeeds()
	in.sees("ATTRIB x")
	n, most := in.count("ATTRIB x"), int(time.Since(began)/time.Second)+2
	if n > most {
		t.Errorf("a watcher heard %d times of a file that came in for %v: %q", n, time.Since(began), in.events())
	}
}

// TestWatchRooms: a watcher of the root hears of rooms and all their names.
func TestWatchRooms(t *testing.T) {
	t.Parallel()
	hub := transfertest.NewHub(t)
	s, _ := newWatchedSide(t, hub, "@alice:test", "ALICE")
	first := fs.Room{ID: hub.Room, Name: "Team Room"}
	in := watch(t, s.point)
	// It joins a room, which gets an alias and another name.
	s.rooms.Set(first, fs.Room{ID: "!b:test", Name: "Other"})
	in.sees("CREATE,ISDIR !b:test", "CREATE Other")
	s.rooms.Set(first, fs.Room{ID: "!b:test", Name: "Other", Alias: "#b:test"})
	in.sees("CREATE #b:test")
	s.rooms.Set(first, fs.Room{ID: "!b:test", Name: "New", Alias: "#b:test"})
	in.sees("MOVED_FROM Other", "MOVED_TO New")
	s.rooms.Set(first, fs.Room{ID: "!b:test", Name: "New", Alias: "#c:test"})
	in.sees("MOVED_FROM #b:test", "MOVED_TO #c:test")
	for name, target := range map[string]string{"New": "!b:test", "#c:test": "!b:test", "Team Room": string(hub.Room)} {
		if got := string(start(t, "readlink", "-n", filepath.Join(s.point, name)).succeeds()); got != target {
			t.Errorf("%s leads to %q, not %q", name, got, target)
		}
	}
	// It may not be used any more, and is left.
	s.rooms.Set(first, fs.Room{ID: "!b:test", Name: "New", Alias: "#c:test", Refused: "public"})
	in.sees("ATTRIB,ISDIR !b:test")
	s.rooms.Set(first)
	in.sees("DELETE #c:test")
	eventually(t, "the room is gone", func() bool { return in.count("DELETE,ISDIR !b:test") == 1 && in.count("DELETE New") == 1 })
	// Two rooms exchange their names, and one comes back.
	s.rooms.Set(fs.Room{ID: hub.Room, Name: "B"}, fs.Room{ID: "!b:test", Name: "A"})
	in.sees("MOVED_TO B", "CREATE,ISDIR !b:test", "CREATE A")
	s.rooms.Set(fs.Room{ID: hub.Room, Name: "A"}, fs.Room{ID: "!b:test", Name: "B"})
	in.sees("CREATE A")
	eventually(t, "both names", func() bool { return in.count("DELETE A") == 1 && in.count("CREATE B") == 1 })
	if got := string(start(t, "readlink", "-n", filepath.Join(s.point, "A")).succeeds()); got != string(hub.Room) {
		t.Errorf("A leads to %q", got)
	}
	// A room that somebody stands in before it is announced is a room all the
	// same, and the name of a room that was left is free.
	s.rooms.Set(first, fs.Room{ID: "!c:test", Name: "B"})
	sh(t, `cd "$1" && test "$(stat -c %i .)" = "$(stat -c %i "$1")" && exec ls`, filepath.Join(s.point, "!c:test")).succeeds()
	in.sees("CREATE,ISDIR !c:test")
	sh(t, `cd "$1" && exec ls`, filepath.Join(s.point, "B")).succeeds()
}

// TestStorm: hundreds of offers come and go while programs look. A watcher
// ends up with the truth, and each change made at most a few events.
func TestStorm(t *testing.T) {
	t.Parallel()
	hub := transfertest.NewHub(t)
	s, _ := newWatchedSide(t, hub, "@bob:test", "BOB")
	in := watch(t, s.incoming)
	loops := sh(t, `for i in 1 2; do
		(while :; do ls -l "$1" > /dev/null; done) & (while :; do find "$1" -newer / > /dev/null; done) &
	done; wait`, s.incoming)
	const offers = 500
	for i := range offers {
		user := transfer.UserID(fmt.Sprintf("@carol%d:test", i%4))
		id := transfer.ID(strconv.Itoa(i))
		post(hub, user, id, fmt.Sprintf("file %d", i%100))
		if i%10 != 0 {
			withdraw(hub, user, id)
		}
		if i%100 == 99 {
			in.agrees(s.incoming) // all is told, and the storm goes on
		}
	}
	eventually(t, "the storm is over", func() bool { return len(s.member.Exchange.Incoming()) == offers/10 })
	in.agrees(s.incoming)
	if n := len(in.events()); n > 2*offers {
		t.Errorf("%d offers made %d events", offers, n)
	}
	loops.signal(syscall.SIGKILL)
	_ = loops.wait()
}
