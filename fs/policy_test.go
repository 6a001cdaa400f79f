package fs_test

import (
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/matrixfs/matrixfs/fs"
)

// alias makes a copy of a program under another name.
func alias(t testing.TB, name, of string) string {
	t.Helper()
	path, err := exec.LookPath(of)
	if err != nil {
		t.Fatal(err)
	}
	// By another process: a child that is just being made would inherit a
	// descriptor of ours, and what is open for writing can't be run.
	copied := filepath.Join(t.TempDir(), name)
	start(t, "cp", path, copied).succeeds()
	return copied
}

// script makes a Python program of that name.
func script(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// refused checks that a program was refused, and left no trace but its name.
func (w *world) refused(t *testing.T, p *program, got, name string) {
	t.Helper()
	p.failsWith("Permission denied")
	if state := attr(t, got, "state"); state != "offered" {
		t.Errorf("after %v the offer is %s", p.cmd.Args, state)
	}
	if refused := attr(t, got, "refused"); refused != name {
		t.Errorf("%v was refused as %q, not %q", p.cmd.Args, refused, name)
	}
}

// TestNever: programs that read unasked can't, under whichever of their names
// they are known. Once the file is here they can.
func TestNever(t *testing.T) {
	t.Parallel()
	log := &buffer{}
	w := newWorldWith(t, nil, func(o *fs.Options) { o.Logger = slog.New(slog.NewTextHandler(log, nil)) })
	cp, got, content := w.offer(t, "a", 300_000)
	if refused := attr(t, got, "refused"); refused != "" {
		t.Errorf("%q was refused already", refused)
	}
	for _, name := range []string{
		"tumblerd", "totem-video-thumbnailer", "evince-thumbnailer", "gdk-pixbuf-thumbnailer", "gnome-desktop-file-to-thumbnail",
		"ffmpegthumbnailer", "tracker-extract-3", "localsearch-extractor-3", "baloo_file_extractor", "file", "Some-Thumbnailer",
	} {
		w.refused(t, start(t, alias(t, name, "cat"), got), got, name)
	}
	tumblerd := alias(t, "tumblerd", "cat")
	w.refused(t, sh(t, `exec -a innocent "$1" "$2"`, tumblerd, got), got, "tumblerd")
	w.refused(t, sh(t, `exec -a /usr/bin/x-thumbnailer cat "$1"`, got), got, "x-thumbnailer")
	w.refused(t, sh(t, `"$1" < "$2"`, tumblerd, got), got, "tumblerd") // bash opens, tumblerd reads
	w.refused(t, start(t, "python3", script(t, "foo-thumbnailer", "import sys; open(sys.argv[1])"), got), got, "foo-thumbnailer")
	worker := alias(t, "kioworker", "cat")
	w.refused(t, start(t, worker, "/usr/lib/kf6/kio/thumbnail.so", got), got, "thumbnail.so")
	w.refused(t, sh(t, `exec -a "thumbnail.so [kdeinit5] thumbnail local:/run/x" cat "$1"`, got), got, "thumbnail.so")
	const inThread = `
import sys, threading
def read():
    open("/proc/thread-self/comm", "w").write("tumbler-1")
    try: open(sys.argv[1], "rb")
    except PermissionError as e: print(e.strerror, file=sys.stderr)
t = threading.Thread(target=read); t.start(); t.join(); sys.exit(1)`
	w.refused(t, start(t, "python3", "-c", inThread, got), got, "tumbler-1")
	w.refused(t, start(t, "python3", "-c", `import os, sys; os.open(sys.argv[1], os.O_NOATIME)`, got), got, "python3")

	if n := strings.Count(log.String(), "program=tumblerd "); n != 1 {
		t.Errorf("tumblerd stands %d times in the log", n)
	}
	same(t, start(t, "cat", got).succeeds(), content)
	cp.succeeds()
	eventually(t, "delivered", func() bool { return attr(t, got, "state") == "delivered" })
	same(t, start(t, tumblerd, got).succeeds(), content)
}

// asManager is a program that calls itself $1 and reads $3 as $2 says, to
// standard output.
const asManager = `
import mmap, os, sys
open("/proc/self/comm", "w").write(sys.argv[1])
how, path = sys.argv[2:]
f = os.open(path, os.O_RDONLY)
size = os.fstat(f).st_size
out = sys.stdout.buffer
if how == "sniff":
    out.write(os.read(f, 4096))
elif how == "sniff 64K":
    out.write(os.read(f, 64 << 10))
elif how == "sniff the end":
    out.write(os.pread(f, 16384, max(0, size - 16384)))
elif how == "read":
    while b := os.read(f, 128 << 10): out.write(b)
elif how == "splice":
    r, w = os.pipe()
    while n := os.splice(f, w, 1 << 16): out.write(os.read(r, n))
elif how == "sendfile":
    while n := os.sendfile(1, f, None, 1 << 20): pass
elif how == "mmap":
    out.write(mmap.mmap(f, size, prot=mmap.PROT_READ))
`

// TestManagers: file managers may copy, but not look what is in a file.
func TestManagers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, name := range []string{"Thunar", "pcmanfm-qt", "kioworker"} {
		cp, got, content := w.offer(t, name, 300_000)
		for _, how := range []string{"sniff", "sniff 64K", "sniff the end"} {
			w.refused(t, start(t, "python3", "-c", asManager, name, how, got), got, name)
		}
		same(t, start(t, "python3", "-c", asManager, name, "read", got).succeeds(), content)
		cp.succeeds()
		eventually(t, "delivered", func() bool { return attr(t, got, "state") == "delivered" })
		same(t, start(t, "python3", "-c", asManager, name, "sniff", got).succeeds(), content[:4096])
	}
	cp, got, content := w.offer(t, "gio", 300_000)
	kind := string(start(t, "gio", "info", "-a", "standard::content-type", got).succeeds()) // with O_NOATIME
	if state := attr(t, got, "state"); state != "offered" {
		t.Errorf("after gio info the offer is %s: %s", state, kind)
	}
	same(t, start(t, "python3", "-c", asManager, "gio", "sniff", got).succeeds(), content[:4096]) // not one of them
	cp.succeeds()
}

// TestSmallCopies: a file manager's copy of a small file is told from a look
// into it, because GLib copies through the page cache.
func TestSmallCopies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nautilus, dir := alias(t, "nautilus", "gio"), t.TempDir()
	for _, c := range []struct {
		how  string
		size int
	}{{"splice", 1}, {"sendfile", 4096}, {"mmap", 60_000}, {"gio", 2000}, {"gio", 70_000}} {
		cp, got, content := w.offer(t, c.how, c.size)
		w.refused(t, start(t, "python3", "-c", asManager, "nautilus", "sniff", got), got, "nautilus")
		if c.how == "gio" {
			start(t, nautilus, "copy", got, filepath.Join(dir, "out")).succeeds()
			b, err := os.ReadFile(filepath.Join(dir, "out"))
			if err != nil {
				t.Fatal(err)
			}
			same(t, b, content)
		} else {
			same(t, start(t, "python3", "-c", asManager, "nautilus", c.how, got).succeeds(), content)
		}
		cp.succeeds()
		start(t, "rm", got, filepath.Join(w.alice.room, c.how)).succeeds()
	}
}

// TestOwnRules: a person decides otherwise.
func TestOwnRules(t *testing.T) {
	t.Parallel()
	rules := filepath.Join(t.TempDir(), "readers.conf")
	text := "always tumblerd\nalways thunar\nnever od\nnever my*\nmanager kate\n"
	if err := os.WriteFile(rules, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	readers, err := fs.LoadReaders(rules)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorldWith(t, nil, func(o *fs.Options) { o.Readers = readers })
	cp, got, content := w.offer(t, "a", 300_000)
	w.refused(t, start(t, "od", got), got, "od")
	w.refused(t, start(t, alias(t, "mycat", "cat"), got), got, "mycat")
	w.refused(t, start(t, "python3", "-c", asManager, "kate", "sniff", got), got, "kate")
	w.refused(t, start(t, alias(t, "tracker-extract", "cat"), got), got, "tracker-extract")
	same(t, start(t, alias(t, "tumblerd", "cat"), got).succeeds(), content)
	cp.succeeds()
	cp, got, content = w.offer(t, "b", 300_000)
	const noAtime = `import os, sys; open("/proc/self/comm", "w").write("thunar"); print(os.read(os.open(sys.argv[1], os.O_NOATIME), 10).hex())`
	if n := len(start(t, "python3", "-c", noAtime, got).succeeds()); n != 21 {
		t.Errorf("%d bytes of hex", n)
	}
	cp.succeeds()
	same(t, start(t, "cat", got).succeeds(), content)
}

// TestAsk: nobody accepts by reading, but by hand.
func TestAsk(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, nil, func(o *fs.Options) { o.Ask = true })
	cp, got, content := w.offer(t, "a", 300_000)
	w.refused(t, start(t, "cat", got), got, "cat")
	w.refused(t, start(t, "cp", got, t.TempDir()), got, "cp")
	start(t, "ls", "-l", w.bob.incoming).succeeds()
	start(t, "setfattr", "-n", "user.matrix.accept", "-v", "1", got).succeeds()
	same(t, start(t, "cat", got).succeeds(), content)
	cp.succeeds()
}

// holder opens $2 as a program named $1, tries to read, says how that went, and
// keeps it open.
const holder = `
import os, sys, time
open("/proc/self/comm", "w").write(sys.argv[1])
f = os.open(sys.argv[2], os.O_RDONLY)
try: os.read(f, 100)
except PermissionError: os.write(1, b"refused")
else: os.write(1, b"read")
time.sleep(100)`

// TestLeavesNoTrace: what a program does that was refused, and how it ends,
// changes nothing for others.
func TestLeavesNoTrace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.stall(t, "a", 300_000, 100_000)
	thunar := start(t, "python3", "-c", holder, "thunar", s.got)
	thunar.says("refused")
	if state := attr(t, s.got, "state"); state != "offered" {
		t.Fatalf("the offer is %s", state)
	}
	start(t, "head", "-c", "1", s.got).succeeds() // accepts, and stops in good order
	thunar.signal(syscall.SIGTERM)
	if thunar.wait() == nil {
		t.Error("SIGTERM did nothing")
	}
	s.goOn(t)
	s.writer.succeeds()
	same(t, start(t, "cat", s.got).succeeds(), s.content)

	// Nor does it keep a reader that is killed from being the last.
	s = w.stall(t, "b", 300_000, 100_000)
	start(t, "python3", "-c", holder, "thunar", s.got).says("refused")
	cat := start(t, "cat", s.got)
	eventually(t, "cat reads", func() bool { return attr(t, s.got, "bytes") == "100000" })
	cat.signal(syscall.SIGINT)
	if cat.wait() == nil {
		t.Error("cat succeeded")
	}
	s.goOn(t)
	s.writer.failsWith("Connection reset")
}

// TestAcceptedByHandStays: what was accepted by hand comes, and everybody may
// read it, whoever gives up meanwhile.
func TestAcceptedByHandStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.stall(t, "a", 300_000, 100_000)
	start(t, "setfattr", "-n", "user.matrix.accept", "-v", "1", s.got).succeeds()
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		dd := start(t, "dd", "if="+s.got, "bs=10000", "status=none")
		dd.outputs(100_000)
		dd.signal(signal)
		if dd.wait() == nil {
			t.Error("dd succeeded")
		}
	}
	start(t, "python3", "-c", holder, "thunar", s.got).says("read")
	tumblerd := start(t, alias(t, "tumblerd", "cat"), s.got)
	if state := attr(t, s.got, "state"); state != "streaming" {
		t.Errorf("the transfer is %s", state)
	}
	s.goOn(t)
	same(t, tumblerd.succeeds(), s.content)
	s.writer.succeeds()
	same(t, start(t, "cat", s.got).succeeds(), s.content)
}
