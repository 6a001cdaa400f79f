package main_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Real programs, as an ordinary user runs them, and what they say at each end
// that a file can come to: senders_linux_test.go has those that write to a
// room, receivers_linux_test.go those that read from incoming.

// fate is an end that a file can come to.
type fate string

const (
	delivered   fate = "delivered"
	refused     fate = "refused"     // rm of the offer
	withdrawn   fate = "withdrawn"   // the sender is interrupted before anybody reads
	expired     fate = "expired"     // nobody reads
	cut         fate = "cut"         // the other side gives up in the middle
	interrupted fate = "interrupted" // Ctrl-C
	stopped     fate = "stopped"     // Ctrl-C in the middle
)

// ends says how a program ends at each fate, unless its row says otherwise.
var ends = map[fate]end{
	delivered:   {},
	refused:     {status: 1, says: "Connection refused"},
	withdrawn:   {status: 1, says: "No such file or directory"},
	expired:     {status: 1, says: "Connection timed out"},
	cut:         {status: 1, says: "Connection reset by peer"},
	interrupted: {signal: syscall.SIGINT},
}

// end is how a program ends.
type end struct {
	status int
	signal syscall.Signal
	failed bool   // any end counts but a good one; then status and signal don't
	says   string // part of standard error; empty: nothing at all
	chatty bool   // it says other things, too, that don't matter
}

// check waits for a program and compares its end.
func (e end) check(t *testing.T, p *program) {
	t.Helper()
	p.wait()
	switch {
	case e.failed:
		if p.code == 0 {
			t.Errorf("%s: status 0, want a failure", p)
		}
	case p.signal != e.signal || e.signal == 0 && p.code != e.status:
		t.Errorf("%s: status %d, signal %v; want status %d, signal %v", p, p.code, p.signal, e.status, e.signal)
	}
	said := p.complaint()
	if !strings.Contains(said, e.says) || e.says == "" && !e.chatty && said != "" {
		t.Errorf("%s: it says %q, want %q", p, said, e.says)
	}
}

// says is a program that fails with a status of its own, in the usual words.
func says(status int) map[fate]end {
	own := map[fate]end{}
	for f, e := range ends {
		if e.status != 0 {
			e.status = status
			own[f] = e
		}
	}
	return own
}

// but is how a program ends at most fates, with one more.
func but(own map[fate]end, f fate, e end) map[fate]end {
	own = maps.Clone(own)
	if own == nil {
		own = map[fate]end{}
	}
	own[f] = e
	return own
}

// always is a program that fails with one status, and in the same words.
func always(e end) map[fate]end {
	own := says(e.status)
	for f := range own {
		own[f] = e
	}
	return own
}

const (
	// crowd is how many files are under way at a time.
	crowd = 6
	// shortLife is the lifetime of offers that are to expire: long enough for
	// them to be seen on a busy machine, as a rule.
	shortLife = "10s"
	// little fits into the window, overfull does not, and endless does not even
	// fit into the cache of the other side.
	little, overfull, endless = 300_001, 9<<20 + 7, 96 << 20
	// cacheSize is as small as it may be.
	cacheSize = "64MiB"
)

// stage is where the programs of a suite play: three mounts of an ordinary
// user, in one room.
type stage struct {
	t                 *testing.T
	user              *ordinary
	alice, hasty, bob *device // hasty is alice's other device, with a short lifetime
	room              string
	look              *looker
	web               string // address of the directory of sources
	sources           string // a directory
	slots             chan struct{}
}

func newStage(t *testing.T) *stage {
	t.Helper()
	h := home(t)
	s := &stage{t: t, user: ordinaryUser(t), slots: make(chan struct{}, crowd)}
	ann, ben := h.person(t), h.person(t)
	s.room = h.room(t, ann, ben)
	s.look = s.user.newLooker(t)
	s.alice = s.mount(ann)
	s.hasty = s.mount(ann, "--lifetime", shortLife)
	s.bob = s.mount(ben, "--cache-size", cacheSize)
	s.sources = s.user.place(t)
	server := httptest.NewServer(http.FileServer(http.Dir(s.sources)))
	t.Cleanup(server.Close)
	s.web = server.URL
	return s
}

// mount makes and mounts a device that is in the room.
func (s *stage) mount(who person, flags ...string) *device {
	s.t.Helper()
	d := home(s.t).loginAs(s.t, who, s.user).mount(append(flags, "--verbose")...)
	s.look.awaits(s.t, d.room(s.room))
	return d
}

// act is one program and one fate.
type act struct {
	name string
	// play does it. After seated, other acts may begin.
	play func(t *testing.T, name string, seated func())
}

// perform plays all acts, several at a time.
func (s *stage) perform(acts []act) {
	var all sync.WaitGroup
	for _, a := range acts {
		s.slots <- struct{}{}
		seated := sync.OnceFunc(func() { <-s.slots })
		all.Go(func() {
			defer seated()
			s.t.Run(a.name, func(t *testing.T) {
				defer s.explain(t, a.name)()
				a.play(t, a.name, seated)
			})
		})
	}
	all.Wait()
}

// explain gives what says, after a failure, what the mounts said meanwhile,
// and what they think of the file.
func (s *stage) explain(t *testing.T, name string) func() {
	devices := map[string]*device{"alice": s.alice, "hasty": s.hasty, "bob": s.bob}
	before := map[string]int{}
	for who, d := range devices {
		before[who] = len(d.daemon.err.String())
	}
	return func() {
		if !t.Failed() {
			return
		}
		for who, d := range devices {
			t.Logf("%s says:\n%s\n%s", who, d.daemon.err.String()[before[who]:], s.statusOf(t, d, name))
		}
	}
}

// statusOf is what "status --json" says of a file.
func (s *stage) statusOf(t *testing.T, d *device, name string) string {
	t.Helper()
	p := startCommand(t, s.user.command(d.binary(), "status", "--state", d.state, "--json"))
	p.wait()
	var told struct{ Transfers []json.RawMessage }
	if err := json.Unmarshal([]byte(p.out.String()), &told); err != nil {
		return fmt.Sprintf("no status: %v, %s", err, p.complaint())
	}
	told.Transfers = slices.DeleteFunc(told.Transfers, func(one json.RawMessage) bool {
		return !bytes.Contains(one, []byte(name))
	})
	return fmt.Sprintf("%s", told.Transfers)
}

// source makes a file of random bytes. Where it has a hole, that is in the
// middle, and there is another at its end.
func (s *stage) source(t *testing.T, name string, size int64, hole bool) (path string, content []byte) {
	t.Helper()
	content = make([]byte, size)
	var seed [32]byte
	copy(seed[:], name)
	_, _ = rand.NewChaCha8(seed).Read(content)
	path = filepath.Join(s.sources, name)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s.user.own(t, path)
	if hole {
		third := size / 3
		clear(content[third : 2*third])
		clear(content[size-third/2:])
		_, err = f.Write(content[:third])
		if err == nil {
			_, err = f.WriteAt(content[2*third:size-third/2], 2*third)
		}
		if err == nil {
			err = f.Truncate(size)
		}
	} else {
		_, err = f.Write(content)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path, content
}

// same compares what came out, with a file.
func same(t *testing.T, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
		return
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: %d bytes with SHA-256 %x, want %d with %x", path, len(got), sha256.Sum256(got), len(want), sha256.Sum256(want))
	}
}
