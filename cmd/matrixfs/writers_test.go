package main_test

import (
	"path/filepath"
	"testing"
)

// The many ways to write a file: each arrives whole, under its name.
func TestWritersArriveWhole(t *testing.T) {
	t.Parallel()
	alice, bob, room := home(t).pair(t)
	first, second := sample(t, "first", 3<<20+17), sample(t, "second", 1<<20+5)
	// $1 is the file to write, $2 and $3 are the samples.
	for _, c := range []struct {
		name, script string
		want         []string
	}{
		{"cat", `cat "$2" > "$1"`, []string{first}},
		{"two-cats", `(cat "$2"; cat "$3") > "$1"`, []string{first, second}},
		{"slow-cats", `(cat "$2"; sleep 1; cat "$3") > "$1"`, []string{first, second}},
		{"dd", `dd if="$2" of="$1" bs=1M status=none`, []string{first}},
		{"dd-fsync", `dd if="$2" of="$1" bs=1M conv=fsync status=none`, []string{first}},
		{"tee", `tee "$1" < "$2" > /dev/null`, []string{first}},
		{"pipe", `cat "$2" "$3" | cat > "$1"`, []string{first, second}},
		{"empty", `: > "$1"`, nil},
		{"mv", `cp "$2" "$2.moved" && mv "$2.moved" "$1"`, []string{first}},
		{"install", `install -m 640 "$2" "$1"`, []string{first}},
		{"rsync", `rsync -a "$2" "$1"`, []string{first}},
		{"cp-archive", `cp -a "$2" "$1"`, []string{first}},
	} {
		t.Run(c.name, func(t *testing.T) {
			writer := shell(t, c.script, filepath.Join(alice.room(room), c.name), first, second)
			offer := bob.awaits(t, c.name)
			copied := filepath.Join(t.TempDir(), "copied")
			shell(t, `cat "$1" > "$2"`, offer, copied).succeeds()
			writer.succeeds()
			sameBytes(t, copied, c.want...)
		})
	}
}

// The many ways to read one.
func TestReadersGetItWhole(t *testing.T) {
	t.Parallel()
	alice, bob, room := home(t).pair(t)
	// $1 is the incoming file, $2 is where to put it.
	for _, c := range []struct{ name, script string }{
		{"cp", `cp "$1" "$2"`},
		{"dd", `dd if="$1" of="$2" bs=1M status=none`},
		{"dd-small", `dd if="$1" of="$2" bs=512 status=none`},
		{"tail-then-head", `tail -c 1000000 "$1" > "$2.tail"; head -c 1097155 "$1" > "$2"; cat "$2.tail" >> "$2"`},
		{"two-readers", `cat "$1" > "$2.other" & cat "$1" > "$2" && wait $! && cmp "$2" "$2.other"`},
		{"rsync", `rsync "$1" "$2"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			source := sample(t, c.name, 2<<20+3)
			writer := start(t, "cp", source, alice.room(room))
			offer := bob.awaits(t, c.name)
			copied := filepath.Join(t.TempDir(), "copied")
			shell(t, c.script, offer, copied).succeeds()
			writer.succeeds()
			sameBytes(t, copied, source)
		})
	}
}
