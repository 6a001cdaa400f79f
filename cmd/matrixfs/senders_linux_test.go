package main_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// sender is a program that writes a file to a room.
type sender struct {
	name string
	// script writes the file. $1 is the source, $2 the file in the room, $3
	// the address of the source; the base names of all three are the same.
	script string
	hole   bool // the source has holes
	// deaf: the program does not listen to what close says, so the file must be
	// larger than the window for it to notice.
	deaf bool
	// moves: the source goes away, if and only if the file is delivered.
	moves bool
	// orderly: interrupted between two writes, the program closes the file as
	// if that were all. Nobody can tell the difference.
	orderly bool
	ends    map[fate]end // where they differ from ends
}

var senders = []sender{
	{name: "cp", script: `exec cp "$1" "$2"`},
	{name: "cp-archive", script: `exec cp -a "$1" "$2"`},
	{name: "cp-holes", script: `exec cp "$1" "$2"`, hole: true},
	{name: "cp-no-holes", script: `exec cp --sparse=never "$1" "$2"`, hole: true},
	{name: "mv", script: `exec mv "$1" "$2"`, moves: true},
	{name: "install", script: `exec install -m 640 "$1" "$2"`},
	{name: "cat", script: `exec cat "$1" > "$2"`},
	{name: "pipe", script: `cat "$1" | cat > "$2"`},
	{name: "tee", script: `exec tee "$2" < "$1" > /dev/null`},
	{name: "dd", script: `exec dd if="$1" of="$2" bs=64K status=none`, ends: ddEnds},
	{name: "dd-stdout", script: `exec dd bs=64K status=none < "$1" > "$2"`, ends: ddEnds},
	{name: "rsync", script: `exec rsync "$1" "$2"`, ends: rsyncEnds},
	{name: "rsync-archive", script: `exec rsync -a "$1" "$2"`, ends: rsyncEnds},
	{name: "rsync-inplace", script: `exec rsync --inplace "$1" "$2"`, ends: rsyncEnds},
	{name: "tar", script: `cd "${1%/*}" && tar -cf "$1.tar" "${1##*/}" && exec tar -C "${2%/*}" -xf "$1.tar"`, ends: says(2)},
	{name: "python", script: `exec python3 -c 'import shutil, sys; shutil.copy(sys.argv[1], sys.argv[2])' "$1" "$2"`, orderly: true, ends: pythonWrites},
	{name: "gio", script: `exec gio copy "$1" "$2"`},
	{name: "curl", script: `exec curl -sS -o "$2" "$3"`, ends: curlEnds},
	{name: "curl-file", script: `exec curl -sS -o "$2" "file://$1"`, ends: curlEnds},
	{name: "wget", script: `exec wget -nv -O "$2" "$3"`, ends: wgetEnds},
	{name: "pv", script: `exec pv -q "$1" > "$2"`, deaf: true, ends: pvEnds},
}

// Programs with ways of their own.
var (
	// dd catches SIGINT.
	ddEnds = map[fate]end{interrupted: {failed: true, chatty: true}}
	// rsync is three processes. The one that sees the error may not get to say
	// so before another one sees that it is gone.
	rsyncEnds = but(but(says(11), cut, end{failed: true, says: "rsync"}), interrupted, end{failed: true, says: "rsync error"})
	// Python tells where it was. If closing a file is what fails, it loses its
	// way, and its words.
	pythonWrites = map[fate]end{interrupted: {failed: true, chatty: true}}
	pythonReads  = map[fate]end{interrupted: {signal: syscall.SIGINT, says: "KeyboardInterrupt"}}
	// curl does not say why.
	curlEnds = always(end{status: 23, says: "curl: (23) Fail"})
	// wget says nothing at all if it fails to close.
	wgetEnds = but(but(always(end{status: 3, chatty: true}), delivered, end{chatty: true}), interrupted, end{signal: syscall.SIGINT, chatty: true})
	// pv catches SIGINT.
	pvEnds = but(says(16), interrupted, end{status: 32})
)

func (w sender) end(f fate) end {
	if e, ok := w.ends[f]; ok {
		return e
	}
	return ends[f]
}

// Each program that writes to a room, at each fate: its exit status, what it
// says, and what is on the other side.
func TestProgramsSend(t *testing.T) {
	s := newStage(t)
	var acts []act
	add := func(f fate, play func(s *stage, t *testing.T, w sender, name string, seated func())) {
		for _, w := range senders {
			if f == stopped && w.orderly {
				continue
			}
			acts = append(acts, act{w.name + "." + string(f), func(t *testing.T, name string, seated func()) {
				play(s, t, w, name, seated)
			}})
		}
	}
	victim := s.mount(s.bob.who, "--cache-size", cacheSize)
	acts = append(acts, act{"cp.killed", func(t *testing.T, name string, seated func()) {
		s.sendKilled(t, senders[0], victim, name, seated)
	}})
	add(expired, (*stage).sendExpired)
	add(delivered, (*stage).sendDelivered)
	add(refused, (*stage).sendRefused)
	add(cut, (*stage).sendCut)
	add(interrupted, (*stage).sendInterrupted)
	add(stopped, (*stage).sendStopped)
	s.perform(acts)
}

// send starts a sender.
func (s *stage) send(t *testing.T, w sender, from *device, name string, size int64) (p *program, source string, content []byte) {
	t.Helper()
	if w.deaf {
		size = max(size, overfull)
	}
	source, content = s.source(t, name, size, w.hole)
	p = s.user.shell(t, w.script, source, filepath.Join(from.room(s.room), name), s.web+"/"+name)
	return p, source, content
}

// failed checks what a failure leaves: nothing in the room, nothing on the
// other side, and the source.
func (s *stage) failed(t *testing.T, from *device, name, source string) {
	t.Helper()
	if _, err := os.Stat(source); err != nil {
		t.Errorf("the source: %v", err)
	}
	s.look.awaitsNot(t, s.bob.incoming(name))
	s.look.awaitsNot(t, filepath.Join(from.room(s.room), name))
}

func (s *stage) sendDelivered(t *testing.T, w sender, name string, _ func()) {
	p, source, content := s.send(t, w, s.alice, name, little)
	offer := s.look.awaits(t, s.bob.incoming(name))
	copied := filepath.Join(s.user.place(t), "copied")
	s.user.shell(t, `cat "$1" > "$2"`, offer, copied).succeeds()
	w.end(delivered).check(t, p)
	same(t, copied, content)
	if _, err := os.Stat(source); os.IsNotExist(err) != w.moves {
		t.Errorf("the source: %v", err)
	}
}

func (s *stage) sendRefused(t *testing.T, w sender, name string, _ func()) {
	p, source, _ := s.send(t, w, s.alice, name, little)
	s.user.shell(t, `exec rm "$1"`, s.look.awaits(t, s.bob.incoming(name))).succeeds()
	w.end(refused).check(t, p)
	s.failed(t, s.alice, name, source)
}

func (s *stage) sendExpired(t *testing.T, w sender, name string, seated func()) {
	p, source, _ := s.send(t, w, s.hasty, name, little)
	eventually(t, name+" is offered", func() bool { return !p.running() || s.look.exists(t, s.bob.incoming(name)) })
	seated()
	w.end(expired).check(t, p)
	s.failed(t, s.hasty, name, source)
}

// beginning reads the beginning of a file, and later the rest.
const beginning = `exec 3< "$1" && head -c 1000 <&3 > /dev/null && echo ready && read && exec cat <&3 > /dev/null`

// readsOn lets a reader of the beginning go on: it must not take what it gets
// for the whole.
func readsOn(t *testing.T, reader *program, release func()) {
	t.Helper()
	release()
	end{status: 1, says: "cat: -: "}.check(t, reader)
}

// The other side reads some of it, and then removes it.
func (s *stage) sendCut(t *testing.T, w sender, name string, _ func()) {
	p, source, _ := s.send(t, w, s.alice, name, endless)
	offer := s.look.awaits(t, s.bob.incoming(name))
	reader, release := s.user.held(t, beginning, offer)
	s.user.shell(t, `exec rm "$1"`, offer).succeeds()
	w.end(cut).check(t, p)
	readsOn(t, reader, release)
	s.failed(t, s.alice, name, source)
	s.remove(t, source)
}

// Ctrl-C, while the program waits for the other side to read on.
func (s *stage) sendStopped(t *testing.T, w sender, name string, _ func()) {
	p, source, _ := s.send(t, w, s.alice, name, endless)
	offer := s.look.awaits(t, s.bob.incoming(name))
	reader, release := s.user.held(t, beginning, offer)
	p.signalAll(syscall.SIGINT)
	w.end(interrupted).check(t, p)
	readsOn(t, reader, release)
	s.user.shell(t, `exec rm -f "$1"`, offer).succeeds() // it is there to say why
	s.failed(t, s.alice, name, source)
	s.remove(t, source)
}

// remove removes a large source.
func (s *stage) remove(t *testing.T, source string) {
	t.Helper()
	for _, path := range []string{source, source + ".tar"} {
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			t.Error(err)
		}
	}
}

// The program of the other side is killed in the middle.
func (s *stage) sendKilled(t *testing.T, w sender, victim *device, name string, seated func()) {
	p, source, _ := s.send(t, w, s.alice, name, endless)
	reader, release := s.user.held(t, beginning, s.look.awaits(t, victim.incoming(name)))
	victim.crash()
	seated()
	w.end(cut).check(t, p)
	readsOn(t, reader, release)
	s.failed(t, s.alice, name, source)
	s.remove(t, source)
}

func (s *stage) sendInterrupted(t *testing.T, w sender, name string, _ func()) {
	p, source, _ := s.send(t, w, s.alice, name, little)
	s.look.awaits(t, s.bob.incoming(name))
	p.signalAll(syscall.SIGINT)
	w.end(interrupted).check(t, p)
	s.failed(t, s.alice, name, source)
}
