package fs

import (
	"log/slog"
	"path"
	"strings"
	"sync"
)

// policy decides who may read an offer that nobody has accepted: reading it
// accepts it.
type policy struct {
	readers Readers
	ask     bool // reading accepts nothing
	log     *slog.Logger

	mu   sync.Mutex // guards all below
	told map[string]bool
}

const (
	// sniffLimit is the longest first read(2) of a file manager that wants to know
	// what a file is: 16 KiB for that, and 64 KiB where it makes a thumbnail by
	// itself. Those that copy ask for 128 KiB at least.
	sniffLimit = 64 << 10
	// maxTold bounds how many programs are named in the log.
	maxTold = 256
)

// refusal is why a program may not read an offer.
type refusal struct {
	program string
	reason  string // empty: it may
}

// mayOpen decides about a program that opens an offer.
func (p *policy) mayOpen(r program, flags uint32) refusal {
	c, no := p.common(r)
	if no.reason == "" && c != always && flags&noAtime != 0 {
		no = refusal{r.title(), "it looks into files without being noticed (O_NOATIME)"}
	}
	return p.tell(no)
}

// mayRead decides about a program's first read of an offer that it has open,
// or that it was given open: n bytes, through the page cache or not.
//
// File managers tell what a file is by read(2) of its start. GLib copies by
// splice(2), which reads through the page cache, and KDE by long reads.
func (p *policy) mayRead(r program, n int, paged bool) refusal {
	c, no := p.common(r)
	if no.reason == "" && c == manager && !paged && n <= sniffLimit {
		no = refusal{r.title(), "it is a file manager, and looks into files unasked"}
	}
	return p.tell(no)
}

// common is what opening and reading have in common.
func (p *policy) common(r program) (conduct, refusal) {
	c, name := p.readers.conduct(r.names)
	switch {
	case p.ask:
		return c, refusal{r.title(), "reading accepts nothing (--accept=ask)"}
	case r.hidden:
		return c, refusal{r.title(), "it runs where it can't be seen who it is"}
	case c == never:
		return c, refusal{r.whole(name), "it reads files unasked"}
	}
	return c, refusal{}
}

// believers take a size of 0 for the truth: they would make an empty file of
// one whose size is not known, and say that all went well.
var believers = map[string]bool{
	"rsync": true, "tar": true, "bsdtar": true, "star": true, "pax": true, "cpio": true,
	"dolphin": true, "kioslave": true, "kioslave5": true, "kioworker": true, "file.so": true, "konqueror": true, "krusader": true,
}

// mayGuess decides about a program that opens a file whose size is not known.
func (p *policy) mayGuess(r program) refusal {
	for _, name := range r.names {
		if believers[strings.ToLower(name)] {
			return p.tell(refusal{name, "it would make an empty file, because the size is not known before the end"})
		}
	}
	return refusal{}
}

// tell logs a refusal, once for each program and reason.
func (p *policy) tell(no refusal) refusal {
	if no.reason == "" {
		return no
	}
	p.mu.Lock()
	key := no.program + "\x00" + no.reason
	known := p.told[key] || len(p.told) == maxTold
	if !known {
		p.told[key] = true
	}
	p.mu.Unlock()
	if !known {
		p.log.Info("a program may not read offers", "program", printable(no.program), "reason", no.reason)
	}
	return no
}

// program is what is known of a program that has opened something.
type program struct {
	// names are all it goes by: that of its process, of its thread, and of what
	// was started.
	names []string
	// hidden: nothing can be known of it.
	hidden bool
}

// title is the name that a person knows it by.
func (r program) title() string {
	if len(r.names) == 0 {
		return "?"
	}
	return r.whole(r.names[0])
}

// whole gives the whole of a name that the kernel may have cut.
func (r program) whole(name string) string {
	for _, longer := range r.names {
		if len(name) == maxComm && strings.HasPrefix(longer, name) && longer != name {
			return longer
		}
	}
	return name
}

// add adds a name.
func (r *program) add(name string) {
	if name != "" && name != "." && name != "/" {
		r.names = append(r.names, name)
	}
}

// hosts are the programs that are known by what they run.
var hosts = []string{
	"kioslave*", "kioworker*", "kdeinit*", "python*", "perl*", "ruby*", "node", "gjs*", "bash", "dash", "sh", "zsh",
}

// addCommand adds the names in a command line. Some programs put a title
// there, in which only the first word is a name.
func (r *program) addCommand(args []string) {
	if len(args) == 0 {
		return
	}
	first := strings.TrimPrefix(path.Base(args[0]), "-") // a login shell
	r.add(first)
	if word, _, more := strings.Cut(args[0], " "); more {
		r.add(strings.TrimSuffix(path.Base(word), ":"))
	}
	for _, h := range hosts {
		if is, _ := path.Match(h, first); is {
			r.add(script(args[1:]))
			return
		}
	}
}

// script is the name of what a host runs, by its arguments.
func script(args []string) string {
	for _, arg := range args {
		switch {
		case !strings.HasPrefix(arg, "-"):
			return path.Base(arg)
		case strings.ContainsAny(arg, "ecm"): // the program itself comes next
			return ""
		}
	}
	return ""
}
