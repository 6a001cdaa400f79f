package fs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

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

// fuseConf is what fusermount3 asks for permission.
const fuseConf = "/etc/fuse.conf"

// CheckAllowOther says why a mount can't be for all users, in one line that
// says what to do, or nil.
func CheckAllowOther() error {
	if os.Geteuid() == 0 {
		return nil
	}
	conf, err := os.ReadFile(fuseConf)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: %v", ErrPermission, err)
	}
	for line := range strings.Lines(string(conf)) {
		if strings.TrimSpace(line) == "user_allow_other" {
			return nil
		}
	}
	return fmt.Errorf("%w: only root may mount for all users: let root add the line user_allow_other to %s", ErrPermission, fuseConf)
}

func haveFusermount() bool {
	_, err := exec.LookPath("fusermount3")
	return err == nil
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

// parseMountInfo reads one line (proc(5)), or gives nil.
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
