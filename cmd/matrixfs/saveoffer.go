package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/adrg/xdg"

	"github.com/matrixfs/matrixfs/fs"
	"github.com/matrixfs/matrixfs/transfer"
)

const (
	// saveChunk is how much is written at once.
	saveChunk = 1 << 20
	// maxNumber bounds the search for a name that is free.
	maxNumber = 10_000
	// partSuffix marks a file that is not complete, as browsers do it; a dot in
	// front hides it.
	partSuffix = ".part"
	// maxFileName is the longest name that file systems take, in bytes.
	maxFileName = 255
)

// downloadDir is where a person of this desktop saves files. It is to be called
// from one goroutine.
func downloadDir() string {
	xdg.Reload() // it may have changed
	return xdg.UserDirs.Download
}

// errSaveInMount is that of a download directory in the mount. This process
// must open nothing there.
var errSaveInMount = errors.New("the download directory is in this mount: choose another one in user-dirs.dirs, or copy the file out of incoming")

// save is saveOffer for offers of this mount.
func (p offerPlaces) save(ctx context.Context, in *transfer.Incoming, dir string) (path string, err error) {
	if leadsInto(dir, p.mountpoint) {
		return "", errSaveInMount
	}
	return saveOffer(ctx, in, dir, p.accept)
}

// maxLinks is how many symbolic links a path may have, as for the kernel.
const maxLinks = 40

// leadsInto reports whether a path goes through a mount, without going there.
func leadsInto(path, mountpoint string) bool {
	at, rest, links := "/", path, 0
	for rest != "" {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		next := filepath.Join(at, name)
		if next == mountpoint {
			return true
		}
		target, err := os.Readlink(next)
		if err != nil { // no link; what else is wrong will be seen later
			at = next
			continue
		}
		if links++; links > maxLinks {
			return false
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		rest = target + "/" + rest
	}
	return false
}

// saveOffer accepts an offer and saves the file in a directory, under its name
// or a numbered form of that. Nothing is overwritten. A file under that name is
// complete; until then it has a temporary one.
func saveOffer(ctx context.Context, in *transfer.Incoming, dir string, accept func(*transfer.Incoming) error) (path string, err error) {
	name := fs.SafeName(in.Status().Name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	part, err := createFree(dir, func(n int) string { return partName(fs.NumberedName(name, n)) })
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(part.Name())
		}
	}()
	if err = accept(in); err == nil {
		err = copyOffer(ctx, part, in)
	}
	if err = errors.Join(err, part.Close()); err != nil {
		return "", err
	}
	// The free name is taken first: renaming alone would overwrite.
	place, err := createFree(dir, func(n int) string { return fs.NumberedName(name, n) })
	if err != nil {
		return "", err
	}
	_ = place.Close() // nothing was written to it
	if err := os.Rename(part.Name(), place.Name()); err != nil {
		_ = os.Remove(place.Name())
		return "", err
	}
	syncDir(dir)
	return place.Name(), nil
}

// createFree makes a file under the first of the names that is free.
func createFree(dir string, name func(n int) string) (*os.File, error) {
	for n := 1; n <= maxNumber; n++ {
		file, err := os.OpenFile(filepath.Join(dir, name(n)), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if !errors.Is(err, os.ErrExist) {
			return file, err
		}
	}
	return nil, fmt.Errorf("%s has too many files of that name", dir)
}

// partName is the temporary name of a file.
func partName(name string) string {
	for len(name)+len(".")+len(partSuffix) > maxFileName {
		_, last := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-last]
	}
	return "." + name + partSuffix
}

// copyOffer writes all of a file to the disk.
func copyOffer(ctx context.Context, to *os.File, in *transfer.Incoming) error {
	reader := in.Open()
	defer reader.Close()
	buffer := make([]byte, saveChunk)
	for at := int64(0); ; {
		if err := ctx.Err(); err != nil { // what is there already is read all the same
			return err
		}
		n, err := reader.ReadAt(ctx, buffer, at)
		if _, err := to.Write(buffer[:n]); err != nil {
			// The transfer goes on, as if it had only been accepted.
			return fmt.Errorf("%w; it stays in incoming", err)
		}
		at += int64(n)
		switch {
		case errors.Is(err, io.EOF):
			return to.Sync()
		case err != nil:
			return err
		}
	}
}

// syncDir makes the names in a directory last, where the file system can.
func syncDir(dir string) {
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync()
		_ = d.Close()
	}
}
