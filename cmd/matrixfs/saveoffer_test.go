package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"github.com/adrg/xdg"

	"github.com/matrixfs/matrixfs/fs"
	"github.com/matrixfs/matrixfs/transfer"
)

// Names that are long, taken, or hostile: each file gets one of its own.
func TestSaveOfferNames(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	long := strings.Repeat("\u00e9", 200) + ".tar.gz"
	for _, c := range []struct{ name, want string }{
		{"a.txt", "a.txt"},
		{"a.txt", "a (2).txt"},
		{"a.txt", "a (3).txt"},
		{"../../.bashrc", "_.._.bashrc"},
		{long, fs.SafeName(long)},
		{long, fs.NumberedName(fs.SafeName(long), 2)},
	} {
		_, delivered := d.offers(c.name, []byte(c.want))
		eventually(t, "the offer comes", func() bool {
			list := d.bob.Exchange.Incoming()
			return len(list) == 1 && list[0].Status().Name == c.name
		})
		in := d.bob.Exchange.Incoming()[0]
		path, err := saveOffer(t.Context(), in, d.downloads, (*transfer.Incoming).Accept)
		if err != nil || path != filepath.Join(d.downloads, c.want) {
			t.Errorf("%s is saved as %s, want %s: %v", c.name, path, c.want, err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != c.want {
			t.Errorf("%s has %q, %v", path, got, err)
		}
		if err := d.ends(delivered); err != nil {
			t.Error(err)
		}
		in.Remove()
	}
	for _, n := range []int{1, 2, 9999} {
		if name := partName(fs.NumberedName(fs.SafeName(long), n)); len(name) > maxFileName || !utf8.ValidString(name) || !strings.HasSuffix(name, partSuffix) {
			t.Errorf("the temporary name is %q, of %d bytes", name, len(name))
		}
	}
}

// Where nothing can be written, the offer is not accepted; where the mount
// ends, nothing is left behind.
func TestSaveOfferFails(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	offer, _ := d.offers("a", []byte("x"))
	eventually(t, "the offer comes", func() bool { return len(d.bob.Exchange.Incoming()) == 1 })
	in := d.bob.Exchange.Incoming()[0]
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if path, err := saveOffer(t.Context(), in, file, (*transfer.Incoming).Accept); err == nil {
		t.Errorf("it was saved as %s", path)
	}
	if s := offer.Status().State.String(); s != "offered" {
		t.Errorf("the offer is %s", s)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := saveOffer(ctx, in, d.downloads, (*transfer.Incoming).Accept); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
	d.leftInDownloads()
}

// A full disk ends no transfer: the file can be had from incoming.
func TestSaveOfferDiskFull(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	offer, err := d.alice.Exchange.Offer(d.hub.Room, "a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := offer.Write(t.Context(), make([]byte, saveChunk)); err != nil {
		t.Fatal(err)
	}
	offer.Invite()
	eventually(t, "the offer comes", func() bool { return len(d.bob.Exchange.Incoming()) == 1 })
	in := d.bob.Exchange.Incoming()[0]
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	if err := in.Accept(); err != nil {
		t.Fatal(err)
	}
	if err := copyOffer(t.Context(), full, in); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("the error is %v", err)
	}
	if _, err := offer.Write(t.Context(), []byte("the end")); err != nil {
		t.Error(err)
	}
	if err := offer.Finish(t.Context()); err != nil {
		t.Error(err)
	}
}

// Nothing is saved in the mount itself, whatever the way there.
func TestSaveInMount(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	d.offers("a", []byte("content"))
	eventually(t, "the offer comes", func() bool { return len(d.bob.Exchange.Incoming()) == 1 })
	in := d.bob.Exchange.Incoming()[0]
	home := t.TempDir()
	mount := filepath.Join(home, "mount")
	for link, target := range map[string]string{"direct": mount + "/room", "relative": "x/../../mount", "chain": "sub/relative", "loop": "loop", "other": home} {
		if link == "relative" {
			link = "sub/relative"
		}
		if err := errors.Join(os.MkdirAll(filepath.Join(home, "sub/x"), 0o700), os.Symlink(target, filepath.Join(home, link))); err != nil {
			t.Fatal(err)
		}
	}
	places := offerPlaces{mountpoint: mount, accept: (*transfer.Incoming).Accept}
	for dir, want := range map[string]bool{
		"mount": true, "mount/room": true, "direct": true, "direct/more": true, "chain": true, "sub/../mount": true,
		"mount2": false, "other": false, "other/mount": true, "none/of/it": false, "loop": false,
	} {
		if got := leadsInto(home+"/"+dir, mount); got != want {
			t.Errorf("%s leads into the mount: %v", dir, got)
		}
	}
	if path, err := places.save(t.Context(), in, filepath.Join(home, "chain")); !errors.Is(err, errSaveInMount) {
		t.Errorf("it is saved as %s, %v", path, err)
	}
	if _, err := os.Stat(mount); err == nil {
		t.Error("something was made in the mount")
	}
}

func TestDownloadDir(t *testing.T) {
	home := t.TempDir()
	t.Cleanup(xdg.Reload) // after what t.Setenv undoes
	for _, name := range []string{"XDG_CONFIG_HOME", "XDG_DOWNLOAD_DIR"} {
		t.Setenv(name, "")
	}
	t.Setenv("HOME", home)
	if got, want := downloadDir(), filepath.Join(home, "Downloads"); got != want {
		t.Errorf("it is %s, want %s", got, want)
	}
	if err := os.Mkdir(filepath.Join(home, ".config"), 0o700); err != nil {
		t.Fatal(err)
	}
	config := "# a comment\nXDG_DESKTOP_DIR=\"$HOME/Desk\"\nXDG_DOWNLOAD_DIR=\"$HOME/Geladen\"\n"
	if err := os.WriteFile(filepath.Join(home, ".config", "user-dirs.dirs"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := downloadDir(), filepath.Join(home, "Geladen"); got != want {
		t.Errorf("it is %s, want %s", got, want)
	}
}
