package fs

import (
	"os"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

func TestSafeName(t *testing.T) {
	long := strings.Repeat("ä", 200)
	for in, want := range map[string]string{
		"example.doc":                  "example.doc",
		"Übung (2).pdf":                "Übung (2).pdf",
		"!room:example.org":            "!room:example.org",
		"#team:example.org":            "#team:example.org",
		"":                             "unnamed",
		".":                            "unnamed",
		"..":                           "unnamed",
		"...":                          "unnamed",
		"--":                           "unnamed",
		" ":                            "unnamed",
		"\x00":                         "_",
		"/":                            "_",
		"/etc/passwd":                  "_etc_passwd",
		"../../x":                      "_.._x",
		".bashrc":                      "bashrc",
		"-rf":                          "rf",
		". - x":                        "x",
		"x. ":                          "x",
		"a\nb\tc":                      "a b c",
		"a   \u00a0\u2003 .exe":        "a .exe",
		"a\x1b[31mb":                   "a[31mb",
		"gpj.\u202eexe":                "gpj.exe",
		"a\u200bb\ufeffc\u00add":       "abcd",
		"\u3164\u115f\u2800":           "unnamed",
		"e\u0301":                      "é",
		"e\u200b\u0301":                "é",
		"\u0301x":                      "x",
		"a\xffb":                       "a_b",
		"a\ufffdb":                     "a_b",
		"👩\u200d👧":                     "👩👧",
		long:                           long[:254],
		long + ".docx":                 long[:250] + ".docx",
		long + "." + long:              long[:254],
		"x" + strings.Repeat(" ", 300): "x",
	} {
		if got := SafeName(in); got != want {
			t.Errorf("SafeName(%q) is %q, not %q", in, got, want)
		}
	}
}

func TestPlainName(t *testing.T) {
	for in, want := range map[string]string{
		"Team Room": "Team Room", "#general": "general", "!#@~. x": "x", "a:b": "a_b", "@bob:x": "bob_x", "!!!": "unnamed", "~root": "root",
	} {
		if got := plainName(in); got != want {
			t.Errorf("plainName(%q) is %q, not %q", in, got, want)
		}
	}
}

func TestUnique(t *testing.T) {
	taken := map[string]bool{}
	long := strings.Repeat("x", 251) + ".doc"
	for _, c := range []struct{ name, want string }{
		{"a.doc", "a.doc"}, {"a.doc", "a (2).doc"}, {"a.doc", "a (3).doc"}, {"a (2).doc", "a (2) (2).doc"},
		{"a", "a"}, {"a", "a (2)"}, {long, long}, {long, long[:247] + " (2).doc"},
		{"a.much too long", "a.much too long"}, {"a.much too long", "a.much too long (2)"},
	} {
		got := unique(c.name, func(s string) bool { return taken[s] })
		if got != c.want || len(got) > maxName {
			t.Errorf("after %q comes %q, not %q", c.name, got, c.want)
		}
		taken[got] = true
	}
}

func TestFinalName(t *testing.T) {
	for in, want := range map[string]string{
		"example.doc": "example.doc", ".example.doc.AbC123": "example.doc", ".a.x1y2z3": "a", ".a.ABCDEF": "a", "..a.ABCdef": ".a",
		".settings.backup": ".settings.backup", ".log.202401": ".log.202401", ".a.AbC12": ".a.AbC12", ".AbC123": ".AbC123",
		".a.AbC-12": ".a.AbC-12", "a.AbC123": "a.AbC123", ".a.AbC12é": ".a.AbC12é",
		"x.partial~": "x", "x.part": "x", ".part": ".part", ".partial~": ".partial~", "x.tar.part": "x.tar", "party": "party",
		".goutputstream-ABC123": "", ".goutputstream-": ".goutputstream-",
	} {
		got, known := finalName(in)
		if got != want || known != (want != "") {
			t.Errorf("finalName(%q) is %q (%v), not %q", in, got, known, want)
		}
	}
	if got := offeredName("a\xff"); got != "a_" {
		t.Errorf("a name that is not UTF-8 is offered as %q", got)
	}
}

// FuzzSafeName checks the promises of SafeName. Its seeds are in
// testdata/fuzz/FuzzSafeName.
func FuzzSafeName(f *testing.F) {
	f.Fuzz(func(t *testing.T, in string) {
		for _, name := range []string{SafeName(in), plainName(in)} {
			checkSafe(t, name)
		}
		if name := SafeName(in); SafeName(name) != name {
			t.Errorf("SafeName(%q) is %q, and then %q", in, name, SafeName(name))
		}
		if name := plainName(in); strings.ContainsAny(name[:1], "!#@~") || strings.Contains(name, ":") {
			t.Errorf("plainName(%q) is %q", in, name)
		}
		checkSafe(t, numbered(SafeName(in), 2))
	})
}

func checkSafe(t *testing.T, name string) {
	t.Helper()
	first, _ := utf8.DecodeRuneInString(name)
	switch {
	case name == "", len(name) > 255, !utf8.ValidString(name), !norm.NFC.IsNormalString(name):
		t.Errorf("%q is empty, too long, not UTF-8 or not NFC", name)
	case strings.ContainsAny(name, "/\x00"), strings.Contains(name, "  "):
		t.Errorf("%q has a slash or two spaces", name)
	case strings.ContainsAny(name[:1], ".- "), unicode.Is(unicode.M, first), strings.HasSuffix(name, " "):
		t.Errorf("%q starts or ends badly", name)
	}
	for _, r := range name {
		if r != ' ' && !unicode.IsGraphic(r) && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs, unicode.Zl, unicode.Zp) ||
			unicode.Is(unicode.Bidi_Control, r) || r != ' ' && unicode.IsSpace(r) {
			t.Errorf("%q has %U", name, r)
		}
	}
}

// TestSeeds: without its seeds, the fuzz target checks next to nothing in an
// ordinary test run.
func TestSeeds(t *testing.T) {
	entries, err := os.ReadDir("testdata/fuzz/FuzzSafeName")
	if err != nil || len(entries) < 10 {
		t.Fatalf("the seeds of FuzzSafeName are missing: there are %d (%v)", len(entries), err)
	}
}

// What rsync makes has a random end, which can look like a word.
func TestOfferedBy(t *testing.T) {
	for _, c := range []struct{ program, name, want string }{
		{"rsync", ".a.txt.backup", "a.txt"}, {"rsync", ".a.txt.123456", "a.txt"}, {"rsync", ".a.txt.aB3xYz", "a.txt"},
		{"cp", ".a.txt.backup", ".a.txt.backup"}, {"cp", ".a.txt.aB3xYz", "a.txt"}, {"rsync", "a.txt", "a.txt"},
	} {
		if got := offeredBy(c.program, c.name); got != c.want {
			t.Errorf("%s makes %s: offered as %q, want %q", c.program, c.name, got, c.want)
		}
	}
}
