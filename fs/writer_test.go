package fs_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestExitWithoutClose: a process that leaves closing to its end waits a while,
// and then the file goes on without it.
func TestExitWithoutClose(t *testing.T) {
	w := newWorld(t)
	p := sh(t, `exec python3 -c 'print("hello")' > "$1"`, filepath.Join(w.alice.room, "x"))
	got := w.bob.arrives("x")
	began := time.Now()
	p.succeeds()
	if d := time.Since(began); d < 2*time.Second || d > patience {
		t.Errorf("it ended after %v", d)
	}
	same(t, start(t, "cat", got).succeeds(), []byte("hello\n"))
	sent := filepath.Join(w.alice.room, "x")
	eventually(t, "delivery", func() bool { return attr(t, sent, "state") == "delivered" })
}

// TestHolders: a descriptor that can't write does not put off the end; one that
// can does.
func TestHolders(t *testing.T) {
	w := newWorld(t)
	const path = `
import os,sys,time
f = os.open(sys.argv[1], os.O_WRONLY|os.O_CREAT)
p = os.open(sys.argv[1], os.O_PATH)
os.write(f, b"hello"); os.close(f); print("done", flush=True); time.sleep(100)`
	p := start(t, "python3", "-c", path, filepath.Join(w.alice.room, "x"))
	w.bob.takes("x", []byte("hello"))
	eventually(t, "the close", func() bool { return attr(t, filepath.Join(w.alice.room, "x"), "state") == "delivered" })
	p.signal(syscall.SIGKILL)

	const held = `
import os,sys
f = os.open(sys.argv[1], os.O_WRONLY|os.O_CREAT)
os.rename(sys.argv[1], sys.argv[1]+".new")
r, s = os.pipe()
if os.fork() == 0:
    os.close(s); os.read(r, 1)
    os.write(f, b"world"); os.close(f); os._exit(0)
os.write(f, b"hello "); os.close(f)
os.write(s, b"x"); os.wait()`
	p = start(t, "python3", "-c", held, filepath.Join(w.alice.room, "y"))
	w.bob.takes("y.new", []byte("hello world"))
	p.succeeds()
}

// TestTarWatched: tar does not come again for what write(2) has left. It need
// not, whoever looks at the file meanwhile.
func TestTarWatched(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	source, content := file(t, "a", 9_000_000) // more than the window
	sent := filepath.Join(w.alice.room, "x.tar")
	p := start(t, "tar", "cf", sent, "-C", filepath.Dir(source), "a")
	got := w.bob.arrives("x.tar")
	watch := sh(t, `while ls -l "$1"; do :; done`, w.alice.room)
	eventually(t, "tar goes on beyond the window", func() bool { return size(sent) > 8<<20+100_000 })
	archive := start(t, "cat", got).succeeds()
	p.succeeds()
	watch.signal(syscall.SIGKILL)
	extract := exec.Command("tar", "xO")
	extract.Stdin = bytes.NewReader(archive)
	out, err := extract.Output()
	if err != nil {
		t.Error(err)
	}
	same(t, out, content)
}

// TestShortWrites: a write that waits gives way to who looks at the file, and
// nothing is lost when it does so many times; not even if it can't take all.
func TestShortWrites(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const python = `
import os,sys
f, size, short = os.open(sys.argv[1], os.O_WRONLY|os.O_CREAT), 20_000_000, 0
data = bytes(i*7 % 251 for i in range(1004))*20_000
at = 0
while at < size:
    n = os.pwrite(f, data[at:min(at+5_000_000, size)], at)
    short += n < min(5_000_000, size-at)
    at += n
os.close(f)
print(short)`
	want := make([]byte, 20_000_000)
	for i := range want {
		want[i] = byte(i % 1004 * 7 % 251)
	}
	sent := filepath.Join(w.alice.room, "x")
	const window, queue, piece = 8 << 20, 8 << 20, 64 << 10
	for _, looks := range []bool{false, true} {
		p := start(t, "python3", "-c", python, sent)
		got := w.bob.arrives("x")
		if looks {
			// Each look at its size is a look.
			eventually(t, "writes that are short", func() bool { return size(sent) > window+queue-piece })
		}
		same(t, start(t, "cat", got).succeeds(), want)
		n, err := strconv.Atoi(strings.TrimSpace(string(p.succeeds())))
		if err != nil || (n > 0) != looks {
			t.Errorf("looked at: %v; there were %d short writes (%v)", looks, n, err)
		}
		start(t, "rm", got, sent).succeeds()
	}
}

// size is how long a file is, or -1.
func size(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return -1
	}
	return info.Size()
}

// TestGaps: what is skipped is zeros, also where it is skipped while nobody
// takes anything.
func TestGaps(t *testing.T) {
	w := newWorld(t)
	const python = `
import os,sys
f = os.open(sys.argv[1], os.O_WRONLY|os.O_CREAT)
for i in range(5):
    os.pwrite(f, b"x"*100_000, i*5_000_000+1000)
os.ftruncate(f, 30_000_000)
os.close(f)`
	p := start(t, "python3", "-c", python, filepath.Join(w.alice.room, "x"))
	got := w.bob.arrives("x")
	want := make([]byte, 30_000_000)
	for i := range 5 {
		copy(want[i*5_000_000+1000:], slices.Repeat([]byte("x"), 100_000))
	}
	same(t, start(t, "cat", got).succeeds(), want)
	p.succeeds()
}

// TestTwoWriters: nobody empties a file that somebody else is sending.
func TestTwoWriters(t *testing.T) {
	w := newWorld(t)
	source, content := file(t, "a", 100_000)
	first := sh(t, `(cat "$1"; cat <&3) 3<>"$3" > "$2"`, source, filepath.Join(w.alice.room, "a"), fifo(t))
	got := w.bob.arrives("a")
	start(t, "cp", source, w.alice.room).failsWith("Device or resource busy")
	sh(t, `truncate -s 10 "$1/a"`, w.alice.room).failsWith("Device or resource busy")
	cat := start(t, "cat", got)
	eventually(t, "the bytes so far", func() bool { return attr(t, got, "bytes") == strconv.Itoa(len(content)) })
	first.signal(syscall.SIGTERM)
	_ = first.wait()
	if cat.wait() == nil {
		t.Error("a short file was delivered as a whole one")
	}
}
