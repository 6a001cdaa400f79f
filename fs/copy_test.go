package fs_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// TestCopy sends files of all sizes both ways with cp, and takes them with cat.
func TestCopy(t *testing.T) {
	w := newWorld(t)
	for _, n := range []int{0, 1, 46144, 20_000_000} {
		for _, way := range []struct{ from, to *side }{{w.alice, w.bob}, {w.bob, w.alice}} {
			t.Run(strconv.Itoa(n), func(t *testing.T) {
				name := "example" + strconv.Itoa(n) + ".doc"
				source, content := file(t, name, n)
				cp := start(t, "cp", source, way.from.room)
				got := way.to.arrives(name)
				if size := attr(t, got, "size"); size != strconv.Itoa(n) {
					t.Errorf("the offer says %q bytes, not %d", size, n)
				}
				same(t, start(t, "cat", got).succeeds(), content)
				cp.succeeds()
				sent := filepath.Join(way.from.room, name)
				if state := attr(t, sent, "state"); state != "delivered" {
					t.Errorf("the file is listed as %s", state)
				}
				if info, err := os.Stat(sent); err != nil || info.Size() != int64(n) {
					t.Errorf("the file is listed with %v (%v)", info, err)
				}
				same(t, start(t, "cat", got).succeeds(), content) // once more
				start(t, "rm", got, sent).succeeds()
				if exists(got) || exists(sent) {
					t.Error("rm did not remove")
				}
			})
		}
	}
}

// TestWriters writes in all the ways that real programs have.
func TestWriters(t *testing.T) {
	w := newWorld(t)
	a, one := file(t, "a", 300_000)
	b, two := file(t, "b", 5_000_000)
	hole := filepath.Join(t.TempDir(), "hole")
	sparse := append(append(make([]byte, 1<<20), one...), make([]byte, 3<<20)...)
	if err := os.WriteFile(hole, sparse, 0o600); err != nil {
		t.Fatal(err)
	}
	both := append(append([]byte{}, one...), two...)
	for _, c := range []struct {
		name, script string
		want         []byte
	}{
		{"cat", `cat "$1" > "$4"`, one},
		{"cat twice", `(cat "$1"; cat "$2") > "$4"`, both},
		{"append", `exec 5>"$4"; cat "$1" >> "$4"; cat "$2" >> "$4"; exec 5>&-`, both},
		{"dd", `dd if="$2" of="$4" bs=1M`, two},
		{"dd fsync", `dd if="$2" of="$4" bs=1M conv=fsync`, two},
		{"dd short", `dd if="$2" of="$4" bs=1000 count=300 iflag=fullblock`, two[:300_000]},
		{"tee", `tee "$4" < "$2" > /dev/null`, two},
		{"pipe", `cat "$1" "$2" | cat > "$4"`, both},
		{"echo", `echo hello > "$4"`, []byte("hello\n")},
		{"touch", `touch "$4"`, nil},
		{"truncate", `truncate -s 100000 "$4"`, make([]byte, 100_000)},
		{"fallocate", `fallocate -l 300000 "$4"; exit`, make([]byte, 300_000)},
		{"fallocate keep size", `exec 5>"$4"; fallocate -n -l 9000000 "$4"; cat "$2" >&5; exec 5>&-`, two},
		{"punch hole", `exec 5>"$4"; fallocate -l 100000 "$4"; fallocate -p -o 0 -l 100000 "$4"; exec 5>&-`, make([]byte, 100_000)},
		{"tar x", `tar cf - --transform 's/.*/tar x.bin/' -C "$(dirname "$2")" b | tar xf - -C "$(dirname "$4")"`, two},
		{"sparse", `cp --sparse=always "$3" "$4"`, sparse},
		{"install", `install -m 640 "$2" "$4"`, two},
		{"cp -a", `cp -a "$2" "$4"`, two},
		{"rsync", `rsync -a "$2" "$4"`, two},
		{"rsync preallocate", `rsync -a --preallocate "$2" "$4"`, two},
		{"rsync inplace", `rsync -a --inplace "$2" "$4"`, two},
		{"gio", `gio copy "$2" "$4"`, two},
		{"pv", `pv -q "$2" > "$4"`, two},
		{"python", `python3 -c 'import sys,shutil; shutil.copy(sys.argv[1], sys.argv[2])' "$2" "$4"`, two},
		{"python open to the end", `python3 -c 'import sys; print("hello")' > "$4"`, []byte("hello\n")},
		{"tar", `tar cf - -C "$(dirname "$2")" b > "$4"`, nil},
		{"mv", `cp "$2" "$2.copy" && mv "$2.copy" "$4"`, two},
	} {
		t.Run(c.name, func(t *testing.T) {
			name := c.name + ".bin"
			p := sh(t, c.script, a, b, hole, filepath.Join(w.alice.room, name))
			got := start(t, "cat", w.bob.arrives(name)).succeeds()
			p.succeeds()
			if c.name == "tar" {
				if !bytes.Contains(got, two) {
					t.Fatal("the archive is not whole")
				}
				return
			}
			same(t, got, c.want)
		})
	}
}

// TestOverwrite sends a second file under the name of the first.
func TestOverwrite(t *testing.T) {
	w := newWorld(t)
	a, one := file(t, "a", 100_000)
	b, two := file(t, "b", 200_000)
	target := filepath.Join(w.alice.room, "x")
	for _, c := range []struct {
		script string
		want   []byte
	}{
		{`cp "$1" "$3"`, one}, {`cp "$2" "$3"`, two}, {`cat "$1" > "$3"`, one}, {`gio copy "$2" "$3"`, two},
		{`cp "$1" "$3.new" && mv "$3.new" "$3"`, one},
	} {
		p := sh(t, c.script, a, b, target)
		names := []string{}
		eventually(t, "an offer of "+c.script, func() bool { names = list(t, w.bob.incoming); return len(names) > 0 })
		got := filepath.Join(w.bob.incoming, names[0])
		same(t, start(t, "cat", got).succeeds(), c.want)
		p.succeeds()
		start(t, "rm", got).succeeds()
		if names := list(t, w.alice.room); len(names) != 1 {
			t.Errorf("%s leaves %q", c.script, names)
		}
	}
}

// TestPartialNames: programs that write under a temporary name offer the file
// under the one it will have.
func TestPartialNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	source, _ := file(t, "x.bin", 300_000)
	target := filepath.Join(w.alice.room, "x.bin")
	for _, c := range []struct{ program, script string }{
		{"rsync", `rsync -a "$1" "$2"`},
		{"rsync again", `rsync -a --ignore-times "$1" "$2"`},
		{"gio", `gio copy "$1" "$2"`}, // over what is there: .goutputstream-XXXXXX
		{"gio, large", `head -c 20000000 /dev/zero > "$1.large"; mv "$1.large" "$1"; gio copy "$1" "$2"`},
		{"Thunar", `cp "$1" "$2.partial~" && mv "$2.partial~" "$2"`},
		{"KIO", `cp "$1" "$2.part" && mv "$2.part" "$2"`},
	} {
		p := sh(t, c.script, source, target)
		got := w.bob.arrives("x.bin")
		sum := start(t, "cat", got).succeeds()
		p.succeeds()
		if content, err := os.ReadFile(source); err != nil || !bytes.Equal(sum, content) {
			t.Errorf("%s: %d bytes came out: %v", c.program, len(sum), err)
		}
		if names := list(t, w.bob.incoming); len(names) != 1 {
			t.Errorf("%s offers %q", c.program, names)
		}
		start(t, "rm", got).succeeds()
	}
}
