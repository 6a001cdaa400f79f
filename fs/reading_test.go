package fs_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/matrixfs/matrixfs/fs"
	"github.com/matrixfs/matrixfs/transfer"
)

// stalled is an offer of which only a part has been written.
type stalled struct {
	writer  *program
	got     string
	content []byte
	fifo    string
}

// stall offers a file of n bytes, says so at once, and writes a part of it.
func (w *world) stall(t testing.TB, name string, n, part int) *stalled {
	t.Helper()
	s := &stalled{fifo: fifo(t)}
	var source string
	source, s.content = file(t, name, n)
	const writer = `
import os, sys
source = open(sys.argv[1], "rb").read()
part = int(sys.argv[3])
f = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_EXCL)
os.posix_fallocate(f, 0, len(source))
os.write(f, source[:part])
open(sys.argv[4]).read()
os.write(f, source[part:])
os.close(f)`
	s.writer = start(t, "python3", "-c", writer, source, filepath.Join(w.alice.room, name), strconv.Itoa(part), s.fifo)
	s.got = w.bob.arrives(name)
	if size := attr(t, s.got, "size"); size != strconv.Itoa(n) {
		t.Fatalf("the size is said to be %q", size)
	}
	return s
}

// goOn has the rest written.
func (s *stalled) goOn(t testing.TB) {
	t.Helper()
	eventually(t, "the writer waits", func() bool {
		fd, err := unix.Open(s.fifo, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil && s.writer.running() {
			return false
		}
		if err == nil {
			err = unix.Close(fd)
		}
		if err != nil {
			t.Fatalf("the writer ended: %v: %s", err, s.writer.err.String())
		}
		return true
	})
}

// TestBySize: programs that would take an unknown size for 0 are refused until
// it is known.
func TestBySize(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	source, content := file(t, "a", 300_000)
	fifo := fifo(t)
	p := sh(t, `exec 3<>"$2"; (cat "$1"; read -r -u 3) > "$3"`, source, fifo, filepath.Join(w.alice.room, "x"))
	got, dir := w.bob.arrives("x"), t.TempDir()
	believers := map[string]string{
		"rsync": `rsync "$1" "$2/out" && cat "$2/out"`,
		"tar":   `tar cf "$2/tar" -C "$(dirname "$1")" x && tar xOf "$2/tar"`,
	}
	for name, script := range believers {
		w.refused(t, sh(t, script, got, dir), got, name)
	}
	for _, name := range []string{"kioslave5", "kioworker", "dolphin"} {
		w.refused(t, start(t, alias(t, name, "cat"), got), got, name)
	}
	cp := start(t, "cp", got, filepath.Join(dir, "copy"))
	gio := start(t, "gio", "copy", got, filepath.Join(dir, "gio"))
	shutil := start(t, "python3", "-c", `import shutil, sys; shutil.copyfile(sys.argv[1], sys.argv[2])`, got, filepath.Join(dir, "shutil"))
	eventually(t, "they read", func() bool { return attr(t, got, "bytes") == "300000" })
	sh(t, believers["rsync"], got, dir).failsWith("Permission denied") // although it is accepted
	if err := os.WriteFile(fifo, []byte("\n"), 0); err != nil {
		t.Fatal(err)
	}
	p.succeeds()
	for _, q := range []*program{cp, gio, shutil} {
		q.succeeds()
	}
	for _, name := range []string{"copy", "gio", "shutil"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		same(t, b, content)
	}
	for _, script := range believers {
		same(t, sh(t, script, got, dir).succeeds(), content)
	}
}

// readAhead is how much the kernel asks for at once for the page cache.
const readAhead = 128 << 10

// TestCopierInterrupted: a program that reads through the page cache, where
// the kernel tells nobody of signals, ends all the same.
func TestCopierInterrupted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const (
		copier = `
import shutil, sys
open(sys.argv[2], "w").close()
shutil.copyfile(sys.argv[1], sys.argv[2])`
		mapper = `
import mmap, os, sys
f = open(sys.argv[1], "rb")
m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
f.close()
open(sys.argv[2], "wb").write(m[:100_000])
m[:]`
	)
	for i, c := range []struct {
		program string
		signal  syscall.Signal
	}{
		{copier, syscall.SIGINT}, // Python catches it
		{copier, syscall.SIGTERM},
		{copier, syscall.SIGKILL},
		{mapper, syscall.SIGTERM},
		{mapper, syscall.SIGKILL},
	} {
		name := fmt.Sprintf("x%d", i)
		s := w.stall(t, name, 3_000_000, 1_000_000)
		out := filepath.Join(t.TempDir(), "out")
		p := start(t, "python3", "-c", c.program, s.got, out)
		// It must wait for what is not there: a signal between two reads only ends it.
		least := int64(100_000)
		if c.program == copier {
			least = 1_000_000 - readAhead
		}
		eventually(t, "it reads, and waits", func() bool {
			info, err := os.Stat(out)
			return err == nil && info.Size() >= least && attr(t, s.got, "bytes") == "1000000" && p.sleeps()
		})
		p.signal(c.signal)
		if p.wait() == nil {
			t.Errorf("%d: it succeeded in spite of %v", i, c.signal)
		}
		if c.program == copier {
			eventually(t, "the offer goes away", func() bool { return !exists(s.got) })
			s.goOn(t)
			s.writer.failsWith("Connection reset")
		}
	}
}

// sleeps reports whether the program waits for something.
func (p *program) sleeps() bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	return err == nil && strings.Contains(string(b), ") D ") || strings.Contains(string(b), ") S ")
}

// TestPageCache: a file that is here is asked for once; then the kernel has it.
func TestPageCache(t *testing.T) {
	t.Parallel()
	log := &buffer{}
	w := newWorldWith(t, nil, func(o *fs.Options) {
		o.Debug, o.Logger = true, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	cp, got, content := w.offer(t, "a", 1_000_000)
	reads := func() int { return strings.Count(log.String(), ": READ ") }
	same(t, start(t, "cat", got).succeeds(), content)
	cp.succeeds()
	eventually(t, "delivered", func() bool { return attr(t, got, "state") == "delivered" })
	if before := reads(); before == 0 {
		t.Error("the log does not show READs")
	}
	same(t, start(t, "cat", got).succeeds(), content)
	for range 5 { // whoever makes the kernel drop its caches does not do that all the time
		before := reads()
		same(t, start(t, "cat", got).succeeds(), content)
		same(t, start(t, "python3", "-c", asManager, "thunar", "mmap", got).succeeds(), content)
		if reads() == before {
			return
		}
	}
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, ": READ ") || strings.Contains(line, ": OPEN ") {
			t.Log(strings.TrimSpace(line))
		}
	}
	t.Error("the kernel asks again and again for what it has read")
}

// TestBlocks: how much is here can be seen with du.
func TestBlocks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.stall(t, "a", 300_000, 100_000)
	blocks := func() string { return string(start(t, "stat", "-c", "%b %s", s.got).succeeds()) }
	if b := blocks(); b != "1 300000\n" {
		t.Errorf("blocks and size of an offer: %s", b)
	}
	tar := sh(t, `tar cSf - -C "$(dirname "$1")" a | tar xOf -`, s.got) // leaves out what has no blocks
	eventually(t, "a part is here", func() bool { return attr(t, s.got, "bytes") == "100000" })
	if b := blocks(); b != "196 300000\n" {
		t.Errorf("blocks and size of a part: %s", b)
	}
	cp := start(t, "cp", s.got, "/dev/stdout")
	s.goOn(t)
	same(t, tar.succeeds(), s.content)
	same(t, cp.succeeds(), s.content)
	s.writer.succeeds()
	eventually(t, "delivered", func() bool { return attr(t, s.got, "state") == "delivered" })
	if b := blocks(); b != "586 300000\n" {
		t.Errorf("blocks and size of all: %s", b)
	}
}

// TestEviction: when the cache is full, a file goes that has been read; not one
// that is being read, and not one that nobody has read yet.
func TestEviction(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, func(c *transfer.Config) { c.CacheSize = 3_500_000 })
	offer := func(name string) (cp *program, got string, content []byte) {
		t.Helper()
		return w.offer(t, name, 1_000_000)
	}
	arrived := func(got string) {
		t.Helper()
		eventually(t, got+" is here", func() bool { return attr(t, got, "state") == "delivered" })
	}
	cp, open, contentOpen := offer("open")
	same(t, start(t, "cat", open).succeeds(), contentOpen)
	cp.succeeds()
	arrived(open)
	fifo := fifo(t)
	reader := sh(t, `exec 4< "$1"; head -c 1000 <&4; read -r < "$2"; cat <&4`, open, fifo) // again
	reader.outputs(1000)

	cp, old, content := offer("old")
	same(t, start(t, "cat", old).succeeds(), content)
	cp.succeeds()
	arrived(old)

	cp, unread, contentUnread := offer("unread")
	start(t, "setfattr", "-n", "user.matrix.accept", "-v", "1", unread).succeeds()
	cp.succeeds()
	arrived(unread)

	if !exists(open) || !exists(old) {
		t.Error("a file went although there was room")
	}
	cp, latest, content := offer("latest")
	same(t, start(t, "cat", latest).succeeds(), content)
	cp.succeeds()
	eventually(t, "the old file goes", func() bool { return !exists(old) })
	same(t, start(t, "cat", unread).succeeds(), contentUnread)
	if err := os.WriteFile(fifo, []byte("\n"), 0); err != nil {
		t.Fatal(err)
	}
	same(t, reader.succeeds(), contentOpen)
	same(t, start(t, "cat", open).succeeds(), contentOpen)
}
