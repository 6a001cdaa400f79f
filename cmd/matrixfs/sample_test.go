package main_test

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// sample writes a file of random bytes, different for each size, outside of
// any mount.
func sample(t testing.TB, name string, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	var seed [32]byte
	copy(seed[:], name)
	_, err = io.CopyN(file, rand.NewChaCha8(seed), size)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// digest gives the SHA-256 of the files, one after the other.
func digest(t testing.TB, paths ...string) string {
	t.Helper()
	sum := sha256.New()
	for _, path := range paths {
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(sum, file)
		_ = file.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// sameBytes fails the test unless got holds what the files in want hold, one
// after the other.
func sameBytes(t testing.TB, got string, want ...string) {
	t.Helper()
	if g, w := digest(t, got), digest(t, want...); g != w {
		t.Errorf("%s: SHA-256 is %s, want %s", got, g, w)
	}
}
