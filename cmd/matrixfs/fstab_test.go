package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// mount(8) mounts from /etc/fstab, as root and as an ordinary user; a file
// arrives, and umount(8) ends the program.
func TestFstab(t *testing.T) {
	t.Parallel()
	for name, uid := range map[string]int{"root": 0, "ordinary user": 65534} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := home(t)
			ann, ben := h.person(t), h.person(t)
			room := h.room(t, ann, ben)
			alice, bob := h.login(t, ann), h.login(t, ben).mount()
			dir := t.TempDir()
			install(t, h, uid, dir, alice.state)
			p := start(t, "unshare", "--mount", "--pid", "--fork", "--mount-proc", "bash", "testdata/fstab.sh",
				strconv.Itoa(uid), dir, room, alice.state)
			took := shell(t, `until [ -e "$1" ]; do kill -0 "$2" || exit 1; sleep 0.1; done; cat "$1"`,
				bob.incoming("passwd"), strconv.Itoa(p.command.Process.Pid))
			p.succeeds()
			if passwd, err := os.ReadFile("/etc/passwd"); err != nil || took.succeeds() != string(passwd) {
				t.Error("another file arrived")
			}
			if log, err := os.ReadFile(filepath.Join(alice.state, "mount.log")); err != nil || len(log) > 0 {
				t.Errorf("the log: %q, %v", log, err)
			}
		})
	}
}

// install makes an etc with an fstab, an sbin with the program, and mount
// points, in dir. The mount points and the state become the user's.
func install(t *testing.T, h *house, uid int, dir, state string) {
	t.Helper()
	fstab := ""
	for point, options := range map[string]string{
		"matrix":    "noauto,user,state=" + state + ",lifetime=5m,cache-size=100MiB,x-note=ours",
		"all":       "noauto,user,_netdev,state=" + state + ",allow_other",
		"ro":        "noauto,user,ro,state=" + state,
		"colour":    "noauto,user,colour=red,state=" + state,
		"value":     "noauto,user,lifetime,state=" + state,
		"lifetime":  "noauto,user,lifetime=1ms,state=" + state,
		"stateless": "noauto,user,state=" + filepath.Join(dir, "none"),
	} {
		fstab += fmt.Sprintf("matrixfs %s fuse.matrixfs %s 0 0\n", filepath.Join(dir, point), options)
		if err := os.Mkdir(filepath.Join(dir, point), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	shell(t, `chown -R "$3:$3" "$1" "$4" && chmod 755 "$1" "$1/.." "$4/.." "$4/../.." &&
		cp -a /etc "$1/etc" && sed -i '/^user_allow_other/d' "$1/etc/fuse.conf" &&
		mkdir "$1/sbin" && cp "$2" "$1/sbin/matrixfs" && ln -s matrixfs "$1/sbin/mount.fuse.matrixfs"`,
		dir, h.binary, strconv.Itoa(uid), state).succeeds()
	if err := os.WriteFile(filepath.Join(dir, "etc", "fstab"), []byte(fstab), 0o644); err != nil {
		t.Fatal(err)
	}
}

// It mounts in a container, from which a file arrives, and leaves nothing.
func TestContainer(t *testing.T) {
	t.Parallel()
	h := home(t)
	ann, ben := h.person(t), h.person(t)
	room := h.room(t, ann, ben)
	alice, bob := h.login(t, ann), h.login(t, ben).mount()
	container := []string{"--mount", "--pid", "--fork", "--mount-proc"}
	if os.Geteuid() != 0 {
		container = append(container, "--user", "--map-root-user")
	}
	p := start(t, "unshare", append(container, "bash", "testdata/container.sh", h.binary, alice.state, alice.mountpoint, room)...)
	took := shell(t, `until [ -e "$1" ]; do kill -0 "$2" || exit 1; sleep 0.1; done; cat "$1"`,
		bob.incoming("passwd"), strconv.Itoa(p.command.Process.Pid))
	p.succeeds()
	if passwd, err := os.ReadFile("/etc/passwd"); err != nil || took.succeeds() != string(passwd) {
		t.Error("another file arrived")
	}
}
