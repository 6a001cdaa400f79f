package fs

import (
	"os"

	"golang.org/x/sys/unix"
)

// Flags that the kernel passes on from programs.
const (
	renameNoReplace = unix.RENAME_NOREPLACE
	fallocKeepSize  = unix.FALLOC_FL_KEEP_SIZE
	fallocPunchHole = unix.FALLOC_FL_PUNCH_HOLE
	fallocZeroRange = unix.FALLOC_FL_ZERO_RANGE
	xattrCreate     = unix.XATTR_CREATE
	xattrReplace    = unix.XATTR_REPLACE
)

// punchHole makes a part of a file zeros that take no room on disk.
func punchHole(f *os.File, off, n int64) error {
	if n <= 0 {
		return nil
	}
	return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
}
