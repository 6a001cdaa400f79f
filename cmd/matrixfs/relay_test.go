package main_test

import (
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/matrixfs/matrixfs/matrix/matrixtest"
)

// startCoturn runs a TURN server on loopback, and gives its URI.
func startCoturn(t *testing.T, secret string) string {
	t.Helper()
	if _, err := exec.LookPath("turnserver"); err != nil {
		t.Fatalf("this test needs a TURN server: apt install coturn (%v)", err)
	}
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := conn.LocalAddr().(*net.UDPAddr).Port
	conn.Close()
	dir := t.TempDir()
	server := start(t, "turnserver", "-n", "--use-auth-secret", "--static-auth-secret="+secret, "--realm=test",
		"--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", "--allow-loopback-peers", "--no-tls", "--no-dtls", "--no-cli",
		fmt.Sprintf("--listening-port=%d", port), "--log-file=stdout", "--simple-log",
		"--userdb="+filepath.Join(dir, "turndb"), "--pidfile="+filepath.Join(dir, "pid"))
	t.Cleanup(func() {
		server.signalAll(unix.SIGKILL)
		server.wait()
	})
	eventually(t, "the TURN server listens", func() bool {
		conn, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return false
		}
		conn.Close()
		return true
	})
	return fmt.Sprintf("turn:127.0.0.1:%d?transport=udp", port)
}

// With --relay-only the bytes go through the TURN server that the homeserver
// names, with the credentials that it makes.
func TestRelayOnly(t *testing.T) {
	t.Parallel()
	const secret = "north"
	h := *home(t)
	h.server = matrixtest.Start(t, matrixtest.WithTURN(secret, time.Hour, startCoturn(t, secret))).Homeserver
	ann, ben := h.person(t), h.person(t)
	room := h.room(t, ann, ben)
	alice, bob := h.login(t, ann).mount("--relay-only"), h.login(t, ben).mount()
	h.inRoom(t, room, alice, bob)
	source := sample(t, "relayed.bin", 3_000_000)
	cp := start(t, "cp", source, alice.room(room))
	copied := filepath.Join(t.TempDir(), "copied")
	shell(t, `cat "$1" > "$2"`, bob.awaits(t, "relayed.bin"), copied).succeeds()
	cp.succeeds()
	sameBytes(t, copied, source)
	for _, file := range []string{bob.incoming("relayed.bin"), filepath.Join(alice.room(room), "relayed.bin")} {
		if path := attr(t, file, "path"); path != "relayed" {
			t.Errorf("the path of %s is %q", file, path)
		}
	}
}
