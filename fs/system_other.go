//go:build !linux

package fs

import (
	"os"
	"syscall"
)

// Flags that the kernel passes on from programs: those of Linux, where FUSE
// comes from, and for attributes those of macOS.
const (
	renameNoReplace = 0x1
	fallocKeepSize  = 0x1
	fallocPunchHole = 0x2
	fallocZeroRange = 0x10
	xattrCreate     = 0x2
	xattrReplace    = 0x4
)

// punchHole is not needed: nobody asks for holes but Linux.
func punchHole(*os.File, int64, int64) error { return syscall.EOPNOTSUPP }
