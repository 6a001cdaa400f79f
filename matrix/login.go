package matrix

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"maunium.net/go/mautrix"

	"github.com/matrixfs/matrixfs/transfer"
)

// LoginConfig says who logs in where, and how.
type LoginConfig struct {
	StateDir   string // made if it is not there
	Homeserver string // a URL; empty: the server of User says where it is
	User       string // "alice" or "@alice:example.org"; in a browser it may be empty if Homeserver is not
	Method     Method
	Password   string       // for MethodPassword
	Person     Person       // for all other methods
	DeviceName string       // shown in lists of devices; empty: "matrixfs on HOST"
	Logger     *slog.Logger // nil: discards
}

// check makes sure that the login can be tried, and fills what is empty.
func (cfg *LoginConfig) check() (err error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Homeserver != "" {
		if cfg.Homeserver, err = parseHomeserver(cfg.Homeserver); err != nil {
			return err
		}
	}
	cfg.User = strings.TrimSpace(cfg.User)
	switch {
	case len(cfg.User) > maxLabel, cfg.User == "" && cfg.Method == MethodPassword:
		return ErrUser
	case cfg.Homeserver == "" && serverOf(cfg.User) == "":
		return ErrNoAddress
	case cfg.Method == MethodPassword && cfg.Password == "":
		return fmt.Errorf("%w: the password is empty", ErrPassword)
	case cfg.Method != MethodPassword && cfg.Person == nil:
		return errors.New("matrix: a login in a browser needs a person")
	}
	if cfg.DeviceName == "" {
		cfg.DeviceName = "matrixfs"
		if host, err := os.Hostname(); err == nil {
			cfg.DeviceName += " on " + host
		}
	}
	cfg.DeviceName = cutLabel(cfg.DeviceName)
	return nil
}

// expects makes sure that the account is the one that was asked for: in a
// browser, a person may be somebody else than on the command line.
func (cfg *LoginConfig) expects(got transfer.UserID) error {
	want := cfg.User
	local, _, _ := strings.Cut(strings.TrimPrefix(string(got), "@"), ":")
	if want == "" || strings.EqualFold(want, string(got)) || strings.EqualFold(want, local) {
		return nil
	}
	return fmt.Errorf("%w: %s, not %s: log out there, or give --user %s", ErrOtherUser, got, want, got)
}

// Login logs in as a new device, and stores the login in the state directory.
// If it fails it leaves nothing behind, neither there nor at the homeserver.
// Its errors are ErrLoggedIn, ErrInUse, ErrState, ErrAddress, ErrNoAddress,
// ErrNoServer, ErrUser, ErrPassword, ErrMethod, ErrDenied, ErrTooLate,
// ErrOtherUser, or say what else is wrong.
func Login(ctx context.Context, cfg LoginConfig) (*Account, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	dir, err := openStateDir(cfg.StateDir, true)
	if err != nil {
		return nil, err
	}
	account, err := loginTo(ctx, dir, cfg)
	if err != nil {
		dir.abandon()
		return nil, err
	}
	return account, dir.close()
}

func loginTo(ctx context.Context, dir *stateDir, cfg LoginConfig) (*Account, error) {
	if err := checkVacant(ctx, dir); err != nil {
		return nil, err
	}
	a := &attempt{cfg: cfg}
	if err := a.find(ctx); err != nil {
		return nil, err
	}
	defer a.api.Client.CloseIdleConnections()
	l, err := a.login(ctx)
	if err != nil {
		return nil, err
	}
	l.Homeserver = a.cfg.Homeserver
	if err = cfg.expects(l.User); err == nil {
		err = storeLogin(ctx, dir, a.api, l)
	}
	if err != nil {
		return nil, errors.Join(err, dir.wipe(), a.remove(ctx, l.tokens))
	}
	return &l.Account, nil
}

// checkVacant makes sure that there is no login in the directory yet.
func checkVacant(ctx context.Context, dir *stateDir) error {
	if info, err := os.Stat(dir.file(storeName)); errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		return nil
	}
	s, err := openStore(ctx, dir.file(storeName), false)
	if err != nil {
		return stateError(ctx, dir, err)
	}
	_, err = s.loadLogin(ctx)
	err = errors.Join(err, s.close())
	switch {
	case err == nil:
		return ErrLoggedIn
	case errors.Is(err, ErrNotLoggedIn):
		return nil
	}
	return stateError(ctx, dir, err)
}

// storeLogin stores the login, and uploads the keys of the new device, so that
// what is encrypted from now on is encrypted for it too.
func storeLogin(ctx context.Context, dir *stateDir, api *mautrix.Client, l login) error {
	s, err := openStore(ctx, dir.file(storeName), true)
	if err != nil {
		return fmt.Errorf("can't store the login: %w", err)
	}
	err = s.saveLogin(ctx, l)
	if err == nil {
		err = publishKeys(ctx, dir, s, api, l)
	}
	if err := errors.Join(err, s.close()); err != nil {
		return fmt.Errorf("can't store the login: %w", err)
	}
	return nil
}

func publishKeys(ctx context.Context, dir *stateDir, s *store, api *mautrix.Client, l login) error {
	key, err := dir.loadStoreKey()
	if err != nil {
		return err
	}
	k, err := openKeyring(ctx, s, api, newRoster(l.User, policy{}), key, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer k.close()
	if err := k.publish(ctx); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("the homeserver does not take the device's keys: %s", cause(err))
	}
	return nil
}

// pause waits, or returns the error of ctx if that ends first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
