package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/matrixfs/matrixfs/fs"
	"github.com/matrixfs/matrixfs/transfer"
	"github.com/matrixfs/matrixfs/transfer/transfertest"
)

// desk is bob at a desktop, to whom alice offers files.
type desk struct {
	t          *testing.T
	hub        *transfertest.Hub
	alice, bob *transfertest.Member
	bus        *bus
	downloads  string
	notifier   *notifier
}

func newDesk(t *testing.T, b *bus) *desk {
	t.Helper()
	d := &desk{t: t, hub: transfertest.NewHub(t), bus: b, downloads: filepath.Join(t.TempDir(), "Downloads")}
	d.alice = d.hub.Join(t, "@alice:test", "ALICE", nil)
	d.bob = d.hub.Join(t, "@bob:test", "BOB", nil)
	return d
}

// notify begins to show the offers; change may adjust how, before it begins.
func (d *desk) notify(change func(*notifier)) {
	places := offerPlaces{
		accept: (*transfer.Incoming).Accept,
		path:   func(in *transfer.Incoming) string { return "/mount/incoming/" + fs.SafeName(in.Status().Name) },
		rooms:  func() []fs.Room { return []fs.Room{{ID: d.hub.Room, Name: "Team <i>\u202e & Room"}} },
	}
	log := slog.New(slog.NewTextHandler(testLog{d.t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	d.notifier = newNotifier(d.bob.Exchange, places, func() string { return d.bus.address }, func() string { return d.downloads }, log)
	if change != nil {
		change(d.notifier)
	}
	d.notifier.done.Go(d.notifier.run)
	d.t.Cleanup(d.notifier.Close)
}

type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// offers offers a file, and gives what becomes of it.
func (d *desk) offers(name string, content []byte) (out *transfer.Outgoing, delivered <-chan error) {
	d.t.Helper()
	out, err := d.alice.Exchange.Offer(d.hub.Room, name)
	if err != nil {
		d.t.Fatal(err)
	}
	out.SetSize(int64(len(content)))
	if _, err := out.Write(d.t.Context(), content); err != nil {
		d.t.Fatal(err)
	}
	end := make(chan error, 1)
	go func() { end <- out.Finish(d.t.Context()) }()
	return out, end
}

// ends waits for the end of an offer.
func (d *desk) ends(delivered <-chan error) error {
	d.t.Helper()
	select {
	case err := <-delivered:
		return err
	case <-time.After(patience):
		d.t.Fatal("the offer does not end")
		return nil
	}
}

// invites plays an invite that a hostile client made up.
func (d *desk) invites(id transfer.ID, file transfer.FileInfo) {
	d.t.Helper()
	d.hub.Inject(transfer.Received{From: transfer.Peer{User: "@<b>eve</b>:test"}, Message: &transfer.Invite{
		ID: id, Lifetime: time.Minute, File: file, SDP: offerSDP,
	}})
}

// offerSDP is an offer of a data channel, which nobody is behind.
const offerSDP = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=fingerprint:sha-256 00:11\r\n" +
	"m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sctp-port:5000\r\n"

func TestPopup(t *testing.T) {
	t.Parallel()
	const from = "@<b>eve</b>:test\n"
	const room = "in Team <i>\ufffd & Room, unencrypted"
	for name, c := range map[string]struct {
		file transfer.FileInfo
		able []string
		want popup
	}{
		"plain": {transfer.FileInfo{Name: "example.doc", Size: 3 << 20, MIMEType: "application/msword"}, []string{"actions", "body"},
			popup{body: from + "example.doc\napplication/msword, 3.0 MiB\n" + room}},
		"no size, no type": {transfer.FileInfo{Name: "pipe", Size: -1}, []string{"actions", "body"},
			popup{body: from + "pipe\ntype not known, size not known\n" + room}},
		"hostile": {transfer.FileInfo{Name: "../<a href=\"x\">\x1b[2J\u202etxt.exe\n", Size: 0, MIMEType: "a\nb\u2066</b>"}, []string{"actions", "body"},
			popup{body: from + "_<a href=\"x\">[2Jtxt.exe\na\ufffdb\ufffd</b>, 0 B\n" + room}},
		"markup": {transfer.FileInfo{Name: "<b>&amp;</b>.txt", Size: 1, MIMEType: "<i>"}, []string{"actions", "body", "body-markup"},
			popup{body: "@&lt;b&gt;eve&lt;/b&gt;:test\n&lt;b&gt;&amp;amp;&lt;_b&gt;.txt\n&lt;i&gt;, 1 B\nin Team &lt;i&gt;\ufffd &amp; Room, unencrypted"}},
		"no buttons": {transfer.FileInfo{Name: "a.txt", Size: 1, MIMEType: "text/plain"}, []string{"body"},
			popup{body: from + "a.txt\ntext/plain, 1 B\n" + room + "\nRead it to accept: /mount/incoming/a.txt"}},
		"nothing": {transfer.FileInfo{Name: "a.txt", Size: 1, MIMEType: "text/plain"}, nil,
			popup{summary: ": @\uff1cb\uff1eeve\uff1c/b\uff1e:test, a.txt, text/plain, 1 B, in Team \uff1ci\uff1e\ufffd \uff06 Room, unencrypted, Read it to accept: /mount/incoming/a.txt",
				body: from + "a.txt\ntext/plain, 1 B\n" + room + "\nRead it to accept: /mount/incoming/a.txt"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, newBus(t, ""))
			server := newPopupServer(t, d.bus.address, 0, c.able...)
			d.notify(nil)
			d.invites("1", c.file)
			c.want.id, c.want.summary = 1, "A file is offered"+c.want.summary
			if slices.Contains(c.able, "actions") {
				c.want.actions = []string{"accept", "Accept", "save", "Save to Downloads", "reject", "Reject"}
			}
			got := server.await(t, "A file is offered")
			if len(got.actions) == 0 {
				got.actions = nil
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("the notification is\n%#v, want\n%#v", got, c.want)
			}
		})
	}
}

// Each button does what it says, and the notification goes.
func TestPopupButtons(t *testing.T) {
	t.Parallel()
	d := newDesk(t, newBus(t, ""))
	server := newPopupServer(t, d.bus.address, 0, allAbilities...)
	d.notify(nil)
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<14)

	_, delivered := d.offers("accept.bin", content)
	popup := server.await(t, "accept.bin")
	server.press(t, popup.id, "accept")
	if err := d.ends(delivered); err != nil {
		t.Errorf("the accepted file was not delivered: %v", err)
	}

	out, delivered := d.offers("reject.bin", content)
	server.press(t, server.await(t, "reject.bin").id, "reject")
	if err := d.ends(delivered); err == nil || out.Status().State != transfer.Rejected {
		t.Errorf("the declined file is %v: %v", out.Status().State, err)
	}

	if err := os.Mkdir(d.downloads, 0o700); err != nil {
		t.Fatal(err)
	}
	mine := filepath.Join(d.downloads, "save.bin")
	if err := os.WriteFile(mine, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, delivered = d.offers("save.bin", content)
	server.press(t, server.await(t, "save.bin").id, "save")
	if err := d.ends(delivered); err != nil {
		t.Errorf("the saved file was not delivered: %v", err)
	}
	saved := filepath.Join(d.downloads, "save (2).bin")
	server.await(t, "File saved\nsave.bin\nis "+saved)
	if got, err := os.ReadFile(saved); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes were saved, of %d: %v", len(got), len(content), err)
	}
	if got, err := os.ReadFile(mine); err != nil || string(got) != "mine" {
		t.Errorf("the file that was there is now %q, %v", got, err)
	}
	d.leftInDownloads("save (2).bin", "save.bin")

	// A button that is pressed twice, or that nobody has, does nothing.
	server.emit(t, "ActionInvoked", popup.id, "reject")
	_, delivered = d.offers("nonsense.bin", content)
	server.press(t, server.await(t, "nonsense.bin").id, "nonsense")
	for _, in := range d.bob.Exchange.Incoming() {
		if s := in.Status(); s.Name == "nonsense.bin" {
			in.Remove()
		}
	}
	if err := d.ends(delivered); err == nil {
		t.Error("the file was delivered")
	}
}

// leftInDownloads compares the names in the download directory.
func (d *desk) leftInDownloads(want ...string) {
	d.t.Helper()
	entries, err := os.ReadDir(d.downloads)
	if err != nil {
		d.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if !slices.Equal(names, want) {
		d.t.Errorf("the download directory has %q, want %q", names, want)
	}
}

// What a button could not do is said, and leaves nothing behind.
func TestPopupSaveFails(t *testing.T) {
	t.Parallel()
	d := newDesk(t, newBus(t, ""))
	server := newPopupServer(t, d.bus.address, 0, allAbilities...)
	d.notify(nil)
	out, err := d.alice.Exchange.Offer(d.hub.Room, "half.bin")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := out.Write(t.Context(), make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	server.press(t, server.await(t, "half.bin").id, "save")
	eventually(t, "the first half is on its way", func() bool { return out.Status().State == transfer.Streaming })
	d.leftInDownloads(".half.bin.part")
	out.Cancel()
	server.await(t, "File not saved\nhalf.bin\n")
	d.leftInDownloads()
}

// The notification goes when the offer does, and all go with the mount.
func TestPopupCloses(t *testing.T) {
	t.Parallel()
	d := newDesk(t, newBus(t, ""))
	server := newPopupServer(t, d.bus.address, 0, allAbilities...)
	d.notify(nil)
	gone := func(name string) {
		t.Helper()
		eventually(t, "the notification of "+name+" goes", func() bool { return len(server.there(name)) == 0 })
	}
	out, _ := d.offers("cancelled", []byte("x"))
	server.await(t, "cancelled")
	out.Cancel()
	gone("cancelled")

	_, delivered := d.offers("accepted", []byte("x"))
	server.await(t, "accepted")
	in := d.bob.Exchange.Incoming()[0]
	if err := in.Accept(); err != nil {
		t.Fatal(err)
	}
	gone("accepted")
	if err := d.ends(delivered); err != nil {
		t.Error(err)
	}

	d.invites("1", transfer.FileInfo{Name: "declined"})
	server.await(t, "declined")
	for _, in := range d.bob.Exchange.Incoming() {
		in.Remove()
	}
	gone("declined")

	d.offers("left", []byte("x"))
	server.await(t, "left")
	d.notifier.Close()
	gone("left")
}

// A notification server that comes after another one knows nothing of the ids
// of that: its buttons mean what it shows itself.
func TestNotificationServerRestarts(t *testing.T) {
	t.Parallel()
	d := newDesk(t, newBus(t, ""))
	first := newPopupServer(t, d.bus.address, 0, allAbilities...)
	d.notify(nil)
	one, oneEnd := d.offers("one", []byte("x"))
	old := first.await(t, "one")
	if err := first.conn.Close(); err != nil {
		t.Fatal(err)
	}
	second := newPopupServer(t, d.bus.address, 7, allAbilities...)
	again := second.await(t, "one")
	if again.id == old.id {
		t.Fatal("the test needs ids that differ")
	}
	// The old id, which is nothing to the new server, and a signal of
	// somebody who is no server at all.
	second.emit(t, "ActionInvoked", old.id, "reject")
	second.forge(t, "ActionInvoked", again.id, "reject")
	two, twoEnd := d.offers("two", []byte("x"))
	second.press(t, second.await(t, "two").id, "reject") // the signals before it have been heard
	if err := d.ends(twoEnd); err == nil || two.Status().State != transfer.Rejected {
		t.Errorf("the second offer is %v: %v", two.Status().State, err)
	}
	if s := one.Status().State; s != transfer.Offered {
		t.Errorf("the first offer is %v", s)
	}
	second.press(t, again.id, "accept")
	if err := d.ends(oneEnd); err != nil {
		t.Error(err)
	}
}

// However many offers come, few notifications do.
func TestPopupFlood(t *testing.T) {
	t.Parallel()
	d := newDesk(t, newBus(t, ""))
	server := newPopupServer(t, d.bus.address, 0, allAbilities...)
	d.notify(func(n *notifier) { n.window = time.Hour })
	flood := func(from, to int) {
		for i := from; i < to; i++ {
			d.invites(transfer.ID(fmt.Sprint(i)), transfer.FileInfo{Name: fmt.Sprint("file", i), Size: 1})
		}
	}
	flood(0, 17)
	rest := server.await(t, "12 more offers")
	if n := len(server.there("")); n != maxPopups+1 {
		t.Errorf("there are %d notifications", n)
	}
	// Reading them makes no room for others at once.
	for _, p := range server.there("A file is offered") {
		server.dismiss(t, p.id)
	}
	flood(17, 100)
	if again := server.await(t, "95 more offers"); again.id != rest.id || len(server.there("")) != 1 {
		t.Errorf("there are %+v", server.there(""))
	}
	// Once read, the rest is not counted again.
	server.dismiss(t, rest.id)
	flood(100, 101)
	last := server.await(t, "1 more offer")
	for _, in := range d.bob.Exchange.Incoming() {
		in.Remove()
	}
	eventually(t, "the last notification goes", func() bool { return len(server.there("")) == 0 })
	if last.expire != 0 {
		t.Errorf("the notification goes by itself after %d", last.expire)
	}
}

// Who shows notifications is started by the bus if need be.
func TestPopupStartsServer(t *testing.T) {
	t.Parallel()
	asked := filepath.Join(t.TempDir(), "asked")
	d := newDesk(t, newBus(t, "/usr/bin/touch "+asked))
	d.notify(nil)
	d.invites("1", transfer.FileInfo{Name: "a", Size: 1})
	eventually(t, "the bus starts the server", func() bool { _, err := os.Stat(asked); return err == nil })
	newPopupServer(t, d.bus.address, 0, allAbilities...).await(t, "A file is offered")
}

// A bus that goes away and comes back is found again.
func TestBusRestarts(t *testing.T) {
	t.Parallel()
	d := newDesk(t, newBus(t, ""))
	server := newPopupServer(t, d.bus.address, 0, allAbilities...)
	d.notify(func(n *notifier) { n.pauseFor = 50 * time.Millisecond })
	out, end := d.offers("a", []byte("x"))
	server.await(t, "A file is offered")
	d.bus.stop()
	d.bus.start(t)
	server = newPopupServer(t, d.bus.address, 0, allAbilities...)
	server.press(t, server.await(t, "A file is offered").id, "reject")
	if err := d.ends(end); err == nil || out.Status().State != transfer.Rejected {
		t.Errorf("the offer is %v: %v", out.Status().State, err)
	}
}

// A desktop that hangs holds up nobody: neither the offers, nor the end.
func TestDesktopHangs(t *testing.T) {
	t.Parallel()
	hang := map[string]func(*testing.T, *desk){
		"bus": func(t *testing.T, d *desk) { // accepts connections and says nothing
			path := filepath.Join(d.bus.dir, "mute")
			listener, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { listener.Close() })
			d.bus.address = "unix:path=" + path
		},
		"bus daemon": func(t *testing.T, d *desk) {
			if err := d.bus.daemon.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
		},
		"server": func(t *testing.T, d *desk) {
			server := newPopupServer(t, d.bus.address, 0, allAbilities...)
			server.asleep = make(chan struct{})
			t.Cleanup(func() { close(server.asleep) })
		},
	}
	for name, hang := range hang {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, newBus(t, ""))
			hang(t, d)
			asked := make(chan struct{}, 8)
			address := d.bus.address
			d.notify(func(n *notifier) {
				n.address = func() string { asked <- struct{}{}; return address }
			})
			_, end := d.offers("a", []byte("x"))
			<-asked
			in := d.bob.Exchange.Incoming()[0]
			if err := in.Accept(); err != nil {
				t.Fatal(err)
			}
			if err := d.ends(end); err != nil {
				t.Error(err)
			}
			start := time.Now()
			d.notifier.Close()
			if took := time.Since(start); took > busTimeout*9/10 { // a call that is waited for takes all of it
				t.Errorf("the end took %v", took)
			}
		})
	}
}

func TestSessionBus(t *testing.T) {
	t.Parallel()
	b := newBus(t, "") // its socket is called bus, as in a runtime directory
	for _, c := range []struct{ address, runtime, want string }{
		{"unix:path=/x", b.dir, "unix:path=/x"},
		{"", b.dir, "unix:path=" + b.dir + "/bus"},
		{"", t.TempDir(), ""},
		{"", "relative", ""},
		{"", "", ""},
		{"disabled:", b.dir, ""},
		{"autolaunch:", b.dir, ""},
		{"unixexec:path=/bin/false", "", ""},
	} {
		env := map[string]string{"DBUS_SESSION_BUS_ADDRESS": c.address, "XDG_RUNTIME_DIR": c.runtime}
		if got := sessionBus(func(name string) string { return env[name] }); got != c.want {
			t.Errorf("%+v: got %q", c, got)
		}
	}
}
