package main_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// nobody is an ordinary user that every system has.
const nobody = 65534

// ordinary is an ordinary user, whose processes tests start. A nil one is the
// user who runs the tests.
type ordinary struct {
	credential *syscall.Credential // nil: that of the tests, who are not root
	home       string
}

// ordinaryUser gives an ordinary user: nobody, if root runs the tests.
func ordinaryUser(t testing.TB) *ordinary {
	t.Helper()
	o := &ordinary{}
	if os.Geteuid() == 0 {
		o.credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	o.home = o.place(t)
	return o
}

// place makes a directory that belongs to the user.
func (o *ordinary) place(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if o == nil || o.credential == nil {
		return dir
	}
	if err := os.Chmod(filepath.Dir(dir), 0o711); err != nil {
		t.Fatal(err)
	}
	o.own(t, dir)
	return dir
}

// own makes the user the owner of a file.
func (o *ordinary) own(t testing.TB, path string) {
	t.Helper()
	if o == nil || o.credential == nil {
		return
	}
	if err := os.Lchown(path, int(o.credential.Uid), int(o.credential.Gid)); err != nil {
		t.Fatal(err)
	}
}

// command is a program that the user starts, with an environment in which the
// user who runs the tests does not show.
func (o *ordinary) command(name string, args ...string) *exec.Cmd {
	if o == nil {
		return exec.Command(name, args...)
	}
	c := exec.Command(name, args...)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: o.credential}
	c.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin", "HOME=" + o.home, "TMPDIR=/tmp"}
	c.Dir = o.home
	return c
}

// shell starts a script of the user.
func (o *ordinary) shell(t testing.TB, script string, args ...string) *program {
	t.Helper()
	return startCommand(t, o.command("bash", append([]string{"-c", script, "bash"}, args...)...))
}

// held starts a script of the user that prints "ready" and then reads a line.
// It returns once the script is ready; release lets it go on.
func (o *ordinary) held(t testing.TB, script string, args ...string) (held *program, release func()) {
	t.Helper()
	return startHeldCommand(t, o.command("bash", append([]string{"-c", script, "bash"}, args...)...))
}

// looker is a process of an ordinary user that looks at paths: nobody else,
// not even root, sees what is in a mount of theirs.
type looker struct {
	mu      sync.Mutex // guards all below, for a question and its answer
	ask     io.Writer
	answers chan string
	stuck   bool
}

// newLooker starts one, that ends with the test.
func (o *ordinary) newLooker(t testing.TB) *looker {
	t.Helper()
	command := o.command("bash", "-c", `while IFS= read -r path; do if [ -e "$path" ]; then echo yes; else echo no; fi; done`)
	ask, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	answers, told := io.Pipe()
	command.Stdout = told
	l := &looker{ask: ask, answers: make(chan string, 1)}
	p := startCommand(t, command)
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(answers); lines.Scan(); {
			l.answers <- lines.Text()
		}
	}()
	t.Cleanup(func() {
		_ = ask.Close()
		p.wait()
		_ = told.Close()
		<-read
	})
	return l
}

// exists reports whether something is at the path.
func (l *looker) exists(t testing.TB, path string) bool {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stuck {
		t.Fatal("nothing can be looked at any more")
	}
	if _, err := fmt.Fprintln(l.ask, path); err != nil {
		t.Fatal(err)
	}
	select {
	case answer := <-l.answers:
		return answer == "yes"
	case <-time.After(patience):
		l.stuck = true
		t.Fatalf("looking at %s takes more than %v", path, patience)
		return false
	}
}

// awaits waits until something is at the path, and gives the path.
func (l *looker) awaits(t testing.TB, path string) string {
	t.Helper()
	eventually(t, path+" is there", func() bool { return l.exists(t, path) })
	return path
}

// awaitsNot waits until nothing is at the path.
func (l *looker) awaitsNot(t testing.TB, path string) {
	t.Helper()
	eventually(t, path+" is not there any more", func() bool { return !l.exists(t, path) })
}
