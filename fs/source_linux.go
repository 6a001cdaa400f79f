package fs

import (
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// copiers are the programs that write all of what they read, unchanged. One
// that is not among them may well read a.csv, and write another a.csv; and a
// size announced wrongly makes the transfer fail.
var copiers = map[string]bool{
	"cp": true, "mv": true, "install": true, "gio": true,
	"nautilus": true, "thunar": true, "pcmanfm": true, "pcmanfm-qt": true, "nemo": true, "caja": true,
	"dolphin": true, "kioslave5": true, "kioworker": true,
}

// joiners copy too, but a shell may have several of them write one file.
var joiners = map[string]bool{"cat": true, "pv": true}

// sourceSize guesses the size of the file that the thread copies to f: it is
// that of the one file of the same name which it has open for reading. wrote
// is how much it has written so far. This takes 0.1 ms and never waits, be it
// for our own mount or for a file system on the network.
func (m *Mounted) sourceSize(c caller, f identity, wrote int64) (size int64, ok bool) {
	if c == 0 {
		return 0, false
	}
	join := joiners[c.program()]
	switch {
	case join && m.heldBeside(f, c):
		return 0, false
	case !join && !copiers[c.program()] && !copiers[strings.ToLower(c.executable())]:
		return 0, false
	}
	fds, err := readNames(c.proc("fd"))
	if err != nil {
		return 0, false
	}
	name, _ := finalName(f.name)
	for _, fd := range fds {
		n, pos, is := m.sourceFD(c, fd, name)
		if !is || join && pos != wrote {
			continue
		}
		if ok && n != size {
			return 0, false // two files of that name
		}
		size, ok = n, true
	}
	return size, ok
}

// sourceFD gives the size of what a descriptor of the thread reads, and how
// far it has read, if it is a regular file of that name.
func (m *Mounted) sourceFD(c caller, fd, name string) (size, pos int64, ok bool) {
	link, err := os.Readlink(c.proc("fd/" + fd))
	if err != nil || path.Base(link) != name || strings.HasPrefix(link, m.point+"/") {
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
