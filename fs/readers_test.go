package fs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// readersFile writes a readers file.
func readersFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "readers.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestReadersFile: the first line that matches counts, and before all that is
// known already.
func TestReadersFile(t *testing.T) {
	r, err := LoadReaders(readersFile(t, `
# a comment
always	Tumblerd   # this one is fine
never my-*
manager my-files
manager Kate Editor
never a#b
never a-program-with-a-long-name*
never weird[0-9]?
always thumbnail*`))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		names string
		want  conduct
		by    string
	}{
		{"cat", ordinary, ""},
		{"tumblerd", always, "tumblerd"},
		{"TUMBLERD", always, "TUMBLERD"},
		{"tumbler-1", never, "tumbler-1"},
		{"my-files", never, "my-files"},
		{"kate editor", manager, "kate editor"},
		{"a#b", never, "a#b"},
		{"a-program-with-", never, "a-program-with-"}, // cut by the kernel
		{"a-program-with", ordinary, ""},
		{"weird1x", never, "weird1x"},
		{"weirdly", ordinary, ""},
		{"thumbnail.so", always, "thumbnail.so"},
		{"kioworker,thumbnail.so", always, "thumbnail.so"},
		{"nautilus,python3", manager, "nautilus"},
		{"python3,nautilus,x-thumbnailer", never, "x-thumbnailer"},
		{"gnome-desktop-f", never, "gnome-desktop-f"},
		{"xdg-desktop-por", manager, "xdg-desktop-por"},
		{"dolphin-emu", ordinary, ""},
		{"", ordinary, ""},
	} {
		if got, by := r.conduct(strings.Split(c.names, ",")); got != c.want || by != c.by {
			t.Errorf("%s: %v by %q", c.names, got, by)
		}
	}
	if got, _ := (Readers{}).conduct([]string{"tumblerd"}); got != never {
		t.Errorf("without a file, tumblerd is %v", got)
	}
}

// TestBadReadersFile: one line says what is wrong, and where.
func TestBadReadersFile(t *testing.T) {
	for text, want := range map[string]string{
		"never x\nnevr tumblerd":                `, line 2: "nevr tumblerd" is not "never NAME", "manager NAME" or "always NAME"`,
		"\n\nnever":                             `, line 3: "never" is not`,
		"never # all":                           `, line 1: "never" is not`,
		"Never x":                               `, line 1: "Never x" is not`,
		"always /usr/bin/x":                     `, line 1: "/usr/bin/x" is a path`,
		"manager x[":                            `, line 1: "x[" is not a pattern`,
		"never x\x1b[31m":                       `, line 1: "never x\x1b[31m" is not text`,
		"never \xff":                            `, line 1: "never \xff" is not text`,
		"x" + strings.Repeat("y", 1000):         `yyy" is not "never NAME"`,
		strings.Repeat("never x\n", maxRules+1): `, line 1001: too many lines: at most 1000`,
		strings.Repeat("# a comment\n", 6000):   `is too large: a readers file has at most 64 KiB`,
	} {
		file := readersFile(t, text)
		_, err := LoadReaders(file)
		if err == nil || !strings.HasPrefix(err.Error(), file) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") || len(err.Error()) > 300 {
			t.Errorf("%.30q: %v", text, err)
		}
	}
	if _, err := LoadReaders(filepath.Join(t.TempDir(), "none")); !os.IsNotExist(err) {
		t.Errorf("none: %v", err)
	}
	if _, err := LoadReaders(t.TempDir()); err == nil {
		t.Error("a directory passes")
	}
}

// TestProgramNames: a command line tells what a program is known by.
func TestProgramNames(t *testing.T) {
	for command, want := range map[string]string{
		"":                      "",
		"/usr/bin/cat x":        "cat",
		"-bash":                 "bash",
		"cat a-thumbnail.png":   "cat",
		"python3 -sE /opt/a b":  "python3,a",
		"python3 -c print(1) b": "python3",
		"sh -c cat":             "sh",
		"bash":                  "bash",
		"/usr/libexec/kf6/kioworker /usr/lib/kf6/kio/thumbnail.so thumbnail": "kioworker,thumbnail.so",
		"kioslave5 /usr/lib/qt5/plugins/kf5/kio/file.so file":                "kioslave5,file.so",
	} {
		var r program
		r.addCommand(strings.Fields(command))
		if got := strings.Join(r.names, ","); got != want {
			t.Errorf("%q: %q", command, got)
		}
	}
	var r program
	r.addCommand([]string{"kdeinit5: kded5 [kdeinit5]"})
	r.addCommand([]string{"/opt/My App/app"})
	if got := strings.Join(r.names, ","); got != "kdeinit5: kded5 [kdeinit5],kdeinit5,app,My" {
		t.Errorf("%q", got)
	}
	if r := (program{names: []string{"gnome-desktop-f", "x", "gnome-desktop-file"}}); r.title() != "gnome-desktop-file" {
		t.Errorf("the title is %q", r.title())
	}
}
