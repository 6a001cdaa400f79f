package fs_test

import (
	"path/filepath"
	"testing"
)

// TestWriterStartsPrograms: children that become other programs, and close the
// file by that, neither end the file nor hold anybody up.
func TestWriterStartsPrograms(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const python = `
import os, subprocess, sys, threading
f = os.open(sys.argv[1], os.O_WRONLY|os.O_CREAT)
done = threading.Event()
def loop(inherit):
    while not done.is_set():
        if inherit:
            with os.fdopen(os.dup(f), "wb", 0) as d: subprocess.run(["true"], stdout=d)
        else:
            subprocess.run(["true"], close_fds=False)
loops = [threading.Thread(target=loop, args=(i,)) for i in (False, False, True)]
for l in loops: l.start()
for i in range(100):
    os.write(f, b"%04d" % i * 1000)
    if i % 10 == 0: subprocess.run(["true"], close_fds=False)
done.set()
for l in loops: l.join()
os.close(f)`
	p := start(t, "python3", "-c", python, filepath.Join(w.alice.room, "x"))
	var want []byte
	for i := range 100 {
		for range 1000 {
			want = append(want, '0', '0', byte('0'+i/10), byte('0'+i%10))
		}
	}
	w.bob.takes("x", want)
	p.succeeds()
}

// TestHandedOn: a program that is being started holds the file, although the
// one that started it has let go.
func TestHandedOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const python = `
import os, sys
f = os.open(sys.argv[1], os.O_WRONLY|os.O_CREAT)
for i in range(50):
    if os.fork() != 0:
        os.close(f) # while the child is at execve, most of the time
        _, status = os.wait()
        os._exit(os.waitstatus_to_exitcode(status))
    os.write(f, b"%02d" % i)
    os.set_inheritable(f, True)
    if i == 49:
        os.dup2(f, 1)
        os.execvp("echo", ["echo", "end"])`
	p := start(t, "python3", "-c", python, filepath.Join(w.alice.room, "x"))
	var want []byte
	for i := range 50 {
		want = append(want, byte('0'+i/10), byte('0'+i%10))
	}
	w.bob.takes("x", append(want, "end\n"...))
	p.succeeds()
}

// TestWriterBecomesAnother: a program that becomes another lets go of the file
// by that, or hands it on.
func TestWriterBecomesAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, c := range map[string]struct {
		python, want string
		goesOn       bool
	}{
		"lets go":  {`os.write(f, b"hello"); os.execvp("sleep", ["sleep", "1000"])`, "hello", true},
		"empty":    {`os.execvp("sleep", ["sleep", "1000"])`, "", true},
		"hands on": {`os.write(f, b"hello\n"); os.dup2(f, 1); os.execvp("echo", ["echo", "world"])`, "hello\nworld\n", false},
		"its child": {`
if os.fork() == 0: os.execvp("true", ["true"])
os.wait(); os.write(f, b"hello"); os.close(f)`, "hello", false},
	} {
		t.Run(name, func(t *testing.T) {
			w := w.on(t)
			sent := filepath.Join(w.alice.room, name)
			p := start(t, "python3", "-c", "import os, sys\nf = os.open(sys.argv[1], os.O_WRONLY|os.O_CREAT)\n"+c.python, sent)
			w.bob.takes(name, []byte(c.want))
			eventually(t, "delivery", func() bool { return attr(t, sent, "state") == "delivered" })
			if !c.goesOn {
				p.succeeds()
			} else if !p.running() {
				t.Error("it has ended")
			}
		})
	}
}

// TestReaderBecomesAnother: so may a program that reads.
func TestReaderBecomesAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	source, content := file(t, "a", 100_000)
	cp := start(t, "cp", source, w.alice.room)
	const python = `
import os, sys
f = os.open(sys.argv[1], os.O_RDONLY)
os.read(f, 10)
os.execvp("true", ["true"])`
	got := w.bob.arrives("a")
	start(t, "python3", "-c", python, got).succeeds()
	same(t, start(t, "cat", got).succeeds(), content)
	cp.succeeds()
}
