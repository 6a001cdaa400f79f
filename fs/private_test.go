package fs_test

import (
	"strings"
	"testing"
)

// TestSpoolPrivate: only the program that keeps a file beside another may make
// or write it. All others would take it for sent.
func TestSpoolPrivate(t *testing.T) {
	t.Parallel()
	w, _ := newSpoolWorld(t, 0, nil)
	source, content := file(t, ".notes.swp", 1000)
	const asVim = `python3 -c 'import os, sys; open("/proc/self/comm", "w").write("vim"); os.open(sys.argv[1], os.O_CREAT|int(sys.argv[2]))' `
	for _, script := range []string{
		`cp "$1" "$2"`, `mv "$1" "$2"`, `cat "$1" > "$2/.notes.swp"`, `rsync -a "$1" "$2"`, `rsync -a --inplace "$1" "$2"`,
		`cp "$1" "$2/.notes.swp.part"`, `cp "$1" "$2/a" && mv "$2/a" "$2/.notes.swp"`,
		`exec 3<> "$2/db"; cp "$1" "$2/db-journal" || exit 1`, `exec 3<> "$2/db"; mv "$1" "$2/db-wal" || exit 1`, `exec 3<> "$2/db"; python3 -c 'open("'"$2"'/db-shm", "w+")' || exit 1`,
		asVim + `"$2/.a.swp" 2 && cp "$1" "$2/.a.swp"`, asVim + `"$2/.notes.swo" 1`,
	} {
		// This one sends a file first.
		if script == `cp "$1" "$2/a" && mv "$2/a" "$2/.notes.swp"` {
			p := sh(t, script, source, w.alice.room)
			w.bob.takes("a", content)
			p.failsWith("Permission denied")
			continue
		}
		before := len(w.hub.Log())
		words := "ermission denied"
		if strings.Contains(script, "--inplace") {
			words = "failed" // rsync tries again without O_CREAT
		}
		sh(t, script, source, w.alice.room).failsWith(words)
		if n := len(w.hub.Log()); n != before {
			t.Errorf("%s: the room has seen %d messages", script, n-before)
		}
		if !exists(source) {
			t.Fatalf("%s: the source is gone", script)
		}
	}
}
