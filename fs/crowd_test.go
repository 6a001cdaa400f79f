package fs_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// crowd is how many write, and how many read, at once.
const crowd = 100

// TestCrowd: many programs write and as many read, all at once, on both sides
// of a room. Every byte is right; TestMain sees that nothing is left.
func TestCrowd(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	type pair struct{ cp, cat *program }
	pairs := map[string]pair{}
	content := map[string][]byte{}
	for i := range crowd {
		name := fmt.Sprintf("file%d", i)
		content[name] = bytes.Repeat([]byte(name+" "), 1+i*500) // up to 400 kB
		source := filepath.Join(dir, name)
		if err := os.WriteFile(source, content[name], 0o600); err != nil {
			t.Fatal(err)
		}
		from, to := w.alice, w.bob
		if i%2 != 0 {
			from, to = to, from
		}
		pairs[name] = pair{
			cp: start(t, "cp", source, from.room),
			// Nobody reads before the offer is there, and all do at once.
			cat: sh(t, `until [ -e "$1" ]; do sleep 0.2; done; exec cat "$1"`, filepath.Join(to.incoming, name)),
		}
	}
	deadline := time.After(4 * time.Minute)
	for name, p := range pairs {
		for _, end := range []*program{p.cat, p.cp} {
			select {
			case <-end.done:
			case <-deadline:
				t.Fatalf("%v does not end", end.cmd.Args)
			}
			if end.fail != nil {
				t.Errorf("%v: %v: %s", end.cmd.Args, end.fail, end.err.String())
			}
		}
		same(t, p.cat.out.Bytes(), content[name])
	}
}
