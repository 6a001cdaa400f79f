package fs_test

import (
	"os"
	"testing"
)

// TestAllowOther: with it another user may do what the owner may, without it
// that user sees nothing.
func TestAllowOther(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("this test needs root, to mount for all users")
	}
	openFUSE(t)
	for name, forAll := range map[string]bool{"for all": true, "for one": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := []string{servantOffers + "=1"}
			if forAll {
				env = append(env, servantForAll+"=1")
			}
			point := t.TempDir()
			v := &victim{program: launchServant(t, point, 0, env...), t: t, point: point}
			v.seen("the offer", `test -e "$1/incoming/slow"`)
			as := func(script string) *program {
				return asUser(t, nobody, "bash", "-c", script, "bash", point)
			}
			if !forAll {
				as(`ls "$1"`).failsWith("Permission denied")
				as(`cat "$1/incoming/slow"`).failsWith("Permission denied")
				as(`echo x > "$1/Team Room/x"`).failsWith("Permission denied")
				return
			}
			if out := string(as(`ls "$1"; stat -c '%A %U' "$1/Team Room/" "$1/incoming/slow"`).succeeds()); out !=
				"!room:test\nTeam Room\nincoming\ndrwxrwxrwx root\n-rw-rw-rw- root\n" {
				t.Errorf("another user sees %q", out)
			}
			if out := string(as(`head -c 6 "$1/incoming/slow"`).succeeds()); out != "begins" {
				t.Errorf("another user reads %q", out)
			}
			writer := as(`cd "$1/Team Room" && test -w . && cat /etc/passwd > x`)
			v.seen("an offer of another user", `test -e "$1/Team Room/x"`)
			as(`rm "$1/Team Room/x"`).succeeds()
			writer.failsWith("Operation canceled")
		})
	}
}
