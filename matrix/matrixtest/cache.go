package matrixtest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// cached gives the path of a thing in the cache directory. If it is not there,
// create makes it, at another path, from where it is moved when it is whole:
// what is in the cache can be used. Processes that ask at once wait for the
// one that makes it. what is the thing's name for people, and env the
// variable that names another one to use.
func cached(ctx context.Context, what, env, name string, create func(path string) error) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("there is no cache directory for %s (set HOME, or %s): %w", what, env, err)
	}
	dir := filepath.Join(cache, "matrixfs-test")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(dir, name)
	if there, err := exists(path); there || err != nil {
		return path, err
	}
	lock := flock.New(path + ".lock")
	if _, err := lock.TryLockContext(ctx, 200*time.Millisecond); err != nil {
		return "", fmt.Errorf("waiting for %s, which another process makes: %w", what, err)
	}
	defer func() { _ = lock.Close() }()
	if there, err := exists(path); there || err != nil {
		return path, err // made by the one we waited for
	}
	// Nobody else is here. What is left of one that was killed goes first.
	unfinished := path + ".new"
	if err := os.RemoveAll(unfinished); err != nil {
		return "", err
	}
	err = create(unfinished)
	if err == nil {
		err = os.Rename(unfinished, path)
	}
	if err != nil {
		return "", errors.Join(err, os.RemoveAll(unfinished))
	}
	return path, nil
}

func exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
