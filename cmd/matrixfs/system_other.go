//go:build !linux

package main

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// forgetTyped throws away what was typed into a terminal and not read yet.
func forgetTyped(terminal int) {
	const fRead = 1
	_ = unix.IoctlSetPointerInt(terminal, unix.TIOCFLUSH, fRead)
}

// dieWithUs can't be had here: a child outlives a program that is killed.
func dieWithUs(*syscall.SysProcAttr) {}
