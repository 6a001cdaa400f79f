package fs_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/matrixfs/matrixfs/fs"
	"github.com/matrixfs/matrixfs/fs/fstest"
	"github.com/matrixfs/matrixfs/transfer"
	"github.com/matrixfs/matrixfs/transfer/transfertest"
)

// points are the directories that the tests have mounted on; pointsMu guards it.
var (
	pointsMu sync.Mutex
	points   []string
)

// remember has TestMain look whether something is still mounted there at the
// end.
func remember(point string) {
	pointsMu.Lock()
	defer pointsMu.Unlock()
	points = append(points, point)
}

func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, "goroutines are left:", err)
			code = 1
		}
		info, err := os.ReadFile("/proc/self/mountinfo")
		for _, point := range points {
			if err != nil || bytes.Contains(info, []byte(" "+point+" ")) {
				fmt.Fprintln(os.Stderr, "a mount is left:", point, err)
				code = 1
			}
		}
	}
	os.Exit(code)
}

// patience bounds every wait for something that should happen at once.
const patience = 60 * time.Second

// side is one person: a mount over an exchange.
type side struct {
	t        testing.TB
	member   *transfertest.Member
	rooms    *fstest.Rooms
	mount    *fs.Mounted
	point    string
	room     string // the directory of the shared room
	incoming string
}

// world is two people with a room in common.
type world struct {
	hub        *transfertest.Hub
	alice, bob *side
}

func newWorld(t testing.TB) *world { return newWorldWith(t, nil) }

func newWorldWith(t testing.TB, change func(*transfer.Config), mount ...func(*fs.Options)) *world {
	t.Helper()
	hub := transfertest.NewHub(t)
	return &world{
		hub:   hub,
		alice: newSide(t, hub, "@alice:test", "ALICE", change, mount...),
		bob:   newSide(t, hub, "@bob:test", "BOB", change, mount...),
	}
}

// on gives the same world to a test within the test that made it.
func (w *world) on(t testing.TB) *world {
	alice, bob := *w.alice, *w.bob
	alice.t, bob.t = t, t
	return &world{w.hub, &alice, &bob}
}

func newSide(t testing.TB, hub *transfertest.Hub, user transfer.UserID, device transfer.DeviceID, change func(*transfer.Config), mount ...func(*fs.Options)) *side {
	t.Helper()
	s := &side{t: t, rooms: &fstest.Rooms{}, point: t.TempDir()}
	remember(s.point)
	s.member = hub.Join(t, user, device, change)
	s.rooms.Set(fs.Room{ID: hub.Room, Name: "Team Room"})
	options := fs.Options{
		Mountpoint: s.point, Rooms: s.rooms, Exchange: s.member.Exchange, Self: s.member.Self,
		Logger: slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelInfo})),
	}
	for _, f := range mount {
		f(&options)
	}
	var err error
	s.mount, err = fs.Mount(options)
	if err != nil {
		t.Fatalf("these tests need FUSE (/dev/fuse, and fusermount3 of the package fuse3): %v", err)
	}
	if err := fstest.NoPoll(s.point); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.mount.Close(); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	s.room = filepath.Join(s.point, string(hub.Room))
	s.incoming = filepath.Join(s.point, "incoming")
	return s
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// program is a child process.
type program struct {
	t    testing.TB
	cmd  *exec.Cmd
	out  buffer
	err  buffer
	done chan struct{}
	fail error
}

// buffer is a bytes.Buffer that can be looked at while it fills.
type buffer struct {
	mu  sync.Mutex // guards all below
	all []byte
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all = append(b.all, p...)
	return len(p), nil
}

// Bytes gives what has been written.
func (b *buffer) Bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all
}

func (b *buffer) String() string { return string(b.Bytes()) }

// start runs a program; it is killed at the end of the test if need be.
func start(t testing.TB, name string, args ...string) *program {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return startCommand(t, cmd)
}

// startCommand starts a program that has a process group of its own.
func startCommand(t testing.TB, cmd *exec.Cmd) *program {
	t.Helper()
	p := &program{t: t, cmd: cmd, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.err
	if p.cmd.Env == nil {
		p.cmd.Env = os.Environ()
	}
	p.cmd.Env = append(p.cmd.Env, "LC_ALL=C")
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("%v can't be started: %v", cmd.Args, err)
	}
	go func() { p.fail = p.cmd.Wait(); close(p.done) }()
	t.Cleanup(func() {
		p.signal(syscall.SIGKILL)
		select {
		case <-p.done:
		case <-time.After(patience):
			t.Errorf("%v can't be killed", p.cmd.Args)
		}
	})
	return p
}

// sh starts a shell command with parameters $1, $2 and so on.
func sh(t testing.TB, script string, args ...string) *program {
	t.Helper()
	return start(t, "bash", append([]string{"-c", script, "bash"}, args...)...)
}

// signal sends a signal to the program and its children.
func (p *program) signal(s syscall.Signal) { _ = syscall.Kill(-p.cmd.Process.Pid, s) }

// wait waits for the end, and gives the error.
func (p *program) wait() error {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatalf("%v does not end; stderr: %s", p.cmd.Args, p.err.String())
	}
	return p.fail
}

// succeeds waits for the end, which must be a good one, and gives the output.
func (p *program) succeeds() []byte {
	p.t.Helper()
	if err := p.wait(); err != nil {
		p.t.Fatalf("%v: %v: %s", p.cmd.Args, err, p.err.String())
	}
	return p.out.Bytes()
}

// failsWith waits for the end, which must be a bad one that says words.
func (p *program) failsWith(words string) {
	p.t.Helper()
	err := p.wait()
	if err == nil {
		p.t.Fatalf("%v succeeded; it should fail with %q", p.cmd.Args, words)
	}
	if !strings.Contains(p.err.String(), words) {
		p.t.Fatalf("%v: %v: %q does not say %q", p.cmd.Args, err, p.err.String(), words)
	}
}

// outputs waits until it has written n bytes.
func (p *program) outputs(n int) {
	p.t.Helper()
	eventually(p.t, fmt.Sprintf("%v writes %d bytes", p.cmd.Args, n), func() bool { return len(p.out.Bytes()) >= n || !p.running() })
	if len(p.out.Bytes()) < n {
		p.t.Fatalf("%v ended after %d bytes: %s", p.cmd.Args, len(p.out.Bytes()), p.err.String())
	}
}

// says waits until it has written these words, and nothing else.
func (p *program) says(words string) {
	p.t.Helper()
	p.outputs(len(words))
	if said := p.out.String(); said != words {
		p.t.Fatalf("%v says %q, not %q", p.cmd.Args, said, words)
	}
}

// running reports whether it has not ended yet.
func (p *program) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// eventually waits until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for start := time.Now(); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Since(start) > patience {
			t.Fatalf("it did not happen: %s", what)
		}
	}
}

// file makes a file of n random bytes.
func file(t testing.TB, name string, n int) (path string, content []byte) {
	t.Helper()
	content = make([]byte, n)
	random := rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)})
	_, _ = random.Read(content)
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, content
}

// fifo makes a named pipe.
func fifo(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// exists reports whether the path is there.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, os.ErrNotExist)
}

// arrives waits for an offer to show up.
func (s *side) arrives(name string) string {
	s.t.Helper()
	path := filepath.Join(s.incoming, name)
	eventually(s.t, name+" shows up in incoming", func() bool { return exists(path) })
	return path
}

// takes reads an offer with cat, and compares it.
func (s *side) takes(name string, want []byte) {
	s.t.Helper()
	same(s.t, start(s.t, "cat", s.arrives(name)).succeeds(), want)
}

func same(t testing.TB, got, want []byte) {
	t.Helper()
	if sha256.Sum256(got) != sha256.Sum256(want) {
		t.Fatalf("%d bytes came out, not the %d that went in", len(got), len(want))
	}
}

// attr reads an extended attribute.
func attr(t testing.TB, path, name string) string {
	t.Helper()
	buf := make([]byte, 8192)
	n, err := syscall.Getxattr(path, "user.matrix."+name, buf)
	if err != nil {
		t.Fatalf("attribute %s of %s: %v", name, path, err)
	}
	return string(buf[:n])
}

// list gives the names in a directory, as ls does.
func list(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
