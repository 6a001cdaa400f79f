package fs_test

import (
	"archive/zip"
	"bytes"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/matrixfs/matrixfs/fs"
	"github.com/matrixfs/matrixfs/transfer"
)

// looking is how long a window shows the offers.
const looking = 30 * time.Second

// striking is the colour of the pictures, which no icon has.
const striking pixel = 0xff00ff

// fileManager is a program that shows directories.
type fileManager struct {
	name string
	// fresh is the flag that asks for a new window, if it takes one.
	fresh []string
	home  map[string]string // its settings
}

// fileManagers are those that the tests use, with thumbnails on for all files.
var fileManagers = []fileManager{
	{"thunar", nil, map[string]string{
		".config/xfce4/xfconf/xfce-perchannel-xml/thunar.xml": `<?xml version="1.0"?>
<channel name="thunar" version="1.0">
  <property name="misc-thumbnail-mode" type="string" value="THUNAR_THUMBNAIL_MODE_ALWAYS"/>
  <property name="misc-thumbnail-max-file-size" type="uint64" value="0"/>
  <property name="last-show-hidden" type="bool" value="true"/>
</channel>
`}},
	{"pcmanfm", []string{"--new-win"}, map[string]string{
		".config/libfm/libfm.conf": "[config]\nthumbnail_local=0\nthumbnail_max=102400\n[ui]\nshow_thumbnail=1\n"}},
	{"nautilus", []string{"--new-window"}, map[string]string{
		".config/glib-2.0/settings/keyfile": "[org/gnome/nautilus/preferences]\nshow-image-thumbnails='always'\nthumbnail-limit=uint64 4096\n"}},
	{"dolphin", []string{"--new-window"}, map[string]string{
		".config/kdeglobals": "[PreviewSettings]\nMaximumRemoteSize=104857600\n",
		".local/share/dolphin/view_properties/global/.directory": "[Dolphin]\nPreviewsShown=true\nVersion=4\n"}},
}

// chosenManagers gives those that MATRIXFS_TEST_MANAGERS names, or those that
// are small.
func chosenManagers(t *testing.T) []fileManager {
	names := strings.Fields(os.Getenv("MATRIXFS_TEST_MANAGERS"))
	if len(names) == 0 {
		names = []string{"thunar", "pcmanfm"}
	}
	var chosen []fileManager
	for _, name := range names {
		at := slices.IndexFunc(fileManagers, func(m fileManager) bool { return m.name == name })
		if at < 0 {
			t.Fatalf("MATRIXFS_TEST_MANAGERS names %q, which is not known", name)
		}
		chosen = append(chosen, fileManagers[at])
	}
	return chosen
}

// TestFileManagers looks at offers in the windows of file managers, which
// accepts none, and then copies with them, out of incoming/ and into a room.
// The programs run as whoever runs the test, who owns the mounts.
func TestFileManagers(t *testing.T) {
	for _, m := range chosenManagers(t) {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			w, d := newWatchedWorld(t), newDisplay(t)
			d.settle(m)
			files := kindsOfFiles(t)
			source := writeFiles(t, "source", files)
			cps := w.offers(t, source, files)
			d.makesThumbnails(m, source)
			d.looks(m, w.bob, files)
			d.copiesOut(m, w.bob, files)
			for name, cp := range cps {
				t.Log("the cp of", name)
				cp.succeeds()
			}
			d.copiesIn(m, w, source, files)
		})
	}
}

// newWatchedWorld is two people whose windows are told of changes, and who are
// in no hurry.
func newWatchedWorld(t *testing.T) *world {
	t.Helper()
	return newWorldWith(t, func(c *transfer.Config) { c.Lifetime = 10 * time.Minute },
		func(o *fs.Options) { o.Announce = crierIn(t.TempDir()) })
}

// offers makes alice offer the files, each with a cp that waits.
func (w *world) offers(t *testing.T, source string, files map[string][]byte) map[string]*program {
	t.Helper()
	cps := map[string]*program{}
	for name := range files {
		cps[name] = start(t, "cp", filepath.Join(source, name), w.alice.room)
	}
	eventually(t, "all offers show up", func() bool { return len(w.bob.lists(t)) == len(files) })
	return cps
}

// lists gives the offers, as ls shows them. Another process asks, because
// this one forks, and holds the mount.
func (s *side) lists(t *testing.T) []string {
	t.Helper()
	return strings.Fields(string(start(t, "ls", s.incoming).succeeds()))
}

// settle makes the settings of a file manager.
func (d *display) settle(m fileManager) {
	d.t.Helper()
	for name, content := range m.home {
		d.write(name, content)
	}
}

// open opens a window at a directory, and gives its number.
func (d *display) open(m fileManager, dir string) string {
	d.t.Helper()
	d.start(m.name, append(slices.Clone(m.fresh), dir)...)
	window := d.window(filepath.Base(dir))
	d.spread(window)
	return window
}

// makesThumbnails shows a directory that everybody may read: without
// thumbnails of it the rest would prove nothing. On a busy machine the program
// that makes them may start too late for the first window.
func (d *display) makesThumbnails(m fileManager, dir string) {
	d.t.Helper()
	d.eventually("thumbnails of ordinary files", func() bool {
		manager := d.start(m.name, append(slices.Clone(m.fresh), dir)...)
		for start := time.Now(); time.Since(start) < 30*time.Second; time.Sleep(200 * time.Millisecond) {
			if count(d.look(), striking) > 1000 {
				return true
			}
		}
		manager.signal(syscall.SIGKILL)
		_ = manager.wait() // to start another
		return false
	})
}

// looks opens a window at the offers. None is accepted.
func (d *display) looks(m fileManager, s *side, files map[string][]byte) {
	d.t.Helper()
	d.open(m, s.incoming)
	for start := time.Now(); time.Since(start) < looking; time.Sleep(time.Second) {
		if states := s.states(d.t); len(states) != len(files) {
			d.t.Fatalf("%d offers are there, of %d", len(states), len(files))
		} else {
			for name, state := range states {
				if state != transfer.Offered.String() {
					d.t.Errorf("%v after the window opened %s is %s", time.Since(start), name, state)
				}
			}
		}
		if d.t.Failed() {
			return
		}
	}
}

// states gives the state of each offer.
func (s *side) states(t testing.TB) map[string]string {
	t.Helper()
	states := map[string]string{}
	out := sh(t, `cd "$1" && for f in *; do echo "$f" "$(getfattr --only-values -n user.matrix.state "$f")" || exit; done`, s.incoming).succeeds()
	for line := range strings.Lines(string(out)) {
		name, state, _ := strings.Cut(strings.TrimSpace(line), " ")
		states[name] = state
	}
	return states
}

// copies copies all files from one directory to another. They have begun to
// come once begun says so.
func (d *display) copies(m fileManager, files map[string][]byte, from, to string, begun func() bool) {
	d.t.Helper()
	names := slices.Sorted(maps.Keys(files))
	source := d.open(m, from)
	d.eventually("all files are copied", func() bool {
		// The window may not show all of them yet, or take them late.
		d.press(source, "ctrl+a", "ctrl+c")
		return slices.Equal(slices.Sorted(slices.Values(d.copied())), names)
	})
	target := d.open(m, to)
	d.eventually("a file is pasted", func() bool {
		d.press(target, "ctrl+v")
		for range 100 {
			if begun() {
				return true
			}
			time.Sleep(200 * time.Millisecond)
		}
		return false
	})
}

// copiesOut copies the offers to an ordinary directory.
func (d *display) copiesOut(m fileManager, s *side, files map[string][]byte) {
	d.t.Helper()
	out := filepath.Join(d.t.TempDir(), "out")
	if err := os.Mkdir(out, 0o700); err != nil {
		d.t.Fatal(err)
	}
	d.copies(m, files, s.incoming, out, func() bool { return len(list(d.t, out)) > 0 })
	d.eventually("all files come out whole", func() bool {
		for name, want := range files {
			got, err := os.ReadFile(filepath.Join(out, name))
			if err != nil || !bytes.Equal(got, want) {
				return false
			}
		}
		return true
	})
}

// copiesIn copies a directory into a room, where the other side takes all.
func (d *display) copiesIn(m fileManager, w *world, dir string, files map[string][]byte) {
	d.t.Helper()
	var takers []*program
	for name := range files {
		takers = append(takers, sh(d.t, `until [ -e "$1" ]; do sleep 0.1; done; exec cmp "$1" "$2"`,
			filepath.Join(w.alice.incoming, name), filepath.Join(dir, name)))
	}
	d.copies(m, files, dir, w.bob.room, func() bool { return len(start(d.t, "ls", w.bob.room).succeeds()) > 0 })
	for _, taker := range takers {
		d.eventually("all files are taken", func() bool { return !taker.running() })
		taker.succeeds()
	}
}

// writeFiles makes a directory of files.
func writeFiles(t *testing.T, name string, files map[string][]byte) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// kindsOfFiles gives one file of each kind that file managers look into. Where
// a kind needs no more, it begins as such files do.
func kindsOfFiles(t *testing.T) map[string][]byte {
	t.Helper()
	picture := image.NewPaletted(image.Rect(0, 0, 640, 480), color.Palette{color.RGBA{R: 255, B: 255, A: 255}})
	var pngFile, jpegFile, gifFile, zipFile, odtFile bytes.Buffer
	for _, err := range []error{
		png.Encode(&pngFile, picture), jpeg.Encode(&jpegFile, picture, nil), gif.Encode(&gifFile, picture, nil),
		zipped(&zipFile, "example.txt", "example"), zipped(&odtFile, "mimetype", "application/vnd.oasis.opendocument.text"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return map[string][]byte{
		"a.txt":     bytes.Repeat([]byte("Plain text.\n"), 300),
		"b.png":     pngFile.Bytes(),
		"c.jpg":     jpegFile.Bytes(),
		"d.gif":     gifFile.Bytes(),
		"e.svg":     []byte(`<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><circle cx="32" cy="32" r="30" fill="magenta"/></svg>` + "\n"),
		"f.pdf":     begins("%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n", 80_000),
		"g.mp3":     begins("ID3\x03\x00\x00\x00\x00\x00\x0a", 200_000),
		"h.wav":     begins("RIFF\x24\x0d\x03\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x44\xac\x00\x00\x88\x58\x01\x00\x02\x00\x10\x00data\x00\x0d\x03\x00", 200_000),
		"i.ogg":     begins("OggS\x00\x02", 200_000),
		"j.mp4":     begins("\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom", 300_000),
		"k.webm":    begins("\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\xf7\x81\x01\x42\xf2\x81\x04\x42\xf3\x81\x08\x42\x82\x84webm", 300_000),
		"l.zip":     zipFile.Bytes(),
		"m.html":    []byte("<!DOCTYPE html>\n<title>Example</title>\n"),
		"n.desktop": []byte("[Desktop Entry]\nType=Application\nName=Example\nExec=true\nIcon=utilities-terminal\n"),
		"o.odt":     odtFile.Bytes(),
		"p":         bytes.Repeat([]byte("No extension.\n"), 100),
		"q.iso":     append(make([]byte, 0x8000), begins("\x01CD001\x01\x00", 200_000)...),
	}
}

// begins makes n bytes after those at the beginning.
func begins(with string, n int) []byte {
	b := append([]byte(with), make([]byte, n)...)
	random := rand.NewChaCha8([32]byte{byte(n)})
	_, _ = random.Read(b[len(with):])
	return b
}

// zipped makes an archive of one file.
func zipped(b *bytes.Buffer, name, content string) error {
	z := zip.NewWriter(b)
	f, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
	if err != nil {
		return err
	}
	if _, err := f.Write([]byte(content)); err != nil {
		return err
	}
	return z.Close()
}

// TestFileManagersShowOffers watches an open window: an offer shows up in it, and
// goes again, without anybody asking the window to look.
func TestFileManagersShowOffers(t *testing.T) {
	for _, m := range chosenManagers(t) {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			w, d := newWatchedWorld(t), newDisplay(t)
			d.settle(m)
			d.open(m, w.bob.incoming)
			empty := d.screen()
			source, _ := file(t, "example.doc", 100_000)
			cp := start(t, "cp", source, w.alice.room)
			// The name of a file and its icon are many pixels; a number in the
			// line below that counts them is few.
			d.eventually("the window shows the offer", func() bool { return differing(empty, d.screen()) > 500 })
			if states := w.bob.states(t); states["example.doc"] != transfer.Offered.String() {
				t.Errorf("the offers are %v", states)
			}
			cp.signal(syscall.SIGTERM)
			d.eventually("the window is empty again", func() bool { return differing(empty, d.screen()) < 50 })
		})
	}
}
