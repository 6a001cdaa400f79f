package main

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A log that is too long begins anew; one that is a link is not written.
func TestOpenLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, logName)
	for _, c := range []struct{ before, after int64 }{{0, 1}, {maxLog, maxLog + 1}, {maxLog + 1, 1}} {
		if err := os.WriteFile(name, make([]byte, c.before), 0o600); err != nil {
			t.Fatal(err)
		}
		log, err := openLog(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		if _, err := log.WriteString("x"); err != nil {
			t.Fatal(err)
		}
		if info, err := log.Stat(); err != nil || info.Size() != c.after {
			t.Errorf("of %d bytes come %d, want %d: %v", c.before, info.Size(), c.after, err)
		}
	}
	other := filepath.Join(t.TempDir(), "other")
	if err := errors.Join(os.WriteFile(other, make([]byte, 2*maxLog), 0o600), os.Remove(name), os.Symlink(other, name)); err != nil {
		t.Fatal(err)
	}
	if _, err := openLog(dir); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("the error is %v", err)
	}
	if info, err := os.Stat(other); err != nil || info.Size() != 2*maxLog {
		t.Errorf("the other file was written: %v", err)
	}
}
