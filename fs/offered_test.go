package fs_test

import (
	"path/filepath"
	"testing"

	"github.com/matrixfs/matrixfs/fs"
)

// The path of an offer is the one that it has in the mount, also where two have
// the same name, and accepting it there gets it although nobody reads.
func TestPathOfOffer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	path, content := file(t, "twice.doc", 100_000)
	first := start(t, "cp", path, w.alice.room)
	w.bob.arrives("twice.doc")
	in := w.bob.member.Exchange.Incoming()[0]
	if err := w.bob.mount.Accept(in); err != nil {
		t.Fatal(err)
	}
	first.succeeds()
	second := start(t, "cp", path, w.alice.room)
	w.bob.arrives("twice (2).doc")
	for i, name := range []string{"twice.doc", fs.NumberedName("twice.doc", 2)} {
		if got, want := w.bob.mount.PathOf(w.bob.member.Exchange.Incoming()[i]), filepath.Join(w.bob.incoming, name); got != want {
			t.Errorf("the path is %s, want %s", got, want)
		}
	}
	w.bob.takes("twice (2).doc", content)
	second.succeeds()
	in.Remove()
	if got := w.bob.mount.PathOf(in); got != "" {
		t.Errorf("an offer that is gone has the path %s", got)
	}
}
