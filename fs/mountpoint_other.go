//go:build !linux

package fs

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"time"
)

// checkFUSE leaves it to go-fuse to say what is missing.
func checkFUSE() error { return nil }

// CheckAllowOther leaves it to the system to refuse.
func CheckAllowOther() error { return nil }

func haveFusermount() bool { return true }

// mountOn does not know: a dead mount is not taken over here.
func mountOn(string) *mountInfo { return nil }

func deviceOf(string) (uint32, error) { return 0, nil }

// unmount takes the mount away; a lazy one is also taken from programs that
// are using it.
func unmount(point string, lazy bool) error {
	args := []string{point}
	if lazy {
		args = []string{"-f", point}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if words, err := exec.CommandContext(ctx, "umount", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(words))
	}
	return nil
}

func abortConnection(uint32) {}

// closeOnExec: go-fuse has done that.
func closeOnExec() {}
