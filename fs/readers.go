package fs

import (
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Readers says which programs accept an offer when they read it, and which
// only seem to want the file. Its zero value is what is known of common
// programs. It does not change.
type Readers struct {
	rules []rule // looked at before knownReaders, in this order
}

// conduct is how a program is dealt with that reads what nobody has accepted.
type conduct int

const (
	// ordinary: its first read accepts, as that of cat.
	ordinary conduct = iota
	// always: so does this one's, also where it says that nobody should
	// notice (O_NOATIME).
	always
	// never: it reads unasked. It can't open an offer.
	never
	// manager: it reads the start unasked, to see what it is, but also copies.
	manager
)

var conducts = map[string]conduct{"always": always, "never": never, "manager": manager}

// rule is a line of a readers file.
type rule struct {
	conduct conduct
	pattern string // of path.Match, in lower case
}

const (
	// maxReadersFile bounds a readers file, in bytes. A list of every program
	// there is would be shorter.
	maxReadersFile = 64 << 10
	// maxRules bounds its lines: all are looked at whenever an offer is opened.
	maxRules = 1000
	// maxComm is where the kernel cuts the name of a thread (TASK_COMM_LEN), in
	// bytes.
	maxComm = 15
)

// LoadReaders reads a readers file. Each line is "never NAME", "manager NAME"
// or "always NAME", and NAME may be a pattern; the first line that matches a
// program counts. The errors say in which line something is wrong.
func LoadReaders(file string) (Readers, error) {
	f, err := os.Open(file)
	if err != nil {
		return Readers{}, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxReadersFile+1))
	if err != nil {
		return Readers{}, err
	}
	if len(text) > maxReadersFile {
		return Readers{}, fmt.Errorf("%s is too large: a readers file has at most %d KiB", file, maxReadersFile>>10)
	}
	r, line, err := parseReaders(string(text))
	if err != nil {
		return Readers{}, fmt.Errorf("%s, line %d: %w", file, line, err)
	}
	return r, nil
}

// parseReaders reads the text of a readers file. line is where the error is.
func parseReaders(text string) (r Readers, line int, err error) {
	for each := range strings.Lines(text) {
		line++
		one, ok, err := parseRule(each)
		switch {
		case err != nil:
			return r, line, err
		case ok && len(r.rules) == maxRules:
			return r, line, fmt.Errorf("too many lines: at most %d can name programs", maxRules)
		case ok:
			r.rules = append(r.rules, one)
		}
	}
	return r, line, nil
}

// parseRule reads one line. ok is false where it says nothing.
func parseRule(text string) (r rule, ok bool, err error) {
	for i, c := range text {
		if c == '#' && (i == 0 || strings.ContainsAny(text[i-1:i], " \t")) {
			text = text[:i]
			break
		}
	}
	text = strings.TrimSpace(text)
	if text == "" {
		return rule{}, false, nil
	}
	if !utf8.ValidString(text) || strings.ContainsFunc(text, func(c rune) bool { return c != '\t' && !unicode.IsPrint(c) }) {
		return rule{}, false, fmt.Errorf("%q is not text", shown(text))
	}
	word, name := text, ""
	if i := strings.IndexAny(text, " \t"); i >= 0 {
		word, name = text[:i], strings.ToLower(strings.TrimSpace(text[i:]))
	}
	kind, known := conducts[word]
	switch _, bad := path.Match(name, ""); {
	case !known || name == "":
		return rule{}, false, fmt.Errorf(`%q is not "never NAME", "manager NAME" or "always NAME"`, shown(text))
	case strings.Contains(name, "/"):
		return rule{}, false, fmt.Errorf("%q is a path: give the name of the program alone", shown(name))
	case bad != nil:
		return rule{}, false, fmt.Errorf("%q is not a pattern: a [ has no ]", shown(name))
	}
	return rule{kind, name}, true, nil
}

// shown cuts what an error cites.
func shown(s string) string { return cut(s, 60) }

// matches reports whether the rule is about a program of that name, which is
// in lower case.
func (r rule) matches(name string) bool {
	if ok, _ := path.Match(r.pattern, name); ok {
		return true
	}
	// The name may be the start of a longer one.
	stem := r.pattern
	if i := strings.IndexAny(stem, `*?[\`); i >= 0 {
		stem = stem[:i]
	}
	return len(name) == maxComm && len(stem) > maxComm && stem[:maxComm] == name
}

// conduct tells how to deal with a program, by any of its names, and which
// name told.
func (r Readers) conduct(names []string) (conduct, string) {
	for _, list := range [][]rule{r.rules, knownReaders} {
		for _, one := range list {
			for _, name := range names {
				if one.matches(strings.ToLower(name)) {
					return one.conduct, name
				}
			}
		}
	}
	return ordinary, ""
}

// knownReaders are the programs of common desktops that read files unasked.
var knownReaders = slices.Concat(
	rules(never,
		// Thumbnailers.
		"tumblerd", "tumbler-*", "*thumbnail*", "totem-video-thu*", "evince-thumbnai*", "gdk-pixbuf-thum*",
		"gnome-desktop-file-to-thumb*", "ffmpegthumbnail*",
		// Those that tell what is in a file.
		"file", "mimetype", "xdg-mime",
		// Indexers.
		"tracker-*", "tracker3*", "localsearch*", "baloo_file*", "updatedb*", "recollindex", "zeitgeist-*",
		// What copies home directories away at night.
		"borg", "restic", "kopia", "duplicity", "rdiff-backup", "syncthing", "nextcloud*", "owncloud*", "dropbox*",
	),
	rules(manager,
		"nautilus", "nautilus-*", "org.gnome.nautilus*", "nemo", "nemo-*", "caja", "caja-*", "thunar", "thunar-*", "xfdesktop",
		"pcmanfm", "pcmanfm-qt", "spacefm", "peony", "peony-*", "dde-file-manager*", "io.elementary.files*", "cosmic-files",
		"dolphin", "konqueror", "krusader", "plasmashell", "kioslave", "kioslave5", "kioworker", "file.so",
		"gvfsd", "gvfsd-*", "xdg-desktop-portal*",
	),
)

func rules(c conduct, patterns ...string) (list []rule) {
	for _, p := range patterns {
		list = append(list, rule{c, p})
	}
	return list
}
