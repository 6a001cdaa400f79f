package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/matrixfs/matrixfs/matrix/matrixtest"
)

// device is one login of a person, with a state directory and a mount point
// of its own.
type device struct {
	t          testing.TB
	who        person
	home       *house
	state      string
	mountpoint string
	env        []string  // for the daemon, beside that of the test
	bus        string    // the address of the session's bus; empty: there is none
	measured   bool      // runs without the race detector, which takes time and memory
	user       *ordinary // whose processes its are; nil: the tests' own user
	daemon     *program  // nil where it is not mounted
}

// transferStatus is what a script reads from "status --json".
type transferStatus struct {
	ID        string `json:"transfer_id"`
	Direction string `json:"direction"`
	Room      string `json:"room"`
	Name      string `json:"name"`
	Size      int64  `json:"size"`
	Bytes     int64  `json:"bytes"`
	State     string `json:"state"`
	Error     string `json:"error"`
}

type mountStatus struct {
	User       string           `json:"user_id"`
	Device     string           `json:"device_id"`
	PID        int              `json:"pid"`
	Mountpoint string           `json:"mountpoint"`
	Online     bool             `json:"online"`
	Transfers  []transferStatus `json:"transfers"`
}

// login makes a device of a person, as the command line does it.
func (h *house) login(t testing.TB, who person) *device {
	t.Helper()
	return h.loginAs(t, who, nil)
}

// loginAs is login by an ordinary user of this machine.
func (h *house) loginAs(t testing.TB, who person, user *ordinary) *device {
	t.Helper()
	d := &device{t: t, who: who, home: h, user: user, state: filepath.Join(user.place(t), "state"), mountpoint: user.place(t)}
	password := filepath.Join(user.place(t), "password")
	if err := os.WriteFile(password, []byte(who.Password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	user.own(t, password)
	registering.Lock()
	defer registering.Unlock()
	eventually(t, who.Name+" logs in", func() bool {
		login := startCommand(t, user.command(d.binary(), "login", "--state", d.state, "--homeserver", h.url(), "--user", who.Name,
			"--password-file", password))
		if login.wait() != 0 && matrixtest.Locked(login.err.String()) {
			return false
		}
		login.succeeds()
		return true
	})
	t.Cleanup(d.cleanUp)
	return d
}

// binary is the program this device runs: with the race detector when the
// tests have it, unless the test is about memory or time.
func (d *device) binary() string {
	if d.measured {
		return d.home.plainBinary
	}
	return d.home.binary
}

// mount mounts and waits until that has worked.
func (d *device) mount(flags ...string) *device {
	d.t.Helper()
	daemon := d.tryMount(flags...)
	eventually(d.t, "mounted "+d.mountpoint, func() bool {
		return !daemon.running() || strings.Contains(daemon.out.String(), "\n")
	})
	if got, want := daemon.out.String(), "mounted "+d.mountpoint+"\n"; got != want {
		d.t.Fatalf("mount prints %q, want %q; %s", got, want, daemon.err.String())
	}
	return d
}

// tryMount starts the daemon, and leaves it to the caller what comes of it.
func (d *device) tryMount(flags ...string) *program {
	d.t.Helper()
	args := append([]string{"mount", "--state", d.state}, flags...)
	command := d.user.command(d.binary(), append(args, d.mountpoint)...)
	bus := d.bus
	if bus == "" {
		bus = "disabled:" // and not that of whoever runs the tests
	}
	command.Env = append(append(command.Environ(), "MATRIXFS_CHECK_LEAKS=1", "DBUS_SESSION_BUS_ADDRESS="+bus), d.env...)
	d.daemon = startCommand(d.t, command)
	return d.daemon
}

// stop ends the daemon with SIGTERM and checks that nothing is left.
func (d *device) stop() {
	d.t.Helper()
	d.daemon.signalAll(syscall.SIGTERM)
	d.stopped()
}

// stopped waits for the end of the daemon and checks that nothing is left:
// no process, no mount, no goroutine (the daemon counts them), no socket.
func (d *device) stopped() {
	d.t.Helper()
	if code := d.daemon.wait(); code != 0 {
		d.t.Errorf("the daemon of %s ended with status %d: %s", d.who.Name, code, d.daemon.complaint())
	}
	if d.mounted() {
		d.t.Errorf("%s is still mounted", d.mountpoint)
	}
	if _, err := os.Lstat(filepath.Join(d.state, "control.sock")); !os.IsNotExist(err) {
		d.t.Errorf("the control socket is still there: %v", err)
	}
	d.daemon = nil
}

// crash kills the daemon with SIGKILL.
func (d *device) crash() {
	d.t.Helper()
	d.daemon.signalAll(syscall.SIGKILL)
	d.daemon.wait()
	d.daemon = nil
}

// cleanUp stops the daemon at the end of a test.
func (d *device) cleanUp() {
	if d.t.Failed() && d.daemon != nil {
		if d.daemon.running() {
			d.t.Logf("the transfers of %s: %+v", d.who.Name, d.status(d.t).Transfers)
		}
		d.t.Logf("the mount of %s says: %s", d.who.Name, d.daemon.err.String())
	}
	if d.daemon != nil && d.daemon.running() {
		d.stop()
	}
	if d.mounted() { // after a crash
		start(d.t, "fusermount3", "-u", "-z", d.mountpoint).succeeds()
	}
}

// mounted reports whether something is mounted at the mount point.
func (d *device) mounted() bool {
	d.t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		d.t.Fatal(err)
	}
	return strings.Contains(string(mounts), " "+d.mountpoint+" ")
}

// room is the directory of a room.
func (d *device) room(id string) string { return filepath.Join(d.mountpoint, id) }

// incoming is the path of an incoming file, which need not be there.
func (d *device) incoming(name string) string {
	return filepath.Join(d.mountpoint, "incoming", name)
}

// offers lists incoming/.
func (d *device) offers(t testing.TB) []string {
	t.Helper()
	entries, err := os.ReadDir(d.incoming(""))
	if err != nil {
		t.Fatal(err)
	}
	names := make([]string, 0, len(entries))
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// awaits waits until an offer is listed and gives its path.
func (d *device) awaits(t testing.TB, name string) string {
	t.Helper()
	path := d.incoming(name)
	eventually(t, fmt.Sprintf("%s sees %s in incoming", d.who.Name, name), func() bool { return exists(path) })
	return path
}

// awaitsNone waits until no offer is listed.
func (d *device) awaitsNone(t testing.TB) {
	t.Helper()
	eventually(t, fmt.Sprintf("incoming of %s is empty", d.who.Name), func() bool { return len(d.offers(t)) == 0 })
}

// status asks the daemon.
func (d *device) status(t testing.TB) mountStatus {
	t.Helper()
	var told mountStatus
	out := start(t, d.home.binary, "status", "--state", d.state, "--json").succeeds()
	if err := json.Unmarshal([]byte(out), &told); err != nil {
		t.Fatalf("status --json is no JSON: %v", err)
	}
	return told
}

// reaches waits until the transfer of a file is in a state, and for bytes of
// it to have arrived.
func (d *device) reaches(t testing.TB, name, state string, bytes int64) transferStatus {
	t.Helper()
	var last []transferStatus
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		last = d.status(t).Transfers
		for _, transfer := range last {
			if transfer.Name == name && transfer.State == state && transfer.Bytes >= bytes {
				return transfer
			}
		}
		time.Sleep(100 * time.Millisecond) // each look is a process
	}
	t.Fatalf("%s of %s does not become %s: %+v", name, d.who.Name, state, last)
	return transferStatus{}
}

// awaitsIdle waits until no transfer of the device is alive.
func (d *device) awaitsIdle(t testing.TB) {
	t.Helper()
	eventually(t, fmt.Sprintf("every transfer of %s has ended", d.who.Name), func() bool {
		for _, transfer := range d.status(t).Transfers {
			switch transfer.State {
			case "preparing", "offered", "connecting", "streaming":
				return false
			}
		}
		return true
	})
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// userID is the full id of the person.
func (d *device) userID() string { return string(d.who.ID()) }
