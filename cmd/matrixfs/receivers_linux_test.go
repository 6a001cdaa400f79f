package main_test

import (
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
)

// receiver is a program that reads a file of incoming.
type receiver struct {
	name string
	// script reads the file. $1 is the file in incoming, $2 where to put what
	// comes of it; that is want, or the whole of the file.
	script string
	want   func(content []byte) []byte
	// waits: the shell opens the file, so the program finds it open whatever
	// becomes of the offer.
	waits bool
	// moves: the file in incoming goes away, if and only if it is delivered.
	moves bool
	// blind: the program takes an error of read for the end of the file, and
	// says that all is well. Nothing can be done about that.
	blind bool
	ends  map[fate]end // where they differ from ends
}

var receivers = []receiver{
	{name: "cat", script: `exec cat "$1" > "$2"`},
	{name: "cp", script: `exec cp "$1" "$2"`},
	{name: "cp-archive", script: `exec cp -a "$1" "$2"`},
	{name: "mv", script: `exec mv "$1" "$2"`, moves: true},
	{name: "install", script: `exec install -m 640 "$1" "$2"`},
	{name: "dd", script: `exec dd if="$1" of="$2" bs=64K status=none`},
	{name: "dd-small", script: `exec dd if="$1" of="$2" status=none`},
	{name: "tee", script: `exec tee "$2" < "$1" > /dev/null`, waits: true},
	{name: "rsync", script: `exec rsync "$1" "$2"`, ends: rsyncReads},
	{name: "rsync-archive", script: `exec rsync -a "$1" "$2"`, ends: rsyncReads},
	{name: "tar", script: `tar -C "${1%/*}" -cf "$2.tar" "${1##*/}" && tar -xOf "$2.tar" > "$2"`, ends: says(2)},
	{name: "python", script: `exec python3 -c 'import shutil, sys; shutil.copy(sys.argv[1], sys.argv[2])' "$1" "$2"`, ends: pythonReads},
	{name: "gio", script: `exec gio copy "$1" "$2"`},
	{name: "curl", script: `exec curl -sS -o "$2" "file://$1"`, blind: true, ends: always(end{status: 37, says: "curl: (37)"})},
	{name: "pv", script: `exec pv -q "$1" > "$2"`, ends: but(pvEnds, withdrawn, end{failed: true, says: ends[withdrawn].says})},
	{name: "sha256sum", script: `exec sha256sum < "$1" > "$2"`, waits: true, want: func(content []byte) []byte {
		return fmt.Appendf(nil, "%x  -\n", sha256.Sum256(content))
	}},
	{name: "head", script: `exec head -c 300000 "$1" > "$2"`, want: func(content []byte) []byte { return content[:300_000] }},
	{name: "tail", script: `exec tail -c 100000 "$1" > "$2"`, want: func(content []byte) []byte {
		return content[len(content)-100_000:]
	}},
}

// rsync puts zeros where it can't read, and then says so.
var rsyncReads = but(says(23), interrupted, rsyncEnds[interrupted])

func (r receiver) end(f fate) end {
	if e, ok := r.ends[f]; ok {
		return e
	}
	return ends[f]
}

// Each program that reads from incoming, at each fate: its exit status, what
// it says, and what it makes of the file.
func TestProgramsReceive(t *testing.T) {
	s := newStage(t)
	var acts []act
	add := func(f fate, play func(s *stage, t *testing.T, r receiver, name string, seated func())) {
		for _, r := range receivers {
			if f == cut && r.blind {
				continue
			}
			acts = append(acts, act{r.name + "." + string(f), func(t *testing.T, name string, seated func()) {
				play(s, t, r, name, seated)
			}})
		}
	}
	add(expired, (*stage).receiveExpired)
	add(delivered, (*stage).receiveDelivered)
	add(withdrawn, (*stage).receiveWithdrawn)
	add(cut, (*stage).receiveCut)
	add(interrupted, (*stage).receiveInterrupted)
	s.perform(acts)
}

// copier starts cp of a file to the room.
func (s *stage) copier(t *testing.T, from *device, name string) (cp *program, content []byte) {
	t.Helper()
	source, content := s.source(t, name, little, false)
	return s.user.shell(t, `exec cp "$1" "$2"`, source, from.room(s.room)), content
}

// stalling writes the beginning of a file of a known size, and waits for a
// line before it goes on, little by little. The beginning is less than any
// program reads at a time, so a program that has read anything waits for more.
const stalling = `exec python3 -c 'import os, sys, time
file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
os.ftruncate(file, 8 << 20)
os.write(file, b"x" * 300)
print("ready", flush=True)
sys.stdin.readline()
while os.write(file, b"x" * 1000): time.sleep(0.05)' "$1"`

// receive starts a receiver, and gives where it puts what it makes.
func (s *stage) receive(t *testing.T, r receiver, offer string) (p *program, made string) {
	t.Helper()
	made = filepath.Join(s.user.place(t), "made")
	return s.user.shell(t, r.script, offer, made), made
}

func (s *stage) receiveDelivered(t *testing.T, r receiver, name string, _ func()) {
	cp, content := s.copier(t, s.alice, name)
	offer := s.look.awaits(t, s.bob.incoming(name))
	p, made := s.receive(t, r, offer)
	r.end(delivered).check(t, p)
	ends[delivered].check(t, cp)
	if r.want != nil {
		content = r.want(content)
	}
	same(t, made, content)
	if s.look.exists(t, offer) == r.moves {
		t.Errorf("the file in incoming: is it there? %v", !r.moves)
	}
}

// gone runs a receiver on an offer that vanishes by what vanish does. Where the
// shell has it open before, the program sees why.
func (s *stage) gone(t *testing.T, r receiver, name string, vanish func(), why end) {
	t.Helper()
	offer := s.bob.incoming(name)
	if !r.waits {
		vanish()
		s.look.awaitsNot(t, offer)
		p, _ := s.receive(t, r, offer)
		r.end(withdrawn).check(t, p)
		return
	}
	made := filepath.Join(s.user.place(t), "made")
	p, release := s.user.held(t, `exec 3< "$1"; echo ready; read; set -- /dev/fd/3 "$2"; `+r.script, offer, made)
	vanish()
	s.look.awaitsNot(t, offer)
	release()
	why.check(t, p)
}

func (s *stage) receiveWithdrawn(t *testing.T, r receiver, name string, _ func()) {
	cp, _ := s.copier(t, s.alice, name)
	s.look.awaits(t, s.bob.incoming(name))
	s.gone(t, r, name, func() {
		cp.signalAll(syscall.SIGINT)
		ends[interrupted].check(t, cp)
	}, r.end(cut))
}

func (s *stage) receiveExpired(t *testing.T, r receiver, name string, seated func()) {
	cp, _ := s.copier(t, s.hasty, name)
	offer := s.bob.incoming(name)
	eventually(t, name+" is offered", func() bool {
		if !cp.running() { // too busy a machine: once again
			ends[expired].check(t, cp)
			cp, _ = s.copier(t, s.hasty, name)
		}
		return s.look.exists(t, offer)
	})
	seated()
	s.gone(t, r, name, func() { ends[expired].check(t, cp) }, r.end(expired))
}

// reading starts a receiver of a file that stalls, and waits until it has the
// beginning.
func (s *stage) reading(t *testing.T, r receiver, name string) (writer, p *program, release func()) {
	t.Helper()
	writer, release = s.user.held(t, stalling, filepath.Join(s.alice.room(s.room), name))
	offer := s.look.awaits(t, s.bob.incoming(name))
	p, _ = s.receive(t, r, offer)
	s.bob.reaches(t, name, "streaming", 1)
	return writer, p, release
}

// The program of the other side is killed in the middle.
func (s *stage) receiveCut(t *testing.T, r receiver, name string, _ func()) {
	writer, p, _ := s.reading(t, r, name)
	writer.signalAll(syscall.SIGKILL)
	r.end(cut).check(t, p)
}

// Ctrl-C, while nothing comes: the program ends at once, and the other side
// learns of it.
func (s *stage) receiveInterrupted(t *testing.T, r receiver, name string, _ func()) {
	writer, p, release := s.reading(t, r, name)
	p.signalAll(syscall.SIGINT)
	r.end(interrupted).check(t, p)
	release()
	end{status: 1, says: "Connection reset by peer"}.check(t, writer)
}
