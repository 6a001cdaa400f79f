package fstest

import (
	"errors"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// NoPoll makes a mount fit for programs that mount and open files in the mount
// in one process: the Go runtime polls what it opens, and may have no thread
// left to answer itself. The file that is opened is one that go-fuse knows; it
// teaches the kernel that nothing can be polled here.
func NoPoll(mountpoint string) error {
	fd, err := unix.Open(filepath.Join(mountpoint, ".go-fuse-epoll-hack"), unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return errors.Join(err, unix.Close(fd))
}
