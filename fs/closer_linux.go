package fs

import (
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// held reports whether any process has the file open for writing: a close that
// leaves a descriptor is not the last. It never waits for our own mount, be it
// for a process that executes another program (see executing). Our own process
// does not count. It takes 2 to 4 ms on a desktop.
//
// The descriptor being closed does not show any more: the kernel takes it away
// before it sends FLUSH.
func (m *Mounted) held(f identity, closer caller) bool {
	// It is by far the most likely holder, as after "exec 3>x".
	return closer > 0 && int(closer) != os.Getpid() && m.holds(closer.proc(""), f) || m.heldBeside(f, closer)
}

// lookRounds bounds how often processes are listed: on a machine where new ones
// come faster than they can be looked at, some will be missed.
const lookRounds = 10

// heldBeside reports whether any process but that of the thread has the file
// open. It looks at all, and then at those that have come meanwhile: one that was
// not listed yet may have got the file from one that has closed it since.
func (m *Mounted) heldBeside(f identity, c caller) bool {
	seen := map[string]bool{strconv.Itoa(os.Getpid()): true, strconv.Itoa(int(c)): true}
	for range lookRounds {
		names, err := readNames("/proc")
		if err != nil {
			return false
		}
		before := len(seen)
		for _, p := range names {
			if p[0] < '0' || p[0] > '9' || seen[p] {
				continue
			}
			seen[p] = true
			if m.holds("/proc/"+p+"/", f) {
				return true
			}
		}
		if len(seen) == before {
			return false
		}
	}
	return false
}

// holds reports whether the process has the file open for writing.
func (m *Mounted) holds(process string, f identity) bool {
	d, err := os.Open(process + "fd")
	if err != nil {
		return false // gone, or not ours to see
	}
	defer d.Close()
	fds, err := d.Readdirnames(-1)
	if err != nil || len(fds) == 0 {
		return false
	}
	// Links are quick to sort out, but not to be had of all. One that begins to
	// execute after this holds us up only until its own closes have been
	// answered, which are not held up by one that was executing before.
	links := !executing(process)
	for _, fd := range fds {
		if (!links || m.mayBe(readLinkAt(d, fd), f)) && isWriter(process+"fdinfo/"+fd, f.inode) {
			return true
		}
	}
	return false
}

// readLinkAt reads a link in a directory; it is empty where there is none.
func readLinkAt(d *os.File, name string) string {
	var target [unix.PathMax]byte
	n, err := unix.Readlinkat(int(d.Fd()), name, target[:])
	if err != nil {
		return ""
	}
	return string(target[:n])
}

// mayBe sorts out the links that can't be the file. The kernel says where it
// sees the file now: renamed, deleted, or elsewhere, if the process has
// another view of the mounts.
func (m *Mounted) mayBe(link string, f identity) bool {
	if !strings.HasPrefix(link, "/") {
		return false
	}
	return strings.HasPrefix(link, m.point+"/") ||
		path.Base(strings.TrimSuffix(link, " (deleted)")) == f.name
}

// isWriter reads from a file of /proc/PID/fdinfo whether the descriptor is one
// for writing to that inode (the inode is there since Linux 5.14). One that only
// names the file (O_PATH) holds nothing.
func isWriter(fdinfo string, inode uint64) bool {
	info := readFDInfo(fdinfo)
	flags := info["flags"].octal()
	return info["ino"].decimal() == inode && flags&unix.O_ACCMODE != unix.O_RDONLY && flags&unix.O_PATH == 0
}

// number is a number as fdinfo writes it.
type number string

func (n number) decimal() uint64 { v, _ := strconv.ParseUint(string(n), 10, 64); return v }
func (n number) octal() uint64   { v, _ := strconv.ParseUint(string(n), 8, 64); return v }

// readFDInfo reads the numbers in a file of /proc/PID/fdinfo.
func readFDInfo(name string) map[string]number {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil
	}
	info := map[string]number{}
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(line, ":")
		info[key] = number(strings.TrimSpace(value))
	}
	return info
}

// readNames lists a directory, unsorted.
func readNames(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}
