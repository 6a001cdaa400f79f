package matrixtest

import (
	"os/exec"
	"syscall"
)

// dieWithParent has the kernel kill the process when the thread that started
// it ends: a test binary that panics runs no clean-up.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
