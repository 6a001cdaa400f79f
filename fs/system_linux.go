package fs

import "golang.org/x/sys/unix"

// Flags that the kernel passes on from programs.
const (
	renameNoReplace = unix.RENAME_NOREPLACE
	fallocKeepSize  = unix.FALLOC_FL_KEEP_SIZE
	fallocPunchHole = unix.FALLOC_FL_PUNCH_HOLE
	fallocZeroRange = unix.FALLOC_FL_ZERO_RANGE
	xattrCreate     = unix.XATTR_CREATE
	xattrReplace    = unix.XATTR_REPLACE
)
