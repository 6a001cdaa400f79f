package main_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// A mount tells the desktop of a new offer, and runs the command for it.
func TestNewOfferIsTold(t *testing.T) {
	t.Parallel()
	h := home(t)
	ann, ben := h.person(t), h.person(t)
	room := h.room(t, ann, ben)
	alice, bob := h.login(t, ann).mount(), h.login(t, ben)
	dir := t.TempDir()
	asked := filepath.Join(dir, "asked")
	bob.bus = busThatRuns(t, "/usr/bin/touch "+asked)
	bob.mount("--on-offer", `cp "$MATRIXFS_FILE" '`+dir+`'`)
	h.inRoom(t, room, alice, bob)
	file := sample(t, "a file.bin", 1<<20)
	start(t, "cp", file, alice.room(room)).succeeds()
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the command has copied the file", func() bool {
		got, err := os.ReadFile(filepath.Join(dir, "a file.bin"))
		return err == nil && bytes.Equal(got, want)
	})
	eventually(t, "the mount asks for who shows notifications", func() bool { return exists(asked) })
	bob.stop()
}

// busThatRuns gives the address of a bus that runs a command when somebody
// asks for who shows notifications.
func busThatRuns(t *testing.T, command string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "bus") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for name, content := range map[string]string{
		"bus.conf": fmt.Sprintf(`<busconfig><type>session</type><listen>unix:path=%s/bus</listen><servicedir>%s</servicedir>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>`, dir, dir),
		"notifications.service": "[D-BUS Service]\nName=org.freedesktop.Notifications\nExec=" + command + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	startCommand(t, exec.Command("dbus-daemon", "--nofork", "--config-file="+filepath.Join(dir, "bus.conf")))
	eventually(t, "the bus is there", func() bool { return exists(filepath.Join(dir, "bus")) })
	return "unix:path=" + filepath.Join(dir, "bus")
}
