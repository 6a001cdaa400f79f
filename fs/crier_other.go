//go:build !linux

package fs

import (
	"errors"
	"io"
	"syscall"
)

// canAnnounce: there is no inotify here.
const canAnnounce = false

func crierAttributes() *syscall.SysProcAttr { return nil }

func awaitEnd(int) {}

// Announce works on Linux only.
func Announce(io.Reader, io.Writer) error {
	return errors.New("announcing changes works on Linux only")
}
