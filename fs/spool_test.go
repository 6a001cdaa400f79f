package fs_test

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/matrixfs/matrixfs/fs"
	"github.com/matrixfs/matrixfs/transfer"
	"github.com/matrixfs/matrixfs/transfer/transfertest"
)

// newSpoolWorld makes a world in which alice's files are written to disk
// first, to the directory that is returned.
func newSpoolWorld(t *testing.T, size int64, change func(*transfer.Config)) (*world, string) {
	dir := filepath.Join(t.TempDir(), "spool")
	hub := transfertest.NewHub(t)
	w := &world{hub: hub}
	w.alice = newSide(t, hub, "@alice:test", "ALICE", change, func(o *fs.Options) { o.SpoolDir, o.SpoolSize = dir, size })
	// What is larger than bob's cache comes no faster than it is read.
	w.bob = newSide(t, hub, "@bob:test", "BOB", func(c *transfer.Config) { c.CacheSize = 1 })
	t.Cleanup(func() { eventually(t, "nothing is on disk any more", func() bool { return open(t, dir) == 0 }) })
	return w, dir
}

// open counts the files of a directory that this process has open, by any name
// or none.
func open(t *testing.T, dir string) (n int) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if link, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(link, dir+"/") {
			n++
		}
	}
	return n
}

// TestSpool writes in every order that real programs have, and reads back.
func TestSpool(t *testing.T) {
	t.Parallel()
	w, dir := newSpoolWorld(t, 0, nil)
	ways := append(backward[:len(backward):len(backward)], []struct{ name, script string }{
		{"cp", `cp "$1" "$3"`},
		{"rsync", `rsync -a "$1" "$3"`},
		{"rsync in place", `rsync -a --inplace "$1" "$3"`},
		{"touch", `touch "$3"`},
		{"dd", `exec 3>"$3"; for i in 20 10 0; do dd if="$2" of="$3" bs=1000 seek=$i count=20 conv=notrunc,fsync status=none; done`},
		{"holes", `exec 3>"$3"; truncate -s 1M "$3"; dd if="$2" of="$3" conv=notrunc bs=1000 seek=300 status=none
			fallocate -p -o 310000 -l 50000 "$3"; fallocate -l 2M "$3"`},
		{"sqlite", `sqlite3 "$3" 'create table t(a); insert into t values(1); update t set a=2; create index i on t(a); vacuum;'`},
		{"sqlite in memory", `sqlite3 "$3" 'pragma journal_mode=memory; create table t(a); insert into t values(1); update t set a=2;' > /dev/null`},
		{"sqlite wal", `sqlite3 "$3" 'pragma journal_mode=wal; create table t(a); insert into t values(1); update t set a=2;' > /dev/null`},
		{"vim", `vim -es -u NONE -c 'normal ihello' -c wq "$3" < /dev/null`},
	}...)
	t.Run("ways", func(t *testing.T) { w.goBack(t, ways) })
	invites := 0
	for _, r := range w.hub.Log() {
		if _, ok := r.Message.(*transfer.Invite); ok {
			invites++
		}
	}
	if invites != len(ways) {
		t.Errorf("%d files were offered, not %d", invites, len(ways))
	}
	for _, name := range list(t, w.alice.room) {
		if !strings.HasSuffix(name, ".bin") || attr(t, filepath.Join(w.alice.room, name), "state") != "delivered" {
			t.Errorf("%s is left", name)
		}
	}
	eventually(t, "what was delivered is forgotten", func() bool { return open(t, dir) == 0 })
}

// TestSpoolOffer: nobody is told of a file before it is whole, and then of its
// size and its hash.
func TestSpoolOffer(t *testing.T) {
	t.Parallel()
	w, _ := newSpoolWorld(t, 0, nil)
	source, content := file(t, "a", 20_000_000)
	sent := filepath.Join(w.alice.room, "a")
	fifo := fifo(t)
	p := sh(t, `exec 3<>"$3"; (cat "$1"; sync "$2"; echo written; read -u 3; cat "$1") > "$2"`, source, sent, fifo)
	eventually(t, "the first half is written", func() bool { i, err := os.Stat(sent); return err == nil && i.Size() == int64(len(content)) })
	same(t, start(t, "head", "-c", "1000", sent).succeeds(), content[:1000])
	if n := len(w.hub.Log()); n != 0 {
		t.Errorf("the room has seen %d messages", n)
	}
	if err := os.WriteFile(fifo, []byte("\n"), 0); err != nil {
		t.Fatal(err)
	}
	got := w.bob.arrives("a")
	whole := append(append(content[:len(content):len(content)], "written\n"...), content...)
	sum := transfer.Hash(sha256.Sum256(whole)).String()
	for _, at := range []string{got, sent} {
		if s := attr(t, at, "sha256"); s != sum {
			t.Errorf("%s has the hash %q, not %q", at, s, sum)
		}
	}
	if size := attr(t, got, "size"); size != strconv.Itoa(len(whole)) {
		t.Errorf("it is offered with %s bytes", size)
	}
	same(t, start(t, "cat", got).succeeds(), whole)
	p.succeeds()
	for script, fails := range map[string]string{
		`cat "$1"`: "Permission denied", `dd of="$1" seek=1 bs=1 conv=notrunc < /dev/zero count=1`: "Illegal seek", `echo >> "$1"`: "not permitted",
		`truncate -s 5 "$1"`: "not permitted",
	} {
		sh(t, script, sent).failsWith(fails)
	}
	cp := start(t, "cp", source, sent)
	again := filepath.Join(w.bob.incoming, "a (2)")
	eventually(t, "a new offer", func() bool { return exists(again) })
	same(t, start(t, "cat", again).succeeds(), content)
	cp.succeeds()
}

// TestSpoolEnds: an offer from disk ends as any other does.
func TestSpoolEnds(t *testing.T) {
	t.Parallel()
	w, dir := newSpoolWorld(t, 0, nil)
	source, _ := file(t, "a", 40_000_000)
	sent := filepath.Join(w.alice.room, "a")
	gone := func() {
		t.Helper()
		w.nothing(t, "a")
		eventually(t, "the bytes are forgotten", func() bool { return open(t, dir) == 0 })
	}
	for _, end := range []struct {
		fails string
		f     func(got string, p *program)
	}{
		{"Connection refused", func(got string, _ *program) { start(t, "rm", got).succeeds() }},
		{"Operation canceled", func(_ string, _ *program) { start(t, "rm", sent).succeeds() }},
		{"", func(_ string, p *program) { p.signal(syscall.SIGINT) }},
		{"", func(_ string, p *program) { p.signal(syscall.SIGKILL) }},
		{"Connection reset by peer", func(got string, _ *program) {
			reader := sh(t, `exec 3<"$1" 4<>"$2"; head -c 1000 <&3; read -u 4`, got, fifo(t))
			eventually(t, "the window is full", func() bool { n, err := strconv.Atoi(attr(t, got, "bytes")); return err == nil && n > 10_000_000 })
			reader.signal(syscall.SIGKILL)
		}},
	} {
		p := start(t, "cp", source, sent)
		end.f(w.bob.arrives("a"), p)
		if end.fails != "" {
			p.failsWith(end.fails)
		} else if p.wait() == nil {
			t.Error("cp succeeded")
		}
		gone()
	}
	messages := len(w.hub.Log())
	for _, script := range []string{
		`(cat "$1"; kill -9 $BASHPID) > "$2"`, `(cat "$1"; exit 3) > "$2"`,
		`python3 -c 'import os, sys; f = os.open(sys.argv[2], 65); os.write(f, b"x"*100000); sys.exit(1)' "$@"`,
	} {
		if sh(t, script, source, sent).wait() == nil {
			t.Errorf("%s succeeded", script)
		}
		gone()
	}
	p := sh(t, `exec 3>"$2"; cat "$1" >&3; echo; read < "$3"`, source, sent, fifo(t))
	eventually(t, "it is written", func() bool { i, err := os.Stat(sent); return err == nil && i.Size() == 40_000_000 })
	p.signal(syscall.SIGKILL)
	_ = p.wait()
	gone()
	if n := len(w.hub.Log()); n != messages {
		t.Errorf("the room has seen %d messages about files that were never whole", n-messages)
	}
}

// TestSpoolExpires: nobody answers.
func TestSpoolExpires(t *testing.T) {
	t.Parallel()
	w, _ := newSpoolWorld(t, 0, func(c *transfer.Config) { c.Lifetime = time.Second })
	for _, n := range []int{1000, 10_000_000} {
		source, _ := file(t, "a", n)
		start(t, "cp", source, w.alice.room).failsWith("Connection timed out")
		w.nothing(t, "a")
	}
}

// TestSpoolFull: the limit is kept, for all files together, and what is done
// with makes room.
func TestSpoolFull(t *testing.T) {
	t.Parallel()
	w, _ := newSpoolWorld(t, 1<<20, nil)
	large, _ := file(t, "large", 1<<20+1)
	half, content := file(t, "half", 600_000)
	sent := filepath.Join(w.alice.room, "x")
	for range 3 {
		start(t, "cp", large, sent).failsWith("No space left on device")
		w.nothing(t, "x")
		cp := start(t, "cp", half, sent)
		got := w.bob.arrives("x")
		start(t, "cp", half, sent+"2").failsWith("No space left on device")
		sh(t, `truncate -s 500K "$1"`, sent+"3").failsWith("No space left on device")
		same(t, start(t, "cat", got).succeeds(), content)
		cp.succeeds()
		start(t, "rm", got, sent).succeeds()
	}
}
