package fs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/matrixfs/matrixfs/transfer"
)

// offer starts cp of a file of n bytes to bob, and gives what it became.
func (w *world) offer(t *testing.T, name string, n int) (cp *program, got string, content []byte) {
	t.Helper()
	source, content := file(t, name, n)
	cp = start(t, "cp", source, w.alice.room)
	return cp, w.bob.arrives(name), content
}

// TestLookingAcceptsNothing: only reading does.
func TestLookingAcceptsNothing(t *testing.T) {
	w := newWorld(t)
	cp, got, content := w.offer(t, "a", 1000)
	for _, script := range []string{
		`ls -la "$1"`, `stat "$1/a"`, `find "$1" -newer /etc/passwd`, `du -a "$1"`, `wc -c "$1/a"`, `: < "$1/a"`,
		`python3 -c 'import os,sys; os.listxattr(sys.argv[1]+"/a")' "$1"`, `test -r "$1/a"`, `rsync --list-only "$1/"`,
		`touch "$1/a"`, `chmod 644 "$1/a"`,
	} {
		sh(t, script, w.bob.incoming).succeeds()
		if state := attr(t, got, "state"); state != "offered" {
			t.Fatalf("after %s the offer is %s", script, state)
		}
	}
	for _, script := range []string{`echo > "$1"`, `echo >> "$1"`, `truncate -s 0 "$1"`, `mv "$1" "$1.new"`, `ln "$1" "$1.new"`} {
		if sh(t, script, got).wait() == nil {
			t.Errorf("%s succeeded", script)
		}
	}
	same(t, start(t, "cat", got).succeeds(), content)
	cp.succeeds()
}

// TestReaders reads in all the ways that real programs have.
func TestReaders(t *testing.T) {
	w := newWorld(t)
	out := filepath.Join(t.TempDir(), "out")
	for i, script := range []string{
		`cp "$1" "$2"`, `dd if="$1" of="$2" bs=777 2>&1`, `dd if="$1" of="$2" bs=4M 2>&1`, `cat < "$1" > "$2"`, `rsync -a "$1" "$2"`,
		`gio copy "$1" "$2"`, `tar cf - -C "$(dirname "$1")" "$(basename "$1")" | tar xfO - > "$2"`, `mv "$1" "$2"`,
		`python3 -c 'import shutil,sys; shutil.copyfile(sys.argv[1], sys.argv[2])' "$1" "$2"`, `install "$1" "$2"`, `tail -c +1 "$1" > "$2"`,
	} {
		cp, got, content := w.offer(t, fmt.Sprintf("a%d", i), 3_000_000)
		sh(t, `rm -f "$2"; `+script, got, out).succeeds()
		cp.succeeds()
		b, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		same(t, b, content)
		if script[:2] == "mv" && exists(got) {
			t.Error("mv left the file where it was")
		}
	}
}

// seeker reads the file backwards, and with mmap.
const seeker = `
import hashlib, mmap, os, sys
f = os.open(sys.argv[1], os.O_RDONLY)
size = os.fstat(f).st_size
if sys.argv[2] == "seek":
    step, parts = 100_000, []
    for off in range((size-1)//step*step, -1, -step):
        parts.append(os.pread(f, step, off))
    data = b"".join(reversed(parts))
else:
    with mmap.mmap(f, size, prot=mmap.PROT_READ) as m: data = m[size//2:] ; data = m[:size//2] + data
print(hashlib.sha256(data).hexdigest(), size)`

// TestSeekAndMap: both work while the file is coming in, and after.
func TestSeekAndMap(t *testing.T) {
	w := newWorld(t)
	for _, how := range []string{"seek", "mmap"} {
		cp, got, content := w.offer(t, "a"+how, 10_000_000)
		first := start(t, "python3", "-c", seeker, got, how)
		second := start(t, "cat", got)
		same(t, second.succeeds(), content)
		one := string(first.succeeds())
		cp.succeeds()
		eventually(t, "delivered", func() bool { return attr(t, got, "state") == "delivered" })
		two := string(start(t, "python3", "-c", seeker, got, how).succeeds())
		if one != two || !strings.HasSuffix(one, " 10000000\n") {
			t.Errorf("%s: %q while coming in, %q after", how, one, two)
		}
	}
}

// TestUnknownSize: a pipe is streamed, and has its size as soon as it is known.
func TestUnknownSize(t *testing.T) {
	w := newWorld(t)
	source, content := file(t, "a", 5_000_000)
	p := sh(t, `(cat "$1"; sleep 0.3; cat "$1") | cat > "$2"`, source, filepath.Join(w.alice.room, "x"))
	got := w.bob.arrives("x")
	if size := attr(t, got, "size"); size != "" {
		t.Errorf("the size of a pipe is said to be %q", size)
	}
	both := append(append([]byte{}, content...), content...)
	same(t, start(t, "cat", got).succeeds(), both)
	p.succeeds()
	if size := string(start(t, "stat", "-c", "%s", got).succeeds()); size != "10000000\n" {
		t.Errorf("the size is %q", size)
	}
	same(t, start(t, "cat", got).succeeds(), both)
}

// TestSameName: the second offer of a name gets another one, and each keeps its
// own.
func TestSameName(t *testing.T) {
	w := newWorld(t)
	cp1, first, _ := w.offer(t, "example.doc", 1000)
	source, two := file(t, "example.doc", 2000)
	p := sh(t, `exec cat "$1" > "$2"`, source, filepath.Join(w.alice.room, "example.doc.part"))
	second := w.bob.arrives("example (2).doc")
	start(t, "rm", first).succeeds()
	cp1.failsWith("Connection refused")
	if exists(first) || !exists(second) {
		t.Error("the second offer did not keep its name")
	}
	same(t, start(t, "cat", second).succeeds(), two)
	p.succeeds()
}

// TestHostileName: what comes in cannot leave its directory, or fool anybody.
func TestHostileName(t *testing.T) {
	w := newWorld(t)
	out, err := w.alice.member.Exchange.Offer(w.hub.Room, "../../.\u202egpj.exe\x1b[31m/evil\n")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Cancel()
	go func() { _, _ = out.Write(t.Context(), []byte("x")) }()
	eventually(t, "the offer", func() bool { return len(list(t, w.bob.incoming)) == 1 })
	name := list(t, w.bob.incoming)[0]
	if want := "_.._.gpj.exe[31m_evil"; name != want {
		t.Errorf("the name is %q, not %q", name, want)
	}
	if raw := attr(t, filepath.Join(w.bob.incoming, name), "name"); strings.ContainsAny(raw, "\x1b\n\u202e") {
		t.Errorf("the attribute is %q", raw)
	}
}

// TestAcceptByHand: an attribute accepts without reading.
func TestAcceptByHand(t *testing.T) {
	w := newWorld(t)
	cp, got, content := w.offer(t, "a", 1000)
	if err := syscall.Setxattr(got, "user.matrix.accept", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	cp.succeeds()
	same(t, start(t, "cat", got).succeeds(), content)
}

// TestAttributes: all that there is to know can be read.
func TestAttributes(t *testing.T) {
	w := newWorld(t)
	cp, got, _ := w.offer(t, "a.txt", 1000)
	sent := filepath.Join(w.alice.room, "a.txt")
	for path, trust := range map[string]string{got: "unencrypted", sent: ""} { // nobody has answered yet
		for name, want := range map[string]string{
			"room": string(w.hub.Room), "sender": "@alice:test", "device": "ALICE", "trust": trust, "state": "offered",
			"size": "1000", "name": "a.txt", "error": "", "path": "", "mimetype": "text/plain; charset=utf-8",
		} {
			if value := attr(t, path, name); value != want && name != "mimetype" {
				t.Errorf("%s of %s is %q, not %q", name, path, value, want)
			}
		}
		if _, err := time.Parse(time.RFC3339, attr(t, path, "expiry")); err != nil {
			t.Errorf("expiry of %s: %v", path, err)
		}
	}
	if attr(t, got, "transfer_id") != attr(t, sent, "transfer_id") {
		t.Error("the two ends have different transfer ids")
	}
	names := string(start(t, "python3", "-c", "import os,sys; print(os.listxattr(sys.argv[1]))", got).succeeds())
	for _, name := range []string{"transfer_id", "mimetype", "bytes", "rate", "expiry", "error"} {
		if !strings.Contains(names, "'user.matrix."+name+"'") {
			t.Errorf("%s is not listed in %s", name, names)
		}
	}
	const stick = `import os,sys
os.setxattr(sys.argv[1], "user.note", b"hello"); assert os.getxattr(sys.argv[1], "user.note") == b"hello"
os.setxattr(sys.argv[1], "user.matrix.state", b"x"); assert os.getxattr(sys.argv[1], "user.matrix.state") != b"x"
os.removexattr(sys.argv[1], "user.note"); assert "user.note" not in os.listxattr(sys.argv[1])`
	start(t, "python3", "-c", stick, sent).succeeds()
	sh(t, `chmod 640 "$1" && chown 0:0 "$1" && touch -d @1000000000 "$1"`, sent).succeeds()
	start(t, "cat", got).succeeds()
	cp.succeeds()
	if trust := attr(t, sent, "trust"); trust != "unencrypted" {
		t.Errorf("whoever got the file has trust %q", trust)
	}
	if s := string(start(t, "stat", "-c", "%a %Y", sent).succeeds()); s != "640 1000000000\n" {
		t.Errorf("chmod and touch left %q", s)
	}
	if state, n := attr(t, sent, "state"), attr(t, sent, "bytes"); state != "delivered" || n != "1000" {
		t.Errorf("%s, %s bytes", state, n)
	}
}

// TestRelay: from one incoming file to another room, in one go.
func TestRelay(t *testing.T) {
	w := newWorld(t)
	source, content := file(t, "a", 10_000_000)
	cp := start(t, "cp", source, filepath.Join(w.alice.room, "a"))
	back := start(t, "cp", w.bob.arrives("a"), filepath.Join(w.bob.room, "b"))
	w.alice.takes("b", content)
	back.succeeds()
	cp.succeeds()
}

// TestLarge: a file larger than the cache streams through.
func TestLarge(t *testing.T) {
	w := newWorldWith(t, func(c *transfer.Config) { c.CacheSize = 16 << 20 })
	cp, got, content := w.offer(t, "a", 60_000_000)
	same(t, start(t, "cat", got).succeeds(), content)
	cp.succeeds()
	if p := start(t, "cat", got); p.wait() == nil {
		same(t, p.out.Bytes(), content) // whole or an error, nothing else
	} else {
		p.failsWith("Input/output error")
	}
}
