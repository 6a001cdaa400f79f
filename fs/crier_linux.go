package fs

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// canAnnounce: system calls raise events for watchers here.
const canAnnounce = true

// crierAttributes: Ctrl-C is not for the crier, and the kernel ends it if this
// process is killed.
func crierAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// awaitEnd waits until a child has ended, and leaves it its number.
func awaitEnd(pid int) {
	for errors.Is(unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
	}
}

// Announce is what the process of Options.Announce does: it makes the system
// calls that it is asked for on in, and answers on out, until in ends. It must
// be called on the main thread of the process, by which the mount knows it.
func Announce(in io.Reader, out io.Writer) error {
	if unix.Gettid() != unix.Getpid() {
		return errors.New("announcing needs the main thread")
	}
	closeInherited()
	if err := os.Chdir("/"); err != nil {
		return err
	}
	in = bufio.NewReader(in)
	for {
		r, err := readRequest(in)
		if errors.Is(err, io.EOF) && !errors.Is(err, errRequest) {
			return nil
		} else if err != nil {
			return err
		}
		if err := binary.Write(out, binary.BigEndian, uint32(r.make())); err != nil {
			return err
		}
	}
}

// make makes the call.
func (r request) make() syscall.Errno {
	var err error
	switch r.call {
	case callMknod:
		err = unix.Mknod(r.path, unix.S_IFREG|0o600, 0)
	case callMkdir:
		err = unix.Mkdir(r.path, 0o700)
	case callSymlink:
		err = unix.Symlink(r.second, r.path)
	case callUnlink:
		err = unix.Unlink(r.path)
	case callRmdir:
		err = unix.Rmdir(r.path)
	case callRename:
		err = unix.Rename(r.path, r.second)
	case callTouch:
		now := []unix.Timespec{{Nsec: unix.UTIME_NOW}, {Nsec: unix.UTIME_NOW}}
		err = unix.UtimesNanoAt(unix.AT_FDCWD, r.path, now, unix.AT_SYMLINK_NOFOLLOW)
	default:
		err = unix.ENOSYS
	}
	var errno syscall.Errno
	if err != nil && !errors.As(err, &errno) {
		errno = syscall.EIO
	}
	return errno
}

// closeInherited closes what was open when the program started, but for the
// standard three: a file in the mount, say, would keep it busy. What the
// runtime has opened since is marked to be closed when another program starts.
func closeInherited() {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd <= 2 {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			_ = unix.Close(fd)
		}
	}
}
