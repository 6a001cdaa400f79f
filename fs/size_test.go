package fs_test

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// TestSourceSize: the size is known for what copies a file, and not for what
// may change it.
func TestSourceSize(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	// Larger than the window: nobody can have written it all, and closed it,
	// before the invite goes out.
	source, _ := file(t, "a", 9_500_000)
	const python = `python3 -c 'import os,shutil,sys; `
	for name, c := range map[string]struct {
		script string
		known  bool
	}{
		"cp":          {`cp "$1" "$3"`, true},
		"cp -a":       {`cp -a "$1" "$3"`, true},
		"mv":          {`mv "$1" "$3"`, true},
		"install":     {`install "$1" "$3"`, true},
		"cat":         {`cat "$1" > "$3"`, true},
		"cat stdin":   {`cat < "$1" > "$3"`, true},
		"pv":          {`pv -q "$1" > "$3"`, true},
		"gio":         {`gio copy "$1" "$3"`, true},
		"gio move":    {`gio move "$1" "$3"`, true},
		"cp to part":  {`cp "$1" "$3.part"`, true},
		"cp link":     {`ln -s "$1" "$1.link"; cp "$1.link" "$3"`, true},
		"rsync":       {`rsync "$1" "$3"`, true},
		"rsync -a":    {`rsync -a "$1" "$3"`, true},
		"inplace":     {`rsync --inplace "$1" "$3"`, true},
		"preallocate": {`rsync --preallocate "$1" "$3"`, true},
		"dd":          {`dd if="$1" of="$3" bs=1M`, true},
		"dd small":    {`dd if="$1" of="$3" bs=4k conv=fsync`, true},
		"dd large":    {`dd if="$1" of="$3" bs=3M`, true},
		"dd stdin":    {`dd < "$2" > "$3" bs=64k`, true},
		"ftruncate":   {python + `f=os.open(sys.argv[1],65); os.ftruncate(f,9500000); os.write(f,b"x"*2000000)' "$3"`, true},

		"dd count":   {`dd if="$1" of="$3" bs=1M count=9`, false},
		"dd skip":    {`dd if="$1" of="$3" bs=1M skip=1`, false},
		"dd sync":    {`dd if="$1" of="$3" bs=7k conv=sync`, false},
		"dd rest":    {`(read -N 100 x; dd bs=64k) < "$1" > "$3"`, false},
		"dd twice":   {`(dd if="$1" bs=1M; dd if="$2" bs=1M) > "$3"`, false},
		"head":       {`head -c 9000000 "$1" > "$3"`, false},
		"cat twice":  {`(cat "$1"; cat "$2") > "$3"`, false},
		"cat same":   {`cat "$1" "$1" > "$3"`, false},
		"cat -s":     {`cat -s "$1" > "$3"`, false},
		"cat rest":   {`(read -N 100 x; cat) < "$1" > "$3"`, false},
		"other name": {`cp "$2" "$3"`, false},
		"tee":        {`tee "$3" < "$1" > /dev/null`, false},
		"tar":        {`tar xOf "$1.tar" > "$3"`, false},
		"python":     {python + `open(sys.argv[2],"wb").write(open(sys.argv[1],"rb").read()[:8800000])' "$1" "$3"`, false},
		"shutil":     {python + `shutil.copy(sys.argv[1], sys.argv[2])' "$1" "$3"`, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := w.on(t)
			mine := filepath.Join(t.TempDir(), name)
			for _, link := range []string{mine, mine + ".other"} {
				if err := os.Link(source, link); err != nil {
					t.Fatal(err)
				}
			}
			if name == "tar" {
				// Not of the source: tar complains of others that link to it.
				sh(t, `cp "$1" "$2.copy" && tar cf "$2.tar" "$2.copy"`, source, mine).succeeds()
			}
			p := sh(t, c.script, mine, mine+".other", filepath.Join(w.alice.room, name))
			got := w.bob.arrives(name)
			want := ""
			if c.known {
				want = "9500000"
			}
			if size := attr(t, got, "size"); size != want {
				t.Errorf("the size is said to be %q", size)
			}
			start(t, "rm", got).succeeds()
			_ = p.wait()
		})
	}
}

// TestUntrueSizes: some files are not as long as they say. Nobody is told
// before it is known.
func TestUntrueSizes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, path := range []string{"/sys/devices/system/cpu/possible", "/proc/version"} {
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		cp := start(t, "cp", path, w.alice.room)
		w.bob.takes(filepath.Base(path), want)
		cp.succeeds()
	}
}

// TestFalseHints: a size that turns out wrong makes the copy fail, or does no
// harm. It never delivers a wrong file.
func TestFalseHints(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const python = `import os,sys; f = os.open(sys.argv[3], os.O_WRONLY|os.O_CREAT)
def wait(): open(sys.argv[2]).read()
`
	source, small := make([]byte, 9_500_000), make([]byte, 300_000)
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
		{"dd count", `dd if="$1" of="$3" bs=1M count=9`, grow, source[:9<<20]},
		{"dd skip", `dd if="$1" of="$3" bs=1M skip=1`, nop, source[1<<20:]},
		{"head", `head -c 9000000 "$1" > "$3"`, grow, source[:9_000_000]},
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
				w.alice.blocks(p, call)
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

func shrink(source string) error { return os.Truncate(source, 9_000_000) }

func nop(string) error { return nil }
