package fs

import (
	"path"
	"strings"
	"unicode"
)

// finalName gives the name that a file will have when the program that writes
// it is done: many write under a temporary name and rename at the end. It is
// empty where the temporary name says nothing of the final one. known is false
// for such a name only.
func finalName(name string) (final string, known bool) {
	if rest, ok := strings.CutPrefix(name, ".goutputstream-"); ok && len(rest) == 6 {
		return "", false // GLib: the name says nothing
	}
	for _, suffix := range []string{".partial~", ".part"} { // Thunar; KIO, browsers
		if stem, ok := strings.CutSuffix(name, suffix); ok && stem != "" {
			return stem, true
		}
	}
	if final, ok := rsyncName(name, false); ok {
		return final, true
	}
	return name, true
}

// rsyncName understands the ".NAME.XXXXXX" of rsync. The last part is random
// letters and digits; one of lower-case letters alone, or digits alone, is far
// more likely to be a word or a date, ".settings.backup", unless it is sure that
// rsync makes the file.
func rsyncName(name string, sure bool) (string, bool) {
	rest, hidden := strings.CutPrefix(name, ".")
	dot := strings.LastIndexByte(rest, '.')
	if !hidden || dot < 1 || len(rest)-dot-1 != 6 {
		return "", false
	}
	var lower, upper, digits int
	for _, r := range rest[dot+1:] {
		switch {
		case r >= 'a' && r <= 'z':
			lower++
		case r >= 'A' && r <= 'Z':
			upper++
		case r < unicode.MaxASCII && unicode.IsDigit(r):
			digits++
		}
	}
	if lower+upper+digits != 6 || !sure && (lower == 6 || digits == 6) {
		return "", false
	}
	return rest[:dot], true
}

// offers is offeredName for a file that the thread's program makes.
func (c caller) offers(name string) string {
	program := c.program()
	if program == "zip" && isZipTemp(name) {
		args, _ := c.command(16 * maxCommand)
		return zipName(args)
	}
	return offeredBy(program, name)
}

// probes reports whether the thread's program makes a file of that name to see
// whether it can, and removes it again: zip does that with the archive, and vim
// with this number, before it writes under another name.
func (c caller) probes(name string) bool {
	if c.program() == "zip" {
		return !isZipTemp(name)
	}
	return name == "4913" && c.isVim()
}

// vims are the names that vim has. Debian has more, which start with "vim.".
var vims = map[string]bool{
	"vim": true, "vi": true, "nvim": true, "gvim": true, "view": true, "vimx": true, "ex": true, "editor": true,
	"vimdiff": true, "gview": true, "rvim": true, "rview": true, "evim": true, "eview": true, "gvimdiff": true, "rgvim": true, "rgview": true,
}

// isVim reports whether the thread's program is vim, by any of its names.
func (c caller) isVim() bool {
	for _, name := range []string{c.program(), caller(c.process()).program()} {
		if vims[name] || strings.HasPrefix(name, "vim.") {
			return true
		}
	}
	return false
}

func isZipTemp(name string) bool { return strings.HasPrefix(name, "zi") && len(name) == 8 }

// offeredBy is offeredName for a file that a program makes.
func offeredBy(program, name string) string {
	if final, ok := rsyncName(name, program == "rsync"); ok {
		name = final
	}
	return offeredName(name)
}

// zipName gives the name of the archive that zip makes. It writes and closes it
// under a name that says nothing.
func zipName(arguments []string) string {
	for _, a := range arguments {
		if strings.HasSuffix(a, ".zip") && !strings.HasPrefix(a, "-") {
			return offeredName(path.Base(a))
		}
	}
	return noName
}

// offeredName is the name under which a file is offered to the room.
func offeredName(name string) string {
	final, known := finalName(name)
	if !known {
		return noName
	}
	return strings.ToValidUTF8(final, "_")
}

// sideOf gives the name of the database that a file of that name would belong
// to: SQLite makes three kinds beside one, and removes them. It is empty for
// other names.
func sideOf(name string) string {
	for _, suffix := range []string{"-journal", "-wal", "-shm"} {
		if base, ok := strings.CutSuffix(name, suffix); ok {
			return base
		}
	}
	return ""
}

// keptPrivate reports whether a file of that name is never meant for others:
// the swap files of vim, which it makes beside the file it edits.
func keptPrivate(name string) bool {
	if !strings.HasPrefix(name, ".") {
		return false
	}
	for _, suffix := range []string{".swp", ".swo", ".swx", ".swpx"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

// becomesPrivate reports whether a file has, or will have, a name that is kept
// private. It is known by offered then, but that rsync leaves out the dot: its
// temporary name for .x.swp, and for x.swp, is .x.swp.AbC123.
func becomesPrivate(name, offered string) bool {
	return keptPrivate(name) || keptPrivate(offered) ||
		name != offered && strings.HasPrefix(name, ".") && keptPrivate("."+offered)
}
