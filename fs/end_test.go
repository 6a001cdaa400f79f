package fs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/matrixfs/matrixfs/transfer"
)

// nothing waits until the file is gone from both sides. One that somebody
// began to read is still listed where it came in, to say why it broke off.
func (w *world) nothing(t *testing.T, name string) {
	t.Helper()
	sent, got := filepath.Join(w.alice.room, name), filepath.Join(w.bob.incoming, name)
	eventually(t, sent+" goes away", func() bool { return !exists(sent) })
	eventually(t, got+" goes away", func() bool {
		// It may vanish between any two looks.
		if n, err := syscall.Getxattr(got, "user.matrix.error", make([]byte, 4096)); err == nil && n > 0 {
			start(t, "rm", "-f", got).succeeds()
		}
		return !exists(got)
	})
}

// TestReject: rm of an offer makes the cp that offers it fail at once.
func TestReject(t *testing.T) {
	w := newWorld(t)
	for _, n := range []int{0, 1000, 20_000_000} {
		source, _ := file(t, "a", n)
		cp := start(t, "cp", source, w.alice.room)
		got := w.bob.arrives("a")
		began := time.Now()
		start(t, "rm", got).succeeds()
		cp.failsWith("Connection refused")
		if d := time.Since(began); d > patience/4 {
			t.Errorf("cp took %v to fail", d)
		}
		w.nothing(t, "a")
	}
}

// TestExpire: nobody answers.
func TestExpire(t *testing.T) {
	w := newWorldWith(t, func(c *transfer.Config) { c.Lifetime = time.Second })
	for _, n := range []int{1000, 20_000_000} {
		source, _ := file(t, "a", n)
		start(t, "cp", source, w.alice.room).failsWith("Connection timed out")
		w.nothing(t, "a")
	}
}

// TestWriterKilled: a writer that is killed or fails takes its offer with it.
func TestWriterKilled(t *testing.T) {
	w := newWorld(t)
	small, _ := file(t, "a", 1000)
	large, _ := file(t, "b", 20_000_000)
	target := filepath.Join(w.alice.room, "x")
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL, syscall.SIGHUP} {
		for _, source := range []string{small, large} {
			cp := start(t, "cp", source, target)
			w.bob.arrives("x")
			cp.signal(signal)
			if cp.wait() == nil {
				t.Errorf("cp succeeded in spite of %v", signal)
			}
			w.nothing(t, "x")
		}
	}
	for _, script := range []string{
		`(cat "$1"; exit 3) > "$2"`,
		`(cat "$1"; kill -9 $BASHPID) > "$2"`,
		`python3 -c 'import sys; print("half"); sys.stdout.flush(); sys.exit(1)' > "$2"`,
		`nosuchcommand > "$2"`,
	} {
		p := sh(t, script, large, target)
		if strings.Contains(script, "cat") {
			got := start(t, "cat", w.bob.arrives("x"))
			if got.wait() == nil {
				t.Errorf("%s delivered a short file as a whole one", script)
			}
		}
		if p.wait() == nil {
			t.Errorf("%s succeeded", script)
		}
		w.nothing(t, "x")
	}
}

// TestWriterCatchesSignal: many programs catch the signals that ask them to end,
// and close what they have written so far, in good order. That is a short file.
func TestWriterCatchesSignal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	source, _ := file(t, "a", 20_000_000) // more than the window: the writer waits in write
	small, _ := file(t, "a", 1000)        // here it waits in close
	const python = `
import signal, sys
over = False
def stop(*_):
    global over
    over = True
for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP): signal.signal(s, stop)
with open(sys.argv[1], "rb") as f, open(sys.argv[2], "wb", 0) as g:
    while not over:
        b = f.read(100_000)
        if not b: break
        while b: b = b[g.write(b):]`
	for _, c := range []struct {
		name, script string
		signals      []syscall.Signal
	}{
		{"if of dd", `exec dd if="$1" of="$2" bs=1M`, []syscall.Signal{syscall.SIGINT}},
		{"stdout of dd", `exec dd bs=64k <"$1" >"$2"`, []syscall.Signal{syscall.SIGINT}},
		{"rsync", `exec rsync -a "$1" "$2"`, []syscall.Signal{syscall.SIGINT}},
		{"partial rsync", `exec rsync -a --partial "$1" "$2"`, []syscall.Signal{syscall.SIGTERM}},
		{"inplace", `exec rsync -a --inplace "$1" "$2"`, []syscall.Signal{syscall.SIGHUP}},
		{"python", `exec /usr/bin/env python3 -c '` + python + `' "$1" "$2"`, []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := w.on(t)
			for _, signal := range c.signals {
				for from, call := range map[string]int{source: syscall.SYS_WRITE, small: syscall.SYS_CLOSE} {
					p := sh(t, c.script, from, filepath.Join(w.alice.room, c.name))
					w.bob.arrives(c.name)
					w.alice.blocks(p, call)
					p.signal(signal)
					if p.wait() == nil {
						t.Errorf("it succeeded in spite of %v", signal)
					}
					w.nothing(t, c.name)
				}
			}
		})
	}
}

// blocks waits until the program that sends a file waits for the network: in
// write, the window being full, or in close. It does not look at the file: a
// write would give way.
func (s *side) blocks(p *program, call int) {
	s.t.Helper()
	seen := 0
	eventually(s.t, "the writer waits", func() bool {
		if seen++; !p.isIn(call, s.room) {
			seen = 0
		}
		return seen == 3
	})
}

// isIn reports whether a process of the program is in close, or in a write to a
// file in dir that goes beyond the window.
func (p *program) isIn(call int, dir string) bool {
	const window = 8 << 20
	calls, _ := filepath.Glob("/proc/[0-9]*/syscall")
	for _, file := range calls {
		process := filepath.Dir(file)
		pid, err := strconv.Atoi(filepath.Base(process))
		if err != nil {
			continue
		}
		if group, err := syscall.Getpgid(pid); err != nil || group != p.cmd.Process.Pid {
			continue
		}
		b, _ := os.ReadFile(file)
		var number int
		var fd, buf, count int64
		if _, err := fmt.Sscanf(string(b), "%d 0x%x 0x%x 0x%x", &number, &fd, &buf, &count); err != nil || number != call {
			continue
		}
		if call == syscall.SYS_CLOSE {
			return true
		}
		var pos int64
		info, _ := os.ReadFile(fmt.Sprintf("%s/fdinfo/%d", process, fd))
		_, _ = fmt.Sscanf(string(info), "pos: %d", &pos)
		link, _ := os.Readlink(fmt.Sprintf("%s/fd/%d", process, fd))
		if strings.HasPrefix(link, dir) && pos+count > window {
			return true
		}
	}
	return false
}

// TestWriterInterruptedInClose: programs that handle Ctrl-C get it in close,
// too; Ctrl-Z and other signals do not make close fail.
func TestWriterInterruptedInClose(t *testing.T) {
	w := newWorld(t)
	small, content := file(t, "a", 1000)
	const python = `
import signal, sys, shutil
signal.signal(signal.SIGUSR1, lambda *a: None)
signal.signal(signal.SIGTERM, lambda *a: sys.exit(7))
shutil.copy(sys.argv[1], sys.argv[2])`
	target := filepath.Join(w.alice.room, "a")
	p := start(t, "python3", "-c", python, small, target)
	w.bob.arrives("a")
	p.signal(syscall.SIGTERM)
	if p.wait() == nil {
		t.Error("a copy succeeded in spite of SIGTERM")
	}
	w.nothing(t, "a")

	p = start(t, "python3", "-c", python, small, target)
	w.bob.arrives("a")
	for _, s := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGTSTP, syscall.SIGCONT, syscall.SIGWINCH, syscall.SIGSTOP, syscall.SIGCONT} {
		p.signal(s)
	}
	w.bob.takes("a", content)
	p.signal(syscall.SIGCONT)
	p.succeeds()

	// A signal that comes after one that did no harm is seen all the same.
	p = start(t, "cp", small, filepath.Join(w.alice.room, "b"))
	w.bob.arrives("b")
	p.signal(syscall.SIGTSTP)
	p.signal(syscall.SIGCONT)
	p.signal(syscall.SIGINT)
	if p.wait() == nil {
		t.Error("a copy succeeded in spite of Ctrl-C")
	}
	w.nothing(t, "b")
}

// TestStopped: a writer and a reader that are stopped again and again lose
// nothing.
func TestStopped(t *testing.T) {
	w := newWorld(t)
	source, content := file(t, "a", 50_000_000)
	cp := start(t, "cp", source, w.alice.room)
	cat := start(t, "cat", w.bob.arrives("a"))
	for cp.running() && cat.running() {
		for _, p := range []*program{cp, cat} {
			p.signal(syscall.SIGSTOP)
			time.Sleep(2 * time.Millisecond) // a stop has to last to have an effect
			p.signal(syscall.SIGCONT)
		}
	}
	cp.succeeds()
	same(t, cat.succeeds(), content)
}

// TestReaderKilled: Ctrl-C on cat makes the cp over there fail.
func TestReaderKilled(t *testing.T) {
	w := newWorld(t)
	source, _ := file(t, "a", 100)
	fifo := fifo(t) // keeps the file from ever being whole
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		p := sh(t, `exec 3<>"$2"; cat "$1" - <&3 > "$3"`, source, fifo, filepath.Join(w.alice.room, "x"))
		got := w.bob.arrives("x")
		cat := start(t, "cat", got)
		other := start(t, "cat", got)
		eventually(t, "the transfer starts", func() bool { return attr(t, got, "state") == "streaming" })
		cat.signal(signal)
		if cat.wait() == nil {
			t.Error("cat succeeded")
		}
		if state := attr(t, got, "state"); state != "streaming" {
			t.Errorf("there is another reader, but the transfer is %s", state)
		}
		other.signal(signal)
		if other.wait() == nil {
			t.Error("cat succeeded")
		}
		w.nothing(t, "x")
		if err := os.WriteFile(fifo, []byte("more"), 0); err != nil {
			t.Fatal(err)
		}
		p.failsWith("Connection reset by peer")
	}
}

// TestReaderStops: one that closes in good order cancels nothing.
func TestReaderStops(t *testing.T) {
	w := newWorld(t)
	source, content := file(t, "a", 20_000_000)
	for _, script := range []string{`head -c 100 "$1"`, `cat "$1" | head -c 100`} {
		cp := start(t, "cp", source, filepath.Join(w.alice.room, "a"))
		got := w.bob.arrives("a")
		same(t, sh(t, script, got).succeeds(), content[:100])
		cp.succeeds()
		same(t, start(t, "cat", got).succeeds(), content)
		start(t, "rm", got, filepath.Join(w.alice.room, "a")).succeeds()
	}
}

// TestRemoveWhileSending: rm of a file being sent ends its writer at once, in
// write as in close, and ls of the directory does not wait for either.
func TestRemoveWhileSending(t *testing.T) {
	w := newWorld(t)
	for _, n := range []int{1000, 20_000_000} {
		source, _ := file(t, "a", n)
		cp := start(t, "cp", source, w.alice.room)
		w.bob.arrives("a")
		if n > 1000 {
			sent := filepath.Join(w.alice.room, "a")
			eventually(t, "the window fills", func() bool { i, err := os.Stat(sent); return err == nil && i.Size() >= 8<<20 })
		}
		began := time.Now()
		rm := start(t, "rm", filepath.Join(w.alice.room, "a"))
		start(t, "ls", "-l", w.alice.room).succeeds()
		rm.succeeds()
		if d := time.Since(began); d > patience/4 {
			t.Errorf("rm and ls took %v", d)
		}
		cp.failsWith("Operation canceled")
		w.nothing(t, "a")
	}
}
