package fs_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// display is a desktop that nobody sees: a screen, a session bus, and the home
// directory of somebody who has just begun.
type display struct {
	t      testing.TB
	home   string
	frames string // the file that has what is on the screen
	env    []string
}

// The size of the screen, in pixels.
const screenWidth, screenHeight = 1000, 700

// slowly is how long a program with windows may take for anything.
const slowly = 2 * time.Minute

// newDisplay starts a desktop; it ends with the test, before the mounts do.
func newDisplay(t testing.TB) *display {
	t.Helper()
	home := t.TempDir()
	d := &display{t: t, home: home, frames: filepath.Join(home, "Xvfb_screen0")}
	runtime := filepath.Join(home, "run")
	if err := os.Mkdir(runtime, 0o700); err != nil {
		t.Fatal(err)
	}
	number, bus := filepath.Join(home, "display"), filepath.Join(runtime, "bus")
	sh(t, `exec Xvfb -displayfd 3 -screen 0 "$3" -nolisten tcp -noreset -fbdir "$1" 3> "$2"`,
		home, number, fmt.Sprintf("%dx%dx24", screenWidth, screenHeight))
	d.eventually("Xvfb is up", func() bool { b, _ := os.ReadFile(number); return bytes.HasSuffix(b, []byte("\n")) })
	b, err := os.ReadFile(number)
	if err != nil {
		t.Fatal(err)
	}
	d.env = []string{
		"-u", "WAYLAND_DISPLAY", "-u", "XDG_CURRENT_DESKTOP", "-u", "SUDO_USER", "DISPLAY=:" + strings.TrimSpace(string(b)),
		"HOME=" + home, "XDG_RUNTIME_DIR=" + runtime, "DBUS_SESSION_BUS_ADDRESS=unix:path=" + bus,
		"XDG_CONFIG_HOME=" + home + "/.config", "XDG_CACHE_HOME=" + home + "/.cache",
		"XDG_DATA_HOME=" + home + "/.local/share", "XDG_STATE_HOME=" + home + "/.local/state",
		"LC_ALL=C.UTF-8", "GSETTINGS_BACKEND=keyfile",
		// What draws without a graphics card is slow: GTK would draw its
		// spinners, and get to nothing else.
		"GSK_RENDERER=cairo",
		// What a file manager needs no part of: it would mount, and look for
		// phones and cameras.
		"GVFS_DISABLE_FUSE=1", "GVFS_REMOTE_VOLUME_MONITOR_IGNORE=1", "NO_AT_BRIDGE=1",
	}
	for _, gtk := range []string{"gtk-3.0", "gtk-4.0"} {
		d.write(".config/"+gtk+"/settings.ini", "[Settings]\ngtk-enable-animations=false\n")
	}
	d.start("dbus-daemon", "--session", "--nofork", "--nopidfile", "--address=unix:path="+bus)
	d.eventually("the session bus is up", func() bool { return exists(bus) })
	return d
}

// start runs a program on the desktop.
func (d *display) start(name string, args ...string) *program {
	d.t.Helper()
	return start(d.t, "env", append(append(append([]string{}, d.env...), name), args...)...)
}

// write makes a file in the home directory.
func (d *display) write(name, content string) {
	d.t.Helper()
	path := filepath.Join(d.home, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

// eventually waits until ok, which may start programs.
func (d *display) eventually(what string, ok func() bool) {
	d.t.Helper()
	for start := time.Now(); !ok(); time.Sleep(200 * time.Millisecond) {
		if time.Since(start) > slowly {
			d.t.Fatalf("it did not happen: %s", what)
		}
	}
}

// window waits for a window whose title begins with a word, and gives its
// number.
func (d *display) window(word string) string {
	d.t.Helper()
	var id string
	d.eventually("a window "+word, func() bool {
		search := d.start("xdotool", "search", "--onlyvisible", "--name", "^"+regexp.QuoteMeta(word)+"( |$)")
		if search.wait() != nil {
			return false // there is none
		}
		id, _, _ = strings.Cut(search.out.String(), "\n")
		return id != ""
	})
	return id
}

// spread makes a window as large as the screen.
func (d *display) spread(window string) {
	d.t.Helper()
	d.start("xdotool", "windowmove", window, "0", "0", "windowsize", window, "100%", "100%").succeeds()
}

// press clicks into a window that fills the screen, near its corner, where no
// file is, and presses keys, slowly.
func (d *display) press(window string, keys ...string) {
	d.t.Helper()
	d.start("xdotool", append([]string{"windowraise", window, "windowfocus", window,
		"mousemove", strconv.Itoa(screenWidth - 100), strconv.Itoa(screenHeight - 80), "click", "1",
		"key", "--clearmodifiers", "--delay", "300"}, keys...)...).succeeds()
}

// copied gives the names of the files that have been copied with Ctrl+C.
func (d *display) copied() []string {
	d.t.Helper()
	clip := d.start("xclip", "-selection", "clipboard", "-out", "-target", "text/uri-list")
	if clip.wait() != nil {
		return nil // nothing has
	}
	var names []string
	for line := range strings.Lines(clip.out.String()) {
		names = append(names, filepath.Base(strings.Trim(line, "\r\n\x00")))
	}
	return names
}

// pixel is a colour on the screen: red, green and blue, eight bits each.
type pixel uint32

// screen gives what is on the screen, once that is the same for a second.
func (d *display) screen() []pixel {
	d.t.Helper()
	var last []pixel
	still := 0
	d.eventually("a screen at rest", func() bool {
		now := d.look()
		if still++; !slices.Equal(last, now) {
			last, still = now, 0
		}
		return still >= 5
	})
	return last
}

// look gives what is on the screen now.
func (d *display) look() []pixel {
	d.t.Helper()
	b, err := os.ReadFile(d.frames)
	if err != nil || len(b) < screenWidth*screenHeight*4 {
		d.t.Fatalf("%d bytes of the screen: %v", len(b), err)
	}
	b = b[len(b)-screenWidth*screenHeight*4:]
	pixels := make([]pixel, screenWidth*screenHeight)
	for i := range pixels {
		pixels[i] = pixel(binary.LittleEndian.Uint32(b[4*i:]) & 0xffffff) // the rest means nothing
	}
	return pixels
}

// differing counts the pixels that are not the same.
func differing(a, b []pixel) int {
	n := 0
	for i := range a {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}

// count counts the pixels of one colour.
func count(pixels []pixel, colour pixel) int {
	n := 0
	for _, p := range pixels {
		if p == colour {
			n++
		}
	}
	return n
}
