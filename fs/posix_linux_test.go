package fs_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hanwen/go-fuse/v2/posixtest"

	"github.com/matrixfs/matrixfs/transfer/transfertest"
)

// takes is the environment variable that gives the servant's room a person who
// accepts every file at once.
const takes = "MATRIXFS_TEST_TAKES"

// notApplicable are the tests of POSIX that a mount can't pass, by their
// reason. doc.go lists them.
var notApplicable = map[string][]string{
	"it reads back what was sent": {
		"AppendWrite", "DirectIO", "FallocateKeepSize", "FdLeak", "FileBasic", "FileLarge", "FstatDeleted",
		"LseekEnxioCheck", "LseekHoleSeeksToEOF", "NlinkZero", "Tmpfile",
	},
	"it changes what was sent": {"TruncateFile", "TruncateNoFile"},
	"it makes a directory": {
		"DirSeek", "MkdirRmdir", "OpenAt", "RenameOpenDir", "RenameOverwriteDestExist", "RenameOverwriteDestNoExist",
	},
	// POSIX has it that way, and so has a disk.
	"it wants a lock to keep out its own process": {"FcntlFlockLocksFile"},
	"it makes a link": {"Link", "LinkUnlinkRename", "OpenSymlinkRace", "SetattrSymlink", "SymlinkReadlink"},
}

// TestPOSIX runs go-fuse's tests of POSIX in a room. The mount is in another
// process: one that waits for itself can't be killed.
func TestPOSIX(t *testing.T) {
	known := map[string]bool{}
	for _, names := range notApplicable {
		for _, name := range names {
			if posixtest.All[name] == nil {
				t.Errorf("there is no %s any more", name)
			}
			known[name] = true
		}
	}
	t.Setenv(takes, "1")
	point := t.TempDir()
	startServant(t, point, uint32(os.Getuid()))
	for _, name := range slices.Sorted(maps.Keys(posixtest.All)) {
		if known[name] {
			continue
		}
		t.Run(name, func(t *testing.T) {
			room := filepath.Join(point, "Team Room")
			start(t, "find", room+"/", "-type", "f", "-delete").succeeds()
			posixtest.All[name](t, room)
		})
	}
}

// TestPOSIXDocumented: the package's documentation names all that does not
// apply, and why.
func TestPOSIXDocumented(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(strings.ReplaceAll(string(doc), "//", "")), " ")
	for reason, names := range notApplicable {
		if want := reason + ": " + strings.Join(names, ", "); !strings.Contains(text, want) {
			t.Errorf("doc.go does not say %q", want)
		}
	}
}

// takeAll lets a member of the hub accept whatever is offered, as long as the
// process lives.
func takeAll(m *transfertest.Member) {
	changes, _ := m.Exchange.Subscribe()
	for range changes {
		for _, in := range m.Exchange.Incoming() {
			_ = in.Accept() // one that is over is none of our business
		}
	}
}
