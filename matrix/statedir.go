package matrix

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
)

// Names in the state directory.
const (
	lockName     = "lock"
	storeName    = "matrix.db"
	storeKeyName = "matrix.key"
)

// stateFiles are the files that hold a login: the database, what SQLite keeps
// beside it, and the key to the keys in it. The lock stays behind, empty: removing a lock that another
// process may be opening would give both of them one.
var stateFiles = []string{storeName, storeName + "-wal", storeName + "-shm", storeName + "-journal", storeKeyName, storeKeyName + ".new"}

// stateDir is a state directory that this process has locked.
type stateDir struct {
	path    string
	lock    *flock.Flock
	created bool // by this process
}

// openStateDir locks the state directory. It makes the directory, for its
// owner alone, if create is set; else a directory that is not there is
// ErrNotLoggedIn. The error is ErrInUse while another process has it.
func openStateDir(path string, create bool) (*stateDir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	d := &stateDir{path: path}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && create:
		if err := os.MkdirAll(path, 0o700); err != nil {
			return nil, fmt.Errorf("can't make the state directory: %w", err)
		}
		d.created = true
	case errors.Is(err, fs.ErrNotExist):
		return nil, ErrNotLoggedIn
	case err != nil:
		return nil, fmt.Errorf("can't use the state directory: %w", err)
	case !info.IsDir():
		return nil, fmt.Errorf("%s is not a directory: choose another --state", path)
	case info.Mode().Perm()&0o002 != 0:
		// Somebody else could put files of theirs into it. Closing it to
		// them may break what it is for ("/tmp"), so that is not our choice.
		return nil, fmt.Errorf("others can write to %s: choose another --state, or chmod 700 it", path)
	}
	if !create {
		if _, err := os.Stat(d.file(storeName)); errors.Is(err, fs.ErrNotExist) {
			return nil, ErrNotLoggedIn
		}
	}
	if err := os.Chmod(path, 0o700); err != nil {
		return nil, fmt.Errorf("can't close the state directory to others: %w", err)
	}
	d.lock = flock.New(d.file(lockName), flock.SetPermissions(0o600))
	got, err := d.lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("can't lock the state directory: %w", err)
	}
	if !got {
		return nil, fmt.Errorf("%w: %s (unmount it, or choose another --state)", ErrInUse, path)
	}
	return d, nil
}

func (d *stateDir) file(name string) string { return filepath.Join(d.path, name) }

// wipe removes the login.
func (d *stateDir) wipe() error {
	var errs []error
	for _, name := range stateFiles {
		if err := os.Remove(d.file(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// abandon removes the directory again if this process made it and nobody has
// put anything into it, and releases the lock.
func (d *stateDir) abandon() {
	if d.created {
		_ = os.Remove(d.file(lockName))
		_ = os.Remove(d.path)
	}
	_ = d.close()
}

// close releases the lock.
func (d *stateDir) close() error { return d.lock.Close() }

// Forget removes the stored login from stateDir without telling the
// homeserver, where the device stays listed. It is for when the homeserver is
// gone for good or the state is damaged; else use Client.Logout. The error is
// ErrNotLoggedIn where there is nothing to remove.
func Forget(stateDir string) error {
	d, err := openStateDir(stateDir, false)
	if err != nil {
		return err
	}
	return errors.Join(d.wipe(), d.close())
}
