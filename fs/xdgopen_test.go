package fs_test

import (
	"os"
	"path/filepath"
	"testing"
)

// A double click: xdg-open of an offer starts the application for its type, and
// reading there accepts. Looking for the type does not.
func TestXDGOpen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, desktop := range []string{"GNOME", "XFCE"} {
		name := "letter to " + desktop + ".txt"
		path, content := file(t, name, 100_000)
		cp := start(t, "cp", path, w.alice.room)
		offer := w.bob.arrives(name)
		home := application(t)
		taken := filepath.Join(home, "taken")
		sh(t, `cd "$1" && env -u DISPLAY -u WAYLAND_DISPLAY -u DBUS_SESSION_BUS_ADDRESS HOME="$1" XDG_CONFIG_HOME="$1" XDG_DATA_HOME="$1" XDG_CURRENT_DESKTOP="$2" xdg-open "$3"`,
			home, desktop, offer).succeeds()
		eventually(t, "the application of "+desktop+" has the file", func() bool { return exists(taken) })
		got, err := os.ReadFile(taken)
		if err != nil {
			t.Fatal(err)
		}
		same(t, got, content)
		cp.succeeds()
	}
}

// application makes a home directory with an application that opens text: it
// copies what it opens to "taken".
func application(t *testing.T) string {
	t.Helper()
	home := t.TempDir()
	if err := os.Mkdir(filepath.Join(home, "applications"), 0o700); err != nil {
		t.Fatal(err)
	}
	take, taken := filepath.Join(home, "take"), filepath.Join(home, "taken")
	for _, f := range []struct{ name, content string }{
		{"take", "#!/bin/sh\ncat \"$1\" > '" + taken + ".new' && mv '" + taken + ".new' '" + taken + "'\n"},
		{"applications/take.desktop", "[Desktop Entry]\nType=Application\nName=Take\nExec=" + take + " %f\nMimeType=text/plain;\n"},
		{"mimeapps.list", "[Default Applications]\ntext/plain=take.desktop\n"},
	} {
		if err := os.WriteFile(filepath.Join(home, f.name), []byte(f.content), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return home
}
