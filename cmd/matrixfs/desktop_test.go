package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
)

// patience bounds every wait for something that must happen.
const patience = 60 * time.Second

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for start := time.Now(); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Since(start) > patience {
			t.Fatalf("it did not happen: %s", what)
		}
	}
}

// bus is a message bus of the test's own.
type bus struct {
	dir     string
	address string
	daemon  *exec.Cmd
}

// newBus starts a bus. A service, if given, is a command that the bus runs when
// somebody asks for who shows notifications.
func newBus(t *testing.T, service string) *bus {
	t.Helper()
	dir, err := os.MkdirTemp("", "bus") // shorter than t.TempDir: a socket's path has 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	b := &bus{dir: dir}
	config := fmt.Sprintf(`<busconfig><type>session</type><listen>unix:path=%s/bus</listen><servicedir>%s</servicedir>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>`, dir, dir)
	b.write(t, "bus.conf", config)
	if service != "" {
		b.write(t, notifyName+".service", "[D-BUS Service]\nName="+notifyName+"\nExec="+service+"\n")
	}
	b.start(t)
	return b
}

func (b *bus) write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// start starts the daemon of the bus, and waits until it listens.
func (b *bus) start(t *testing.T) {
	t.Helper()
	_ = os.Remove(filepath.Join(b.dir, "bus"))
	b.daemon = exec.Command("dbus-daemon", "--nofork", "--print-address", "--config-file="+filepath.Join(b.dir, "bus.conf"))
	out, err := b.daemon.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.daemon.Start(); err != nil {
		t.Fatalf("these tests need dbus-daemon: %v", err)
	}
	t.Cleanup(b.stop)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if b.address == "" { // it stays the same
		b.address = strings.TrimSpace(line)
	}
}

func (b *bus) stop() {
	_ = b.daemon.Process.Kill()
	_ = b.daemon.Wait()
}

// popup is a notification as a server of them gets it.
type popup struct {
	id, replaces  uint32
	summary, body string
	actions       []string
	expire        int32
}

// popupServer shows notifications: it is what a desktop has, less the screen.
type popupServer struct {
	conn    *dbus.Conn
	address string
	able    []string

	mu     sync.Mutex // guards all below
	last   uint32
	popups map[uint32]popup // that are there
	all    []popup          // that ever were
	client string           // the unique name of who asked last
	asleep chan struct{}    // Notify waits for it to close, if it is there
}

var allAbilities = []string{"actions", "body", "body-markup"}

// newPopupServer takes the name on the bus. Its ids start after first.
func newPopupServer(t *testing.T, address string, first uint32, able ...string) *popupServer {
	t.Helper()
	conn, err := dbus.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	s := &popupServer{conn: conn, address: address, able: able, last: first, popups: map[uint32]popup{}}
	if err := conn.ExportMethodTable(map[string]any{
		"GetCapabilities": func() ([]string, *dbus.Error) { return s.able, nil },
		"Notify":          s.notify, "CloseNotification": s.close,
	}, notifyPath, notifyName); err != nil {
		t.Fatal(err)
	}
	if reply, err := conn.RequestName(notifyName, dbus.NameFlagDoNotQueue); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		t.Fatal(reply, err)
	}
	return s
}

func (s *popupServer) notify(from dbus.Sender, _ string, replaces uint32, _, summary, body string, actions []string, _ map[string]dbus.Variant, expire int32) (uint32, *dbus.Error) {
	s.mu.Lock()
	asleep := s.asleep
	s.client = string(from)
	s.mu.Unlock()
	if asleep != nil {
		<-asleep
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id := replaces
	if id == 0 {
		s.last++
		id = s.last
	}
	p := popup{id, replaces, summary, body, actions, expire}
	s.popups[id] = p
	s.all = append(s.all, p)
	return id, nil
}

func (s *popupServer) close(id uint32) *dbus.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.popups[id]; !ok {
		return dbus.MakeFailedError(fmt.Errorf("no notification %d", id))
	}
	delete(s.popups, id)
	return nil
}

// press presses a button, after which the notification goes.
func (s *popupServer) press(t *testing.T, id uint32, button string) {
	t.Helper()
	s.emit(t, "ActionInvoked", id, button)
	s.dismiss(t, id)
}

// dismiss is the person who has read a notification.
func (s *popupServer) dismiss(t *testing.T, id uint32) {
	t.Helper()
	s.mu.Lock()
	delete(s.popups, id)
	s.mu.Unlock()
	s.emit(t, "NotificationClosed", id, uint32(2))
}

func (s *popupServer) emit(t *testing.T, member string, values ...any) {
	t.Helper()
	if err := s.conn.Emit(notifyPath, notifyInterface+member, values...); err != nil {
		t.Error(err)
	}
}

// there gives the notifications that are there and contain text.
func (s *popupServer) there(text string) []popup {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []popup
	for _, p := range s.popups {
		if strings.Contains(p.summary+"\n"+p.body, text) {
			list = append(list, p)
		}
	}
	return list
}

// await waits for the one notification that contains text.
func (s *popupServer) await(t *testing.T, text string) popup {
	t.Helper()
	eventually(t, fmt.Sprintf("one notification with %q; there are %+v", text, s.there("")), func() bool { return len(s.there(text)) == 1 })
	return s.there(text)[0]
}

// forge sends a signal to one client, from somebody who shows no notifications.
// Everybody on a bus can do that.
func (s *popupServer) forge(t *testing.T, member string, values ...any) {
	t.Helper()
	conn, err := dbus.Connect(s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s.mu.Lock()
	client := s.client
	s.mu.Unlock()
	signal := &dbus.Message{Type: dbus.TypeSignal, Body: values, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldDestination: dbus.MakeVariant(client), dbus.FieldPath: dbus.MakeVariant(notifyPath),
		dbus.FieldInterface: dbus.MakeVariant(notifyName), dbus.FieldMember: dbus.MakeVariant(member),
		dbus.FieldSignature: dbus.MakeVariant(dbus.SignatureOf(values...)),
	}}
	conn.Send(signal, nil)
	// What is asked after it is answered after it.
	if err := conn.BusObject().Call(busInterface+"GetId", 0).Err; err != nil {
		t.Fatal(err)
	}
}
