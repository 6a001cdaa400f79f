package matrixtest

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// module is the module that Dendrite is built from.
//
//go:embed dendrite/*.txt
var module embed.FS

const (
	// dendriteEnv names a Dendrite to use instead of building one.
	dendriteEnv     = "MATRIXFS_DENDRITE"
	dendriteVersion = "v0.15.2"
	dendritePackage = "github.com/element-hq/dendrite/cmd/dendrite"
)

// Binary gives the path of a Dendrite, and builds it first if that has not been
// done before on this machine, which takes minutes; progress, which may be nil,
// is told so. Processes that ask at once wait for the one that builds. The
// environment variable MATRIXFS_DENDRITE names another Dendrite to use.
func Binary(ctx context.Context, progress io.Writer) (string, error) {
	if path := os.Getenv(dendriteEnv); path != "" {
		if _, err := exec.LookPath(path); err != nil {
			return "", fmt.Errorf("%s does not name a program: %w", dendriteEnv, err)
		}
		return path, nil
	}
	key, err := moduleKey()
	if err != nil {
		return "", err
	}
	name := "dendrite-" + dendriteVersion + "-" + key
	return cached(ctx, "Dendrite", dendriteEnv, name, func(path string) error {
		if progress != nil {
			_, _ = fmt.Fprintf(progress, "building Dendrite %s, once; this takes a few minutes\n", dendriteVersion)
		}
		return build(ctx, path)
	})
}

// moduleKey names what the build depends on.
func moduleKey() (string, error) {
	h := sha256.New()
	_, _ = fmt.Fprintln(h, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	err := eachModuleFile(func(name string, text []byte) error {
		_, err := fmt.Fprintf(h, "%s %d\n%s", name, len(text), text)
		return err
	})
	return hex.EncodeToString(h.Sum(nil)[:6]), err
}

func eachModuleFile(do func(name string, text []byte) error) error {
	return fs.WalkDir(module, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := module.ReadFile(path)
		if err != nil {
			return err
		}
		return do(strings.TrimSuffix(d.Name(), ".txt"), text)
	})
}

// build makes Dendrite at path, from a temporary module.
func build(ctx context.Context, path string) (err error) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		return fmt.Errorf("the Go tool is needed to build Dendrite (or set %s): %w", dendriteEnv, err)
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), "build-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	err = eachModuleFile(func(name string, text []byte) error {
		return os.WriteFile(filepath.Join(dir, name), text, 0o644)
	})
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, goTool, "build", "-mod=readonly", "-trimpath", "-ldflags=-s -w", "-o", path, dendritePackage)
	cmd.Dir = dir
	// What is set for the build of matrixfs is not meant for this one.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	cmd.WaitDelay = 10 * time.Second
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building Dendrite failed (set %s to use another): %w\n%s", dendriteEnv, err, output)
	}
	return nil
}
