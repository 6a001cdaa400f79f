package main

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"path/filepath"

	"github.com/matrixfs/matrixfs/fs"
)

// defaultReaders is the readers file that need not be there, by the XDG base
// directory specification; empty where neither $XDG_CONFIG_HOME nor $HOME says
// anything usable.
func defaultReaders(getenv func(string) string) string {
	if base := getenv("XDG_CONFIG_HOME"); filepath.IsAbs(base) {
		return filepath.Join(base, "matrixfs", "readers.conf")
	}
	if home := getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".config", "matrixfs", "readers.conf")
	}
	return ""
}

// loadReaders reads the readers file that --readers names, or else the
// default one if it is there.
func loadReaders(flag string, getenv func(string) string) (fs.Readers, error) {
	file := flag
	if file == "" {
		file = defaultReaders(getenv)
	}
	if file == "" {
		return fs.Readers{}, nil
	}
	readers, err := fs.LoadReaders(file)
	if flag == "" && errors.Is(err, iofs.ErrNotExist) {
		return fs.Readers{}, nil
	}
	if err != nil {
		return fs.Readers{}, fmt.Errorf("the readers file can't be used: %w", err)
	}
	return readers, nil
}
