package fs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
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
	ErrPermission = errors.New("mount point belongs to somebody else")
)

// fsType is how the kernel calls the type of our mounts.
const fsType = "fuse.matrixfs"

// answerTimeout is how long another mount may take to show that it lives.
const answerTimeout = 2 * time.Second

// CheckMountpoint says why path can't be mounted on, in one line that says
// what to do, or nil. A mount of ours that a crash left dead is no reason:
// Mount replaces it. Nothing is changed.
func CheckMountpoint(path string) error {
	_, _, err := checkMountpoint(path)
	return err
}

// claimMountpoint is CheckMountpoint, and removes what is dead.
func claimMountpoint(path string) (string, error) {
	// Each crash can have left one more mount on top of the others.
	for range 16 {
		point, dead, err := checkMountpoint(path)
		if err != nil || !dead {
			return point, err
		}
		if err := unmount(point, true); err != nil {
			return "", fmt.Errorf("%w: the dead mount on %s can't be removed (%v): run fusermount3 -uz %s", ErrBusy, point, err, point)
		}
	}
	return "", fmt.Errorf("%w: %s has too many dead mounts: run fusermount3 -uz %s a few times", ErrBusy, path, path)
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

// checkFUSE says what is missing to mount at all.
func checkFUSE() error {
	if _, err := os.Stat("/dev/fuse"); err != nil {
		return fmt.Errorf("%w: there is no /dev/fuse: load the kernel module with modprobe fuse", ErrNoFUSE)
	}
	if unix.Faccessat(unix.AT_FDCWD, "/dev/fuse", unix.R_OK|unix.W_OK, unix.AT_EACCESS) != nil {
		return fmt.Errorf("%w: you may not open /dev/fuse: let root run chmod 666 /dev/fuse", ErrNoFUSE)
	}
	if !haveFusermount() && os.Geteuid() != 0 {
		return fmt.Errorf("%w: fusermount3 was not found: install the package fuse3", ErrNoFUSE)
	}
	return nil
}

func haveFusermount() bool {
	_, err := exec.LookPath("fusermount3")
	return err == nil
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

// mountInfo is a line of /proc/self/mountinfo (proc(5)).
type mountInfo struct {
	minor  uint32
	point  string
	fstype string
}

// mountOn gives the topmost mount on exactly that path, or nil. It does not
// touch the mount.
func mountOn(point string) *mountInfo {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	var on *mountInfo
	for line := range strings.Lines(string(data)) {
		if info := parseMountInfo(line); info != nil && info.point == point {
			on = info // later lines lie on top
		}
	}
	return on
}

// parseMountInfo reads one line, or gives nil.
func parseMountInfo(line string) *mountInfo {
	before, after, ok := strings.Cut(line, " - ")
	fields, types := strings.Fields(before), strings.Fields(after)
	if !ok || len(fields) < 5 || len(types) < 1 {
		return nil
	}
	_, minor, _ := strings.Cut(fields[2], ":")
	n, err := strconv.ParseUint(minor, 10, 32)
	if err != nil {
		return nil
	}
	return &mountInfo{minor: uint32(n), point: unescape(fields[4]), fstype: types[0]}
}

// unescape undoes the octal escapes of mountinfo: space, tab, newline, \.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// deviceOf gives the minor device number of our mount on point.
func deviceOf(point string) (uint32, error) {
	if on := mountOn(point); on != nil && on.fstype == fsType {
		return on.minor, nil
	}
	return 0, errors.New("it is not in /proc/self/mountinfo")
}

// unmount takes the mount away; a lazy one is also taken from programs that
// are using it.
func unmount(point string, lazy bool) error {
	if os.Geteuid() == 0 {
		flags := unix.UMOUNT_NOFOLLOW
		if lazy {
			// MNT_FORCE ends the connection, so that nobody waits for answers
			// that never come. It reports the mount busy, and then comes the
			// lazy one.
			if unix.Unmount(point, flags|unix.MNT_FORCE) == nil {
				return nil
			}
			flags |= unix.MNT_DETACH
		}
		return unix.Unmount(point, flags)
	}
	args := []string{"-u", point}
	if lazy {
		args = []string{"-uz", point}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var words bytes.Buffer
	cmd := exec.CommandContext(ctx, "fusermount3", args...)
	cmd.Stderr = &words
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(words.Bytes()))
	}
	return nil
}

// abortConnection tells the kernel to give up the connection, which ends every
// operation, where the control file system of FUSE is mounted.
func abortConnection(device uint32) {
	name := fmt.Sprintf("/sys/fs/fuse/connections/%d/abort", device)
	_ = os.WriteFile(name, []byte("1"), 0)
}

// closeOnExec keeps the connection from child processes: one that holds it
// would keep a dead mount alive. go-fuse forgets that where it mounts without
// fusermount3.
func closeOnExec() {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, e := range entries {
		if link, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && link == "/dev/fuse" {
			if fd, err := strconv.Atoi(e.Name()); err == nil {
				unix.CloseOnExec(fd)
			}
		}
	}
}
