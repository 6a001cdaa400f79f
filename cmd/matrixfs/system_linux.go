package main

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// forgetTyped throws away what was typed into a terminal and not read yet.
func forgetTyped(terminal int) {
	_ = unix.IoctlSetInt(terminal, unix.TCFLSH, unix.TCIFLUSH)
}

// dieWithUs has the kernel end a child when this program ends.
func dieWithUs(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGTERM }
