package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// logName is where a mount in the background writes, in its state directory.
	logName = "mount.log"
	// maxLog is the size at which the next start begins a new log: months of
	// warnings.
	maxLog = 1 << 20
	// readyFD is what a mount in the background tells on that it is there.
	readyFD = 3
)

// errNotMountedHere is how a mount ended that never was; it has said why.
var errNotMountedHere = errors.New("the mount did not start")

// startInBackground starts this program again, in a session of its own, and
// returns once the mount can be used, or has failed and said so.
func startInBackground(ctx context.Context, con *console, args []string) error {
	executable, err := os.Executable()
	if err != nil {
		return err
	}
	told, tell, err := os.Pipe()
	if err != nil {
		return err
	}
	defer told.Close()
	command := exec.Command(executable)
	command.Args = append([]string{"matrixfs", "mount", "--background"}, args...)
	command.Stderr = con.err
	command.ExtraFiles = []*os.File{tell} // readyFD
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = command.Start()
	tell.Close()
	if err != nil {
		return err
	}
	stopped := context.AfterFunc(ctx, func() { _ = command.Process.Signal(syscall.SIGTERM) })
	defer stopped()
	if line, err := bufio.NewReader(io.LimitReader(told, 64)).ReadString('\n'); err == nil && line == "mounted\n" {
		return command.Process.Release()
	}
	if err := command.Wait(); err != nil {
		return fmt.Errorf("%w: %w", errNotMountedHere, err)
	}
	return errNotMountedHere
}

// openLog opens the log, and empties it if it is too long.
func openLog(stateDir string) (*os.File, error) {
	name := filepath.Join(stateDir, logName)
	flags := os.O_WRONLY | os.O_CREATE | os.O_APPEND | unix.O_NOFOLLOW
	if info, err := os.Lstat(name); err == nil && info.Size() > maxLog {
		flags |= os.O_TRUNC
	}
	return os.OpenFile(name, flags, 0o600)
}

// goToBackground lets go of the terminal and of the current directory, and tells whoever waits in
// startInBackground. What is written from now on goes to the log.
func goToBackground(stateDir string) error {
	log, err := openLog(stateDir)
	if err != nil {
		return fmt.Errorf("can't write a log: %w", err)
	}
	defer log.Close()
	nothing, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer nothing.Close()
	for fd, file := range map[int]*os.File{0: nothing, 1: log, 2: log} {
		if err := unix.Dup2(int(file.Fd()), fd); err != nil {
			return err
		}
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	tell := os.NewFile(readyFD, "ready")
	defer tell.Close()
	_, err = tell.WriteString("mounted\n")
	return err
}
