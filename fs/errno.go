package fs

import (
	"context"
	"errors"
	"log/slog"
	"syscall"

	"github.com/matrixfs/matrixfs/transfer"
)

// errUnmounted is what ends a wait when the mount closes.
var errUnmounted = errors.New("unmounted")

// errnos says which errno a program gets for which end of a transfer. The
// first that errors.Is finds counts. EPIPE is not among them: tee and pv hide
// it.
var errnos = []struct {
	err   error
	errno syscall.Errno
}{
	{transfer.ErrRejected, syscall.ECONNREFUSED},
	{transfer.ErrExpired, syscall.ETIMEDOUT},
	{transfer.ErrCancelled, syscall.ECONNRESET},
	{transfer.ErrLost, syscall.ECONNRESET},
	{transfer.ErrNotAllowed, syscall.EACCES},
	{transfer.ErrOffline, syscall.ENETUNREACH},
	{transfer.ErrElsewhere, syscall.EBUSY},
	{transfer.ErrShort, syscall.EIO},
	{transfer.ErrTooLong, syscall.EIO},
	{transfer.ErrHash, syscall.EIO},
	{transfer.ErrSize, syscall.EIO},
	{transfer.ErrCache, syscall.EIO},
	{transfer.ErrPassed, syscall.EIO},
	{transfer.ErrAborted, syscall.ECANCELED},
	{transfer.ErrTooMany, syscall.EMFILE},
	{transfer.ErrClosed, syscall.ENOTCONN},
	{transfer.ErrBehind, syscall.ESPIPE},
	{errSent, syscall.EPERM},
	{errUnmounted, syscall.ENOTCONN},
	{context.Canceled, syscall.EINTR},
}

// errnoOf gives the errno for err. One that it does not know is EIO, and is
// logged, because nobody could tell otherwise what went wrong.
func errnoOf(log *slog.Logger, err error) syscall.Errno {
	if err == nil {
		return 0
	}
	if errno, ok := err.(syscall.Errno); ok {
		return errno // from this package
	}
	for _, e := range errnos {
		if errors.Is(err, e.err) {
			return e.errno
		}
	}
	log.Warn("an operation failed", "error", err)
	return syscall.EIO
}
