package fs_test

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// TestFalseHints: a size that turns out wrong makes the copy fail, or does no
// harm. It never delivers a wrong file.
func TestFalseHints(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const python = `import os,sys; f = os.open(sys.argv[3], os.O_WRONLY|os.O_CREAT)
def wait(): open(sys.argv[2]).read()
`
	source, small := make([]byte, 12_000_000), make([]byte, 300_000)
	for _, c := range []struct {
		name, script string
		// change happens to the source when the window is full and the size has
		// been told; nil is for a script that reads $2, to wait for the same.
		change func(source string) error
		want   []byte // nil: the script fails, and so does who takes the file
	}{
		{"cp grows", `cp "$1" "$3"`, grow, nil},
		{"cat grows", `cat "$1" > "$3"`, grow, nil},
		{"rsync grows", `rsync "$1" "$3"`, grow, source}, // it copies what was there
		{"mv grows", `mv "$1" "$3"`, grow, nil},
		{"cp shrinks", `cp "$1" "$3"`, shrink, nil},
		{"cat shrinks", `cat "$1" > "$3"`, shrink, nil},
		{"dd count", `dd if="$1" of="$3" bs=1M count=10`, grow, source[:10<<20]},
		{"dd skip", `dd if="$1" of="$3" bs=1M skip=1`, nop, source[1<<20:]},
		{"head", `head -c 10000000 "$1" > "$3"`, grow, source[:10_000_000]},
		{"more, told", python + `os.ftruncate(f, 100_000); os.write(f, b"\0"*100_000); wait(); os.write(f, b"\0"); os.close(f)`, nil, nil},
		{"more, reserved and told", python + `os.posix_fallocate(f, 0, 100_000); os.write(f, b"\0"*100_000); wait(); os.write(f, b"\0"); os.close(f)`, nil, nil},
		{"more, not told", python + `os.ftruncate(f, 100_000); os.write(f, b"\0"*300_000); os.close(f)`, nop, small},
		{"less", python + `os.ftruncate(f, 300_000); os.write(f, b"\0"*100_000); wait(); os.close(f)`, nil, small},
		{"cut, told", python + `os.ftruncate(f, 400_000); os.write(f, b"\0"*100_000); wait(); os.ftruncate(f, 300_000); os.close(f)`, nil, nil},
		{"cut, not told", python + `os.ftruncate(f, 400_000); os.write(f, b"\0"*100_000); os.ftruncate(f, 300_000); os.close(f)`, nop, small},
		{"gap, told", python + `os.ftruncate(f, 200_000); os.write(f, b"\0"*100_000); wait(); os.pwrite(f, b"\0", 299_999); os.close(f)`, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := w.on(t)
			path := filepath.Join(t.TempDir(), c.name)
			if err := os.WriteFile(path, source, 0o600); err != nil {
				t.Fatal(err)
			}
			wait := fifo(t)
			args := []string{"-c", c.script, "bash", path, wait, filepath.Join(w.alice.room, c.name)}
			shell := "bash"
			if c.script[:6] == python[:6] {
				shell, args = "python3", append(args[:2], args[3:]...)
			}
			p := start(t, shell, args...)
			got := w.bob.arrives(c.name)
			var cat *program
			if c.change == nil {
				cat = start(t, "cat", got)
				eventually(t, "all written is there", func() bool {
					n, err := strconv.Atoi(attr(t, got, "bytes"))
					return err == nil && n >= 99_999 // the last byte comes at the end
				})
				if f, err := os.OpenFile(wait, os.O_WRONLY, 0); err != nil { // waits for the script
					t.Fatal(err)
				} else if err := f.Close(); err != nil {
					t.Fatal(err)
				}
			} else {
				call := syscall.SYS_WRITE
				if len(c.want) == len(small) {
					call = syscall.SYS_CLOSE
				}
				w.alice.blocks(p, c.name, call)
				if err := c.change(path); err != nil {
					t.Fatal(err)
				}
				cat = start(t, "cat", got)
			}
			if c.want != nil {
				same(t, cat.succeeds(), c.want)
				p.succeeds()
				return
			}
			if p.wait() == nil {
				t.Error("the writer succeeded")
			}
			if cat.wait() == nil {
				t.Errorf("a wrong file of %d bytes was delivered", len(cat.out.Bytes()))
			}
		})
	}
}

func grow(source string) error {
	f, err := os.OpenFile(source, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Write(make([]byte, 1_000_000))
	return err
}

func shrink(source string) error { return os.Truncate(source, 11_000_000) }

func nop(string) error { return nil }
