package fs

import (
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// copiers are the programs that write all of what they read, unchanged. One
// that is not among them may well read a.csv, and write another a.csv; and a
// size announced wrongly makes the transfer fail. A program in Python may do
// anything.
var copiers = map[string]bool{
	"cp": true, "mv": true, "install": true, "gio": true,
	"nautilus": true, "thunar": true, "pcmanfm": true, "pcmanfm-qt": true, "nemo": true, "caja": true,
	"dolphin": true, "kioslave5": true, "kioworker": true,
}

// sourceSize guesses the size of the file that the thread copies to f: it is
// that of the one file of the same name which it has open for reading. wrote
// is how much it has written so far. This takes 0.1 ms, or with programs that a
// shell may have write one after the other (cat) as much as held. It never waits,
// be it for our own mount or for a file system on the network.
func (m *Mounted) sourceSize(c caller, f identity, wrote int64) (size int64, ok bool) {
	if c == 0 {
		return 0, false
	}
	name, _ := finalName(f.name)
	switch program := c.program(); program {
	case "cat", "pv":
		if args, whole := c.command(maxCommand); !whole || !copiesOne(program, args[1:]) || m.heldBeside(f, c) {
			return 0, false
		}
		return m.sourceOf(c, name, func(pos int64) bool { return pos == wrote })
	case "dd":
		if m.heldBeside(f, c) {
			return 0, false
		}
		return m.sourceOfDD(c, wrote)
	case "rsync":
		return m.sourceOfRsync(c, f)
	default:
		if !copiers[program] && !copiers[strings.ToLower(c.executable())] {
			return 0, false
		}
		return m.sourceOf(c, name, func(int64) bool { return true })
	}
}

// sourceOf gives the size of the file of that name which the thread reads, if it
// has read as far as it should.
func (m *Mounted) sourceOf(c caller, name string, should func(pos int64) bool) (size int64, ok bool) {
	fds, err := readNames(c.proc("fd"))
	if err != nil {
		return 0, false
	}
	for _, fd := range fds {
		n, pos, is := m.sourceFD(c, fd, name)
		if !is || !should(pos) {
			continue
		}
		if ok && n != size {
			return 0, false // two files of that name
		}
		size, ok = n, true
	}
	return size, ok
}

// sourceOfDD is for dd, which reads from descriptor 0, whatever its name. It has
// read a block, of which it may have written the first MiB.
func (m *Mounted) sourceOfDD(c caller, wrote int64) (size int64, ok bool) {
	args, whole := c.command(maxCommand)
	if !whole {
		return 0, false
	}
	block, whole := parseDD(args[1:])
	if !whole {
		return 0, false
	}
	size, pos, is := m.sourceFD(c, "0", "")
	return size, is && (pos == wrote || wrote == maxWrite && pos == min(block, size))
}

// sourceOfRsync is for rsync, where the grandparent of the process that writes
// has the source open, under the final name.
func (m *Mounted) sourceOfRsync(c caller, f identity) (size int64, ok bool) {
	name, temporary := rsyncName(f.name, true)
	if !temporary {
		name = f.name // --inplace
	}
	c = c.parent().parent()
	if c <= 1 || c.program() != "rsync" || executing(c.proc("")) {
		return 0, false
	}
	return m.sourceOf(c, name, func(int64) bool { return true })
}

// sourceFD gives the size of what a descriptor of the thread reads, and how
// far it has read, if it is a regular file of that name, or of any if name is
// empty.
func (m *Mounted) sourceFD(c caller, fd, name string) (size, pos int64, ok bool) {
	link, err := os.Readlink(c.proc("fd/" + fd))
	if err != nil || name != "" && path.Base(link) != name || strings.HasPrefix(link, m.point+"/") {
		return 0, 0, false
	}
	info := readFDInfo(c.proc("fdinfo/" + fd))
	if info["flags"].octal()&unix.O_ACCMODE != unix.O_RDONLY {
		return 0, 0, false
	}
	var st unix.Statx_t
	const fromMemory = unix.AT_STATX_DONT_SYNC | unix.AT_NO_AUTOMOUNT
	err = unix.Statx(unix.AT_FDCWD, c.proc("fd/"+fd), fromMemory, unix.STATX_TYPE|unix.STATX_SIZE, &st)
	if err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return 0, 0, false
	}
	return int64(st.Size), int64(info["pos"].decimal()), true
}

// executable is the name of the file that the thread's process runs.
func (c caller) executable() string {
	link, err := os.Readlink(c.proc("exe"))
	if err != nil {
		return ""
	}
	return path.Base(link)
}
