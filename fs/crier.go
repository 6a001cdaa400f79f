package fs

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// call is a system call that the crier can make.
type call byte

const (
	callMknod call = iota + 1 // a regular file
	callMkdir
	callSymlink
	callUnlink
	callRmdir
	callRename
	callTouch // sets both times
)

// maxRequestPath bounds a path in a request, in bytes: more than the kernel takes
// (PATH_MAX).
const maxRequestPath = 8192

// request is what the crier is asked to do. On the pipe it is one byte for the
// call, and each of the two strings after its length in two bytes. The answer
// is the errno, in four bytes. All numbers are big-endian.
type request struct {
	call   call
	path   string
	second string // the new path, or where a link leads
}

var errRequest = errors.New("malformed request")

func (r request) encode() ([]byte, error) {
	b := []byte{byte(r.call)}
	for _, s := range []string{r.path, r.second} {
		if len(s) > maxRequestPath {
			return nil, syscall.ENAMETOOLONG
		}
		b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
		b = append(b, s...)
	}
	return b, nil
}

// readRequest gives the next request, or io.EOF if there are no more.
func readRequest(in io.Reader) (request, error) {
	var r request
	var head [1]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return r, err
	}
	r.call = call(head[0])
	for _, s := range []*string{&r.path, &r.second} {
		var n uint16
		if err := binary.Read(in, binary.BigEndian, &n); err != nil {
			return r, fmt.Errorf("%w: %w", errRequest, err)
		}
		if n > maxRequestPath {
			return r, fmt.Errorf("%w: a path of %d bytes", errRequest, n)
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(in, b); err != nil {
			return r, fmt.Errorf("%w: %w", errRequest, err)
		}
		*s = string(b)
	}
	if r.path == "" || bytes.ContainsRune([]byte(r.path+r.second), 0) {
		return r, fmt.Errorf("%w: no path", errRequest)
	}
	return r, nil
}

// crier is the process that makes the calls.
type crier struct {
	cmd      *exec.Cmd
	requests *os.File
	answers  *os.File
	release  func() bool
}

// startCrier starts cmd, which is to run Announce. When closing ends, it gets
// a moment for what it is doing.
func startCrier(cmd *exec.Cmd, closing context.Context) (*crier, error) {
	in, requests, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	answers, out, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, requests.Close())
	}
	defer out.Close()
	cmd.Stdin, cmd.Stdout, cmd.Dir = in, out, "/"
	cmd.SysProcAttr = crierAttributes()
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, requests.Close(), answers.Close())
	}
	c := &crier{cmd: cmd, requests: requests, answers: answers}
	c.release = context.AfterFunc(closing, func() { _ = answers.SetReadDeadline(time.Now().Add(moment)) })
	return c, nil
}

func (c *crier) pid() int { return c.cmd.Process.Pid }

// ask has the crier make a call, and gives how that ended. The error says that
// the crier is of no use any more.
func (c *crier) ask(r request) (syscall.Errno, error) {
	b, err := r.encode()
	if err != nil {
		return syscall.ENAMETOOLONG, nil
	}
	if _, err := c.requests.Write(b); err != nil {
		return 0, err
	}
	var answer [4]byte
	if _, err := io.ReadFull(c.answers, answer[:]); err != nil {
		return 0, err
	}
	return syscall.Errno(binary.BigEndian.Uint32(answer[:])), nil
}

// dismiss ends the process, and waits for its end: it may be in a call, which
// this process has to answer. gone is called when it has ended, before another
// process can get its number.
func (c *crier) dismiss(gone func()) {
	_ = c.requests.Close()
	c.release()
	_ = c.answers.SetReadDeadline(time.Now().Add(moment))
	_, _ = io.Copy(io.Discard, c.answers) // until it has ended, or the moment is over
	_ = c.cmd.Process.Kill()
	awaitEnd(c.pid())
	gone()
	_ = c.cmd.Wait()
	_ = c.answers.Close()
}
