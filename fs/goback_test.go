package fs_test

import (
	"os"
	"path/filepath"
	"testing"
)

// backward are ways to write a file out of order, and to read it back. $1 and
// $2 are files of 300,000 and 100,000 bytes, $3 is the file to write.
var backward = []struct{ name, script string }{
	{"header at the end", `python3 - "$@" <<'E'
import sys
with open(sys.argv[3], "wb") as f:
    f.write(b"-"*100 + open(sys.argv[1], "rb").read())
    f.seek(40); f.write(b"the length, which is known now")
    f.seek(0, 2); f.write(b"the end")
E`},
	{"over the end", `python3 - "$@" <<'E'
import os, sys
f = os.open(sys.argv[3], os.O_WRONLY|os.O_CREAT)
os.write(f, b"x"*1000)
assert os.pwrite(f, b"y"*5000, 500) == 5000
os.pwrite(f, b"z"*100, 20000); os.pwrite(f, b"in the gap", 10000)
os.close(f)
E`},
	// What ffmpeg does for mp4 with +faststart: a second descriptor reads what
	// the first one moves back.
	{"moved back", `python3 - "$@" <<'E'
import sys
with open(sys.argv[3], "wb", buffering=0) as f, open(sys.argv[3], "rb", buffering=0) as g:
    f.write(b"ftyp" + b"mdat----")
    f.write(open(sys.argv[1], "rb").read())
    f.seek(8); f.write(b"size")
    moov, g_pos = b"moov"*100, 12
    g.seek(g_pos)
    a = g.read(65536); f.seek(12); f.write(moov)
    while a:
        b = g.read(65536); f.write(a); a = b
E`},
	{"emptied", `python3 - "$@" <<'E'
import sys
with open(sys.argv[3], "wb", buffering=0) as f:
    f.write(open(sys.argv[1], "rb").read())
    f.truncate(100_000); f.truncate(0); f.seek(0)
    f.write(open(sys.argv[2], "rb").read()); f.truncate(50_000); f.truncate(60_000)
E`},
	{"read back", `python3 - "$@" <<'E'
import os, sys
data = open(sys.argv[1], "rb").read()
f = os.open(sys.argv[3], os.O_RDWR|os.O_CREAT)
for i in range(0, len(data), 10_000): os.pwrite(f, data[i:i+10_000], i)
assert os.pread(f, 4096, 0) == data[:4096]
assert os.pread(f, 4096, len(data)-96) == data[-96:]
assert os.pread(f, 4096, len(data)) == b""
os.ftruncate(f, len(data)+1000)
assert os.pread(f, 4096, len(data)-96) == data[-96:] + bytes(1000)
g = os.open(sys.argv[3], os.O_RDONLY)
assert os.pread(g, len(data), 5) == data[5:] + bytes(5)
os.close(f); os.close(g)
E`},
	{"zip", `cd "$(dirname "$1")" && zip -qX "$3.zip" a && mv "$3.zip" "$3"`},
	{"zipfile", `cd "$(dirname "$1")" && python3 -m zipfile -c "$3" a`},
}

// goBack runs each of the scripts in the room of s, and on an ordinary disk:
// the same has to come out.
func (w *world) goBack(t *testing.T, ways []struct{ name, script string }) {
	a, _ := file(t, "a", 300_000)
	b, _ := file(t, "b", 100_000)
	for _, c := range ways {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			name := c.name + ".bin"
			plain := filepath.Join(t.TempDir(), name)
			sh(t, c.script, a, b, plain).succeeds()
			want, err := os.ReadFile(plain)
			if err != nil {
				t.Fatal(err)
			}
			p := sh(t, c.script, a, b, filepath.Join(w.alice.room, name))
			offered := name
			if c.name == "zip" {
				offered += ".zip"
			}
			same(t, start(t, "cat", w.bob.arrives(offered)).succeeds(), want)
			p.succeeds()
		})
	}
}

// TestGoBack: what has not left can be changed and read.
func TestGoBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	t.Run("small files", func(t *testing.T) { w.goBack(t, backward) })
	large, content := file(t, "large", 12_000_000)
	for _, c := range []struct{ name, script, fails string }{
		{"written", `python3 - "$@" <<'E'
import os, sys
f = os.open(sys.argv[2], os.O_RDWR|os.O_CREAT)
os.write(f, open(sys.argv[1], "rb").read())
os.pwrite(f, b"too late", 40)
E`, "Illegal seek"},
		{"written and closed", `python3 - "$@" <<'E'
import sys
with open(sys.argv[2], "wb", buffering=0) as f:
    f.write(open(sys.argv[1], "rb").read())
    f.seek(40); f.write(b"too late")
E`, "Illegal seek"},
		{"cut", `python3 - "$@" <<'E'
import sys
with open(sys.argv[2], "wb", buffering=0) as f:
    f.write(open(sys.argv[1], "rb").read())
    f.truncate(40)
E`, "Illegal seek"},
		{"read", `python3 - "$@" <<'E'
import os, sys
f = os.open(sys.argv[2], os.O_RDWR|os.O_CREAT)
os.write(f, open(sys.argv[1], "rb").read())
os.pread(f, 4096, 40)
E`, "Permission denied"},
		{"by another program", `exec 3>"$2"; dd if="$1" of="$2" bs=10000 count=1 conv=notrunc status=none
			dd if="$1" of="$2" bs=1 count=10 seek=40 conv=notrunc status=none`, "Illegal seek"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := sh(t, c.script, large, filepath.Join(w.alice.room, c.name))
			cat := start(t, "cat", w.bob.arrives(c.name))
			p.failsWith(c.fails)
			if cat.wait() == nil {
				t.Error("what came of it was delivered")
			}
			w.nothing(t, c.name)
		})
	}
	sent := filepath.Join(w.alice.room, "large")
	cp := start(t, "cp", large, sent)
	w.bob.takes("large", content)
	cp.succeeds()
	start(t, "head", "-c", "4096", sent).failsWith("Permission denied")
}
