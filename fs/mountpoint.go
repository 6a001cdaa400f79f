package fs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Why a directory can't be mounted on.
var (
	// ErrNoFUSE: this machine can't mount FUSE file systems.
	ErrNoFUSE = errors.New("FUSE is not available")
	// ErrBusy: something is mounted there, or the directory is not empty.
	ErrBusy = errors.New("mount point in use")
	// ErrNotDir: it does not exist, or is not a directory.
	ErrNotDir = errors.New("mount point is not a directory")
	// ErrPermission: the user may not mount there.
	ErrPermission = errors.New("not permitted")
)

// fsType is how the kernel calls the type of our mounts.
const fsType = "fuse.matrixfs"

// answerTimeout is how long another mount may take to show that it lives.
const answerTimeout = 2 * time.Second

// mountInfo is a mount that is there.
type mountInfo struct {
	minor  uint32 // the minor device number
	point  string
	fstype string
}

// CheckMountpoint says why path can't be mounted on, in one line that says
// what to do, or nil. A mount of ours that a crash left dead is no reason:
// Mount replaces it. Nothing is changed.
func CheckMountpoint(path string) error {
	_, _, err := checkMountpoint(path)
	return err
}

// claimMountpoint is CheckMountpoint, and removes what is dead.
func claimMountpoint(path string) (string, error) {
	// Each crash can have left one more mount on top of the others. A
	// fusermount3 whose program was killed takes away by itself what it has
	// mounted: one that can't be removed may be gone.
	var failed error
	for range 16 {
		point, dead, err := checkMountpoint(path)
		if err != nil || !dead {
			return point, err
		}
		if err := unmount(point, true); err != nil {
			failed = fmt.Errorf("%w: the dead mount on %s can't be removed (%v): run fusermount3 -uz %s", ErrBusy, point, err, point)
			time.Sleep(lookAgain)
		}
	}
	if failed != nil {
		return "", failed
	}
	return "", fmt.Errorf("%w: %s has too many dead mounts: run fusermount3 -uz %s a few times", ErrBusy, path, path)
}

// isDead reports whether a dead mount of ours is there.
func isDead(path string) bool {
	_, dead, err := checkMountpoint(path)
	return err == nil && dead
}

// checkMountpoint gives the true path of the mount point, and whether a dead
// mount of ours is on it.
func checkMountpoint(path string) (point string, dead bool, err error) {
	if err := checkFUSE(); err != nil {
		return "", false, err
	}
	if point, err = truePath(path); err != nil {
		return "", false, err
	}
	if on := mountOn(point); on != nil {
		switch {
		case on.fstype != fsType:
			return "", false, fmt.Errorf("%w: another file system (%s) is mounted on %s: choose another directory", ErrBusy, on.fstype, point)
		case alive(point):
			return "", false, fmt.Errorf("%w: matrixfs is already mounted on %s: unmount it with fusermount3 -u, or choose another directory", ErrBusy, point)
		}
		return point, true, nil
	}
	entries, err := os.ReadDir(point)
	switch {
	case errors.Is(err, os.ErrPermission):
		return "", false, fmt.Errorf("%w: %s can't be read: choose a directory of your own", ErrPermission, point)
	case err != nil:
		return "", false, fmt.Errorf("%w: %v", ErrNotDir, err)
	case len(entries) > 0:
		return "", false, fmt.Errorf("%w: %s is not empty: choose an empty directory", ErrBusy, point)
	case unix.Access(point, unix.W_OK) != nil:
		return "", false, fmt.Errorf("%w: you may not write to %s: choose a directory of your own", ErrPermission, point)
	}
	return point, false, nil
}

// truePath makes path absolute and resolves links, also where the last part is
// a mount that does not answer.
func truePath(path string) (string, error) {
	if path == "" {
		return "", fmt.Errorf("%w: no mount point given", ErrNotDir)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("%w: %v", ErrNotDir, err)
	}
	// Only what is above the mount point is looked at first: the mount point
	// itself may be a mount that hangs.
	if dir, err := filepath.EvalSymlinks(filepath.Dir(abs)); err == nil {
		abs = filepath.Join(dir, filepath.Base(abs))
	}
	if mountOn(abs) != nil {
		return abs, nil
	}
	point, err := filepath.EvalSymlinks(abs)
	if errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("%w: %s does not exist: create it with mkdir", ErrNotDir, abs)
	} else if err != nil {
		return "", fmt.Errorf("%w: %s can't be reached (%v): choose an empty directory", ErrNotDir, abs, err)
	}
	if mountOn(point) != nil {
		return point, nil
	}
	if info, err := os.Stat(point); err != nil {
		return "", fmt.Errorf("%w: %v", ErrNotDir, err)
	} else if !info.IsDir() {
		return "", fmt.Errorf("%w: %s is a file: choose an empty directory", ErrNotDir, point)
	}
	return point, nil
}

// alive reports whether the mount answers, or may just be slow.
func alive(point string) bool {
	answer := make(chan error, 1)
	go func() { // ends when the other mount answers, or its process ends
		var st unix.Stat_t
		answer <- unix.Lstat(point, &st)
	}()
	select {
	case err := <-answer:
		return !errors.Is(err, unix.ENOTCONN)
	case <-time.After(answerTimeout):
		return true
	}
}
