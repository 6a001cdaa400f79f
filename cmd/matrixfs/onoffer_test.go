package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/gofrs/flock"

	"github.com/matrixfs/matrixfs/fs"
	"github.com/matrixfs/matrixfs/fs/fstest"
	"github.com/matrixfs/matrixfs/transfer"
)

// lines collects what is printed.
type lines struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// mounted mounts bob's offers, and gives where an offer is and what it is
// called.
func (d *desk) mounted() offerPlaces {
	d.t.Helper()
	rooms := &fstest.Rooms{}
	rooms.Set(fs.Room{ID: d.hub.Room, Name: "Team Room"})
	mount, err := fs.Mount(fs.Options{Mountpoint: d.t.TempDir(), Rooms: rooms, Exchange: d.bob.Exchange, Self: d.bob.Self})
	if err != nil {
		d.t.Fatalf("these tests need FUSE (/dev/fuse, and fusermount3 of the package fuse3): %v", err)
	}
	d.t.Cleanup(func() {
		if err := mount.Close(); err != nil {
			d.t.Errorf("unmount: %v", err)
		}
	})
	if err := fstest.NoPoll(mount.Mountpoint()); err != nil {
		d.t.Fatal(err)
	}
	return offerPlaces{accept: mount.Accept, path: mount.PathOf, rooms: rooms.Rooms}
}

// onOffer runs a command for bob's offers. It gives what the command prints and
// what the log says.
func (d *desk) onOffer(command string, places offerPlaces) (c *offerCommand, out, log *lines) {
	out, log = &lines{}, &lines{}
	c = startOfferCommand(command, d.bob.Exchange, places, out, slog.New(slog.NewTextHandler(log, nil)))
	d.t.Cleanup(c.Close)
	return c, out, log
}

// A command that copies the file accepts it. It knows all about the offer.
func TestOnOffer(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	places := d.mounted()
	to := t.TempDir()
	_, out, _ := d.onOffer(`cp "$MATRIXFS_FILE" '`+to+`' && env | grep ^MATRIXFS_ | grep -v ^MATRIXFS_TEST_ | sort && echo "end of $MATRIXFS_NAME" >&2`, places)
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<14)
	offer, delivered := d.offers("my file.txt", content)
	if err := d.ends(delivered); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the command ends", func() bool { return strings.Contains(out.String(), "end of my file.txt\n") })
	if got, err := os.ReadFile(filepath.Join(to, "my file.txt")); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes were copied, of %d: %v", len(got), len(content), err)
	}
	path := places.path(d.bob.Exchange.Incoming()[0])
	want := fmt.Sprintf("MATRIXFS_FILE=%s\nMATRIXFS_MIMETYPE=text/plain\nMATRIXFS_NAME=my file.txt\nMATRIXFS_ROOM=!room:test\n"+
		"MATRIXFS_SENDER=@alice:test\nMATRIXFS_SIZE=%d\nMATRIXFS_TRANSFER_ID=%s\nMATRIXFS_TRUST=unencrypted\n", path, len(content), offer.ID())
	if got, _, _ := strings.Cut(out.String(), "end of"); got != want {
		t.Errorf("the command prints\n%s, want\n%s", got, want)
	}
}

// What comes from the network is data to the command.
func TestOnOfferHostile(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	dir := t.TempDir()
	_, out, _ := d.onOffer(`cd '`+dir+`' && echo "$MATRIXFS_NAME|$MATRIXFS_SIZE|$MATRIXFS_MIMETYPE|$MATRIXFS_TRANSFER_ID|$(basename "$MATRIXFS_FILE")"`, d.mounted())
	evil := "$(touch pwned)`touch pwned`;touch pwned\n\"; touch pwned #'\x00\u202e"
	d.invites("$(touch pwned)\n", transfer.FileInfo{Name: "-rf ../" + evil, Size: -1, MIMEType: evil})
	eventually(t, "the command ends", func() bool { return strings.HasSuffix(out.String(), "\n") })
	name := "rf .._$(touch pwned)`touch pwned`;touch pwned \"; touch pwned #'_"
	want := name + "||$(touch pwned)`touch pwned`;touch pwned\ufffd\"; touch pwned #'\ufffd\ufffd|$(touch pwned)\ufffd|" + name + "\n"
	if out.String() != want {
		t.Errorf("the command prints\n%q, want\n%q", out, want)
	}
	if _, err := os.Stat(filepath.Join(dir, "pwned")); err == nil {
		t.Error("a name was executed")
	}
}

// A command that fails is logged, and the next one runs.
func TestOnOfferFails(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	_, out, log := d.onOffer(`echo "got $MATRIXFS_NAME"; exit 7`, d.mounted())
	d.invites("1", transfer.FileInfo{Name: "one"})
	eventually(t, "the failure is logged", func() bool {
		return strings.Contains(log.String(), "exit status 7") && strings.Contains(log.String(), "incoming/one")
	})
	d.invites("2", transfer.FileInfo{Name: "two"})
	eventually(t, "the next command runs", func() bool { return out.String() == "got one\ngot two\n" })
}

// Few commands run at once; each offer gets one, and what is over gets none.
func TestOnOfferCrowd(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	dir := t.TempDir()
	c, out, _ := d.onOffer(`echo "+$MATRIXFS_NAME"; until [ -e '`+dir+`/go' ]; do sleep 0.05; done; echo "-$MATRIXFS_NAME"`, d.mounted())
	for i := range 8 {
		d.invites(transfer.ID(fmt.Sprint(i)), transfer.FileInfo{Name: fmt.Sprint("file", i)})
	}
	eventually(t, "four commands run", func() bool { return strings.Count(out.String(), "+") == commandsAtOnce })
	eventually(t, "all offers are there", func() bool { return len(d.bob.Exchange.Incoming()) == 8 })
	for _, in := range d.bob.Exchange.Incoming() {
		if in.Status().Name == "file7" {
			in.Remove()
		}
	}
	if n := strings.Count(out.String(), "+"); n != commandsAtOnce {
		t.Errorf("%d commands run at once", n)
	}
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "seven commands end", func() bool { return strings.Count(out.String(), "-") == 7 })
	c.Close()
	for i := range 7 {
		if n := strings.Count(out.String(), fmt.Sprintf("+file%d\n", i)); n != 1 {
			t.Errorf("%d commands ran for file%d", n, i)
		}
	}
	if n := c.groups.left(); n != 0 {
		t.Errorf("%d process groups are left", n)
	}
	if strings.Contains(out.String(), "file7") {
		t.Error("a command ran for an offer that is over")
	}
}

// held is a file that the commands of a test lock for as long as anything is
// left of them.
func held(t *testing.T) (path string, isFree func() bool) {
	path = filepath.Join(t.TempDir(), "held")
	return path, func() bool {
		lock := flock.New(path)
		defer lock.Close()
		free, err := lock.TryLock()
		if err != nil {
			t.Error(err)
		}
		return free
	}
}

// The end of the mount ends the commands, with their children, whatever they
// do about it.
func TestOnOfferEnds(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	held, isFree := held(t)
	c, out, log := d.onOffer(`exec 9> '`+held+`'; flock 9; trap '' TERM; (trap '' TERM; echo child; while :; do sleep 1; done) & cat "$MATRIXFS_FILE"; wait`, d.mounted())
	offer, err := d.alice.Exchange.Offer(d.hub.Room, "half")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := offer.Write(t.Context(), []byte("the first half\n")); err != nil {
		t.Fatal(err)
	}
	offer.Invite()
	eventually(t, "the command and its child run", func() bool { return strings.Contains(out.String(), "child\n") })
	eventually(t, "the file is being read", func() bool { return offer.Status().State == transfer.Streaming })
	ended := make(chan struct{})
	go func() { c.Close(); close(ended) }()
	eventually(t, "the end", func() bool {
		select {
		case <-ended:
			return true
		default:
			return false
		}
	})
	if !isFree() {
		t.Error("something of the command is left")
	}
	if log.String() != "" { // that it ended with the mount is no failure
		t.Errorf("the log says %s", log)
	}
}

// What a command leaves in the background ends with the mount too, whether that
// ends in order or at once.
func TestOnOfferLeavesChild(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*offerCommand){"close": (*offerCommand).Close, "abandon": (*offerCommand).abandon} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, nil)
			held, isFree := held(t)
			c, out, _ := d.onOffer(`exec 9> '`+held+`'; flock 9; (trap '' TERM; while :; do sleep 1; done) > /dev/null 2>&1 & echo $$`, d.mounted())
			d.invites("1", transfer.FileInfo{Name: "one"})
			eventually(t, "the command ends", func() bool {
				pid, err := strconv.Atoi(strings.TrimSpace(out.String()))
				return err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
			})
			d.invites("2", transfer.FileInfo{Name: "two"}) // its command waits for the lock
			eventually(t, "the next command runs", func() bool { return c.groups.left() == 2 })
			if isFree() {
				t.Error("the child has ended before the mount")
			}
			end(c)
			eventually(t, "the child ends", isFree)
		})
	}
}

// What the service manager listens on is not for commands.
func TestOnOfferEnvironment(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "/run/notify")
	t.Setenv("NOTIFY_SOCKETS", "other")
	d := newDesk(t, nil)
	_, out, _ := d.onOffer(`echo "<$NOTIFY_SOCKET> <$NOTIFY_SOCKETS>"`, d.mounted())
	d.invites("1", transfer.FileInfo{Name: "one"})
	eventually(t, "the command ends", func() bool { return out.String() != "" })
	if got, want := out.String(), "<> <other>\n"; got != want {
		t.Errorf("the command prints %q, want %q", got, want)
	}
}
