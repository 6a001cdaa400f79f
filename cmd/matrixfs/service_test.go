package main_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The service manager is told when the mount can be used, and when it ends.
func TestServiceManagerIsTold(t *testing.T) {
	t.Parallel()
	h := home(t)
	alice := h.login(t, h.person(t))
	address := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	told := func() string {
		t.Helper()
		if err := manager.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		message := make([]byte, 4096)
		n, err := manager.Read(message)
		if err != nil {
			t.Fatalf("the service manager is not told: %v", err)
		}
		return string(message[:n])
	}
	alice.env = []string{"NOTIFY_SOCKET=" + address}
	alice.tryMount()
	want := "READY=1\nSTATUS=" + alice.userID() + " is mounted on " + alice.mountpoint
	if got := told(); got != want {
		t.Errorf("first it is told %q, want %q", got, want)
	}
	if !alice.mounted() {
		t.Error("it is told too early")
	}
	if names := start(t, "ls", alice.mountpoint).succeeds(); names != "incoming\n" {
		t.Errorf("the mount shows %q", names)
	}
	alice.daemon.signalAll(syscall.SIGTERM)
	if got := told(); got != "STOPPING=1" {
		t.Errorf("then it is told %q", got)
	}
	alice.stopped()
}

// The unit is one that systemd has nothing to say about, wherever the program is.
func TestUnit(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "100% mine")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	odd := filepath.Join(dir, "matrixfs")
	start(t, "cp", home(t).plainBinary, odd).succeeds()
	for _, binary := range []string{home(t).plainBinary, odd} {
		file := filepath.Join(t.TempDir(), "matrixfs.service")
		unit := start(t, binary, "unit").succeeds()
		if err := os.WriteFile(file, []byte(unit), 0o600); err != nil {
			t.Fatal(err)
		}
		verify := exec.Command("systemd-analyze", "verify", "--user", file)
		verify.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+t.TempDir())
		p := startCommand(t, verify)
		if p.wait() != 0 || p.complaint() != "" {
			t.Errorf("systemd does not like the unit: %s\n%s", p.complaint(), unit)
		}
		for _, line := range []string{"Type=notify\n", "ExecStartPre=-mkdir -p %h/matrix\n", " mount %h/matrix\n", "RestartPreventExitStatus=2\n"} {
			if !strings.Contains(unit, line) {
				t.Errorf("%q is not in the unit", line)
			}
		}
	}
}
