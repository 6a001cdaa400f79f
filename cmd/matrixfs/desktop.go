package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
)

// The names of the Desktop Notifications Specification, version 1.2.
const (
	notifyName      = "org.freedesktop.Notifications"
	notifyPath      = dbus.ObjectPath("/org/freedesktop/Notifications")
	notifyInterface = notifyName + "."
	busInterface    = "org.freedesktop.DBus."
)

const (
	// busTimeout bounds a call. The bus and the notification server run on
	// this machine; what takes longer hangs.
	busTimeout = 10 * time.Second
	// showGrace is how long a notification that is being shown is waited for at
	// the end.
	showGrace = time.Second
	// startTimeout bounds the start of a notification server: the bus itself
	// gives up after 25 seconds.
	startTimeout = 30 * time.Second
)

// errNoDesktop: there is no bus of a session, or nobody shows notifications.
var errNoDesktop = errors.New("no desktop to show notifications")

// desktop is a connection to the bus of the session, and to who shows
// notifications on it. It is for one goroutine. Every call ends in time.
type desktop struct {
	conn    *dbus.Conn
	signals chan *dbus.Signal // closed when the connection is lost

	// server is the unique name of who shows notifications, which another one
	// never has: ids are valid there only. It is empty while none is known.
	server                string
	actions, markup, body bool // what the server can do
}

// sessionBus gives the address of the bus of the session, or nothing.
func sessionBus(getenv func(string) string) string {
	if address := getenv("DBUS_SESSION_BUS_ADDRESS"); address != "" {
		if !strings.HasPrefix(address, "unix:") {
			return "" // nothing that starts a program, or leaves this machine
		}
		return address
	}
	if dir := getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		path := filepath.Join(dir, "bus")
		if info, err := os.Stat(path); err == nil && info.Mode().Type() == os.ModeSocket {
			return "unix:path=" + dbus.EscapeBusAddressValue(path)
		}
	}
	return ""
}

// dialDesktop connects to the bus at an address.
func dialDesktop(ctx context.Context, address string) (*desktop, error) {
	if address == "" {
		return nil, errNoDesktop
	}
	ctx, cancel := context.WithTimeout(ctx, busTimeout)
	defer cancel()
	conn, err := dbus.Dial(address, dbus.WithSignalHandler(dbus.NewSequentialSignalHandler()))
	if err != nil {
		return nil, err
	}
	d := &desktop{conn: conn, signals: make(chan *dbus.Signal, 16)}
	// These have no context: closing the connection ends them.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	if err = conn.Auth(nil); err == nil {
		err = conn.Hello()
	}
	if err == nil {
		err = d.listen(ctx)
	}
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return d, nil
}

// listen asks for the signals that understand knows.
func (d *desktop) listen(ctx context.Context) error {
	d.conn.Signal(d.signals)
	return errors.Join(
		d.conn.AddMatchSignalContext(ctx, dbus.WithMatchSender("org.freedesktop.DBus"), dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, notifyName)),
		d.conn.AddMatchSignalContext(ctx, dbus.WithMatchSender(notifyName), dbus.WithMatchInterface(notifyName)),
	)
}

func (d *desktop) close() { d.conn.Close() }

// findServer finds out who shows notifications, and starts them if need be.
// That takes as long as they take to start.
func (d *desktop) findServer(ctx context.Context) error {
	if d.server != "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	bus := d.conn.BusObject()
	owner := func() (name string, err error) {
		err = bus.CallWithContext(ctx, busInterface+"GetNameOwner", 0, notifyName).Store(&name)
		return name, err
	}
	name, err := owner()
	if isAbsent(err) {
		if err := bus.CallWithContext(ctx, busInterface+"StartServiceByName", 0, notifyName, uint32(0)).Err; err != nil {
			return fmt.Errorf("%w: %w", errNoDesktop, err)
		}
		name, err = owner()
	}
	if err != nil {
		return err
	}
	var able []string
	if err := d.conn.Object(name, notifyPath).CallWithContext(ctx, notifyInterface+"GetCapabilities", 0).Store(&able); err != nil {
		return err
	}
	d.server = name
	d.actions = slices.Contains(able, "actions")
	d.markup = slices.Contains(able, "body-markup")
	d.body = slices.Contains(able, "body")
	return nil
}

// isAbsent reports whether an error is that nobody has the name, or that whoever
// had it left.
func isAbsent(err error) bool {
	var e dbus.Error
	if !errors.As(err, &e) {
		return false
	}
	switch strings.TrimPrefix(e.Name, "org.freedesktop.DBus.Error.") {
	case "NameHasNoOwner", "ServiceUnknown", "NoReply", "Disconnected":
		return true
	}
	return false
}

// note is a notification.
type note struct {
	replaces uint32 // the id of the one it takes the place of, or 0
	summary  string
	body     string   // plain text
	buttons  []string // pairs of a key and a label, which the server must be able to show
	stays    bool     // until it is closed
}

// show shows a notification and gives its id. findServer comes first.
func (d *desktop) show(ctx context.Context, n note) (id uint32, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	// Given up at once, it would stay: nobody would know its id.
	end := ctx
	ctx, cancel := context.WithTimeout(context.WithoutCancel(end), busTimeout)
	defer cancel()
	defer context.AfterFunc(end, func() { time.AfterFunc(showGrace, cancel) })()
	expire := int32(-1) // as the server likes
	if n.stays {
		expire = 0
	}
	body := n.body
	switch {
	case d.markup:
		body = markupEscaper.Replace(body)
	case !d.body:
		n.summary += ": " + markupRemover.Replace(body)
	}
	hints := map[string]dbus.Variant{
		"urgency":  dbus.MakeVariant(byte(1)), // normal
		"category": dbus.MakeVariant("transfer"),
	}
	if n.buttons == nil {
		n.buttons = []string{}
	}
	err = d.object().CallWithContext(ctx, notifyInterface+"Notify", 0,
		"matrixfs", n.replaces, "document-save", n.summary, body, n.buttons, hints, expire).Store(&id)
	return id, err
}

var (
	markupEscaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
	// markupRemover makes one line that is the same with markup and without.
	markupRemover = strings.NewReplacer("&", "\uff06", "<", "\uff1c", ">", "\uff1e", "\n", ", ")
)

// closePopup takes a notification away. It does not wait: the person may have
// done so already.
func (d *desktop) closePopup(id uint32) {
	if d.server != "" && id != 0 {
		d.object().Call(notifyInterface+"CloseNotification", dbus.FlagNoReplyExpected, id)
	}
}

// object is who shows notifications. Addressed by the unique name, a call
// fails when they are gone, and never reaches who comes after them.
func (d *desktop) object() dbus.BusObject { return d.conn.Object(d.server, notifyPath) }

// desktopEvent is what a signal says.
type desktopEvent struct {
	left   bool   // who showed notifications is gone: their ids are void
	came   bool   // somebody shows notifications now
	id     uint32 // of a notification
	button string // that was pressed; empty: the notification is gone
}

// understand reads a signal. It reports false for one that says nothing, or
// that does not come from who must send it: everybody on the bus can.
func (d *desktop) understand(s *dbus.Signal) (e desktopEvent, ok bool) {
	switch {
	case s.Name == busInterface+"NameOwnerChanged" && s.Sender == "org.freedesktop.DBus":
		var name, before, after string
		if dbus.Store(s.Body, &name, &before, &after) != nil || name != notifyName {
			return e, false
		}
		e.left = before != "" && before == d.server
		if e.left {
			d.server = ""
		}
		e.came = after != "" && d.server == ""
		return e, e.left || e.came
	case d.server == "" || s.Sender != d.server:
		return e, false
	case s.Name == notifyInterface+"ActionInvoked":
		err := dbus.Store(s.Body, &e.id, &e.button)
		return e, err == nil && e.button != ""
	case s.Name == notifyInterface+"NotificationClosed":
		var reason uint32
		err := dbus.Store(s.Body, &e.id, &reason)
		return e, err == nil
	}
	return e, false
}
