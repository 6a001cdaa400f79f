package matrix

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/id"

	"github.com/matrixfs/matrixfs/transfer"
)

// LoginConfig says who logs in where.
type LoginConfig struct {
	StateDir   string // made if it is not there
	Homeserver string // a URL
	User       string // "alice" or "@alice:example.org"
	Password   string
	DeviceName string       // shown in lists of devices; empty: "matrixfs on HOST"
	Logger     *slog.Logger // nil: discards
}

// Login logs in with a password, as a new device, and stores the login in the
// state directory. If it fails it leaves nothing behind, neither there nor at
// the homeserver. Its errors are ErrLoggedIn, ErrInUse, ErrState, ErrAddress,
// ErrNoServer, ErrUser, ErrPassword, or say what else is wrong.
func Login(ctx context.Context, cfg LoginConfig) (*Account, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	homeserver, err := parseHomeserver(cfg.Homeserver)
	if err != nil {
		return nil, err
	}
	if cfg.User = strings.TrimSpace(cfg.User); cfg.User == "" || len(cfg.User) > maxLabel {
		return nil, ErrUser
	}
	if cfg.Password == "" {
		return nil, fmt.Errorf("%w: the password is empty", ErrPassword)
	}
	dir, err := openStateDir(cfg.StateDir, true)
	if err != nil {
		return nil, err
	}
	account, err := loginTo(ctx, dir, homeserver, cfg)
	if err != nil {
		dir.abandon()
		return nil, err
	}
	return account, dir.close()
}

func loginTo(ctx context.Context, dir *stateDir, homeserver string, cfg LoginConfig) (*Account, error) {
	if err := checkVacant(ctx, dir); err != nil {
		return nil, err
	}
	api, err := newAPI(homeserver, "", "", cfg.Logger)
	if err != nil {
		return nil, ErrAddress
	}
	defer api.Client.CloseIdleConnections()
	if err := probe(ctx, api, homeserver); err != nil {
		return nil, err
	}
	l, err := passwordLogin(ctx, api, cfg)
	if err != nil {
		return nil, err
	}
	l.Homeserver = homeserver
	if err := storeLogin(ctx, dir, api, l); err != nil {
		return nil, errors.Join(err, dir.wipe(), logout(ctx, api))
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

// probe makes sure that there is a homeserver, and that it takes passwords.
func probe(ctx context.Context, api *mautrix.Client, homeserver string) error {
	limited, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	versions, err := api.Versions(limited)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		why := cause(err)
		if status(err) != 0 {
			why = "it is some other kind of server"
		}
		return fmt.Errorf("%w: %s: %s", ErrNoServer, homeserver, why)
	}
	if versions == nil || len(versions.Versions) == 0 {
		return fmt.Errorf("%w: %s: it is some other kind of server", ErrNoServer, homeserver)
	}
	flows, err := api.GetLoginFlows(limited)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("%w: %s: %s", ErrNoServer, homeserver, cause(err))
	}
	if !flows.HasFlow(mautrix.AuthTypePassword) {
		return errors.New("this homeserver does not offer login with a password")
	}
	return nil
}

// passwordLogin asks for a new device. The homeserver may have made it even
// where its answer did not reach us or came when ctx had ended; then the
// device is removed again.
func passwordLogin(ctx context.Context, api *mautrix.Client, cfg LoginConfig) (l login, err error) {
	if cfg.DeviceName == "" {
		cfg.DeviceName = "matrixfs"
		if host, err := os.Hostname(); err == nil {
			cfg.DeviceName += " on " + host
		}
	}
	req := &mautrix.ReqLogin{
		Type:                     mautrix.AuthTypePassword,
		Identifier:               mautrix.UserIdentifier{Type: mautrix.IdentifierTypeUser, User: cfg.User},
		Password:                 cfg.Password,
		DeviceID:                 newDeviceID(),
		InitialDeviceDisplayName: cutLabel(cfg.DeviceName),
		StoreCredentials:         true,
	}
	resp, err := tryLogin(ctx, api, req, requestTimeout)
	if err == nil && ctx.Err() == nil {
		return login{
			Account: Account{User: transfer.UserID(resp.UserID), Device: transfer.DeviceID(resp.DeviceID)},
			token:   resp.AccessToken,
		}, nil
	}
	if err != nil && unreachable(err) {
		// The same device id again: this finds the device that was made, or
		// makes the one that is removed at once.
		detached := context.WithoutCancel(ctx)
		_, again := tryLogin(detached, api, req, quitTimeout)
		if again != nil {
			api.AccessToken = ""
		}
	}
	if api.AccessToken != "" {
		if gone := logout(ctx, api); gone != nil {
			return l, errors.Join(err, gone)
		}
	}
	if ctx.Err() != nil {
		return l, ctx.Err()
	}
	return l, loginError(err)
}

// tryLogin makes one login request, and obeys a rate limit once.
func tryLogin(ctx context.Context, api *mautrix.Client, req *mautrix.ReqLogin, limit time.Duration) (*mautrix.RespLogin, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	resp, err := api.Login(ctx, req)
	if wait, ok := retryAfter(err); ok && wait < limit {
		if pause(ctx, wait) != nil {
			return nil, err
		}
		resp, err = api.Login(ctx, req)
	}
	if err == nil && (resp.AccessToken == "" || resp.UserID == "" || resp.DeviceID == "") {
		return nil, errors.New("the homeserver's answer to the login is incomplete")
	}
	return resp, err
}

// loginError says what a person can do about a refused login.
func loginError(err error) error {
	wait, limited := retryAfter(err)
	switch {
	case limited:
		return fmt.Errorf("too many logins: try again in %s", wait.Round(time.Second))
	case errors.Is(err, mautrix.MUserDeactivated):
		return fmt.Errorf("%w: this account has been deactivated", ErrPassword)
	case errors.Is(err, mautrix.MInvalidUsername):
		return ErrUser
	case errors.Is(err, mautrix.MForbidden), status(err) == 401:
		return ErrPassword
	}
	return fmt.Errorf("login failed: %s", cause(err))
}

// logout removes the device that api is logged in as. It works after ctx has
// ended too, for a few seconds.
func logout(ctx context.Context, api *mautrix.Client) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), quitTimeout)
	defer cancel()
	if _, err := api.Logout(ctx); err != nil && !loggedOut(err) {
		return fmt.Errorf("the new device %s could not be removed from the account: %s", api.DeviceID, cause(err))
	}
	return nil
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

// newDeviceID makes an id like those that homeservers make. Choosing it here
// is what lets a device be found again whose making was not confirmed.
func newDeviceID() id.DeviceID {
	return id.DeviceID(rand.Text()[:10])
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
