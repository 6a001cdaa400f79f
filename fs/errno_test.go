package fs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"syscall"
	"testing"

	"github.com/matrixfs/matrixfs/transfer"
)

func TestErrno(t *testing.T) {
	for _, c := range []struct {
		err   error
		errno syscall.Errno
	}{
		{nil, 0},
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
		{fmt.Errorf("%w: %w", transfer.ErrLost, syscall.EPIPE), syscall.ECONNRESET},
		{transfer.ErrBehind, syscall.ESPIPE},
		{errSent, syscall.EPERM},
		{errUnmounted, syscall.ENOTCONN},
		{syscall.EBUSY, syscall.EBUSY},
		{context.Canceled, syscall.EINTR},
		{errors.New("never heard of"), syscall.EIO},
		{fmt.Errorf("wrapped: %w", syscall.EPIPE), syscall.EIO},
	} {
		var log strings.Builder
		if got := errnoOf(slog.New(slog.NewTextHandler(&log, nil)), c.err); got != c.errno {
			t.Errorf("%v is %v, not %v", c.err, got, c.errno)
		}
		wrapped := c.err != nil && strings.Contains(c.err.Error(), "never") || c.err != nil && strings.HasPrefix(c.err.Error(), "wrapped")
		if (log.Len() > 0) != wrapped {
			t.Errorf("%v: logged %q", c.err, log.String())
		}
	}
}
