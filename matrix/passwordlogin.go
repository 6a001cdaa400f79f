package matrix

import (
	"context"
	"errors"
	"fmt"
	"time"

	"maunium.net/go/mautrix"

	"github.com/matrixfs/matrixfs/transfer"
)

// passwordLogin asks for a new device with a password.
func (a *attempt) passwordLogin(ctx context.Context) (login, error) {
	return a.classicLogin(ctx, &mautrix.ReqLogin{
		Type:       mautrix.AuthTypePassword,
		Identifier: mautrix.UserIdentifier{Type: mautrix.IdentifierTypeUser, User: a.cfg.User},
		Password:   a.cfg.Password,
	})
}

// classicLogin asks for a new device with a request to /login. The homeserver
// may have made it even where its answer did not reach us or came when ctx had
// ended; then the device is removed again.
func (a *attempt) classicLogin(ctx context.Context, req *mautrix.ReqLogin) (l login, err error) {
	req.DeviceID = newDeviceID()
	req.InitialDeviceDisplayName = a.cfg.DeviceName
	req.RefreshToken = true
	req.StoreCredentials = true
	asking, cancel := ctx, context.CancelFunc(func() {})
	if req.Token != "" {
		// It works once, so asking again would find nothing.
		asking, cancel = linger(ctx)
	}
	defer cancel()
	resp, err := tryLogin(asking, a.api, req, requestTimeout)
	if err == nil && ctx.Err() == nil {
		return login{
			Account: Account{User: transfer.UserID(resp.UserID), Device: transfer.DeviceID(resp.DeviceID)},
			tokens:  loginTokens(resp, time.Now()),
		}, nil
	}
	if err != nil && unreachable(err) {
		// The same device id again: this finds the device that was made, or
		// makes the one that is removed at once.
		detached := context.WithoutCancel(ctx)
		_, again := tryLogin(detached, a.api, req, quitTimeout)
		if again != nil {
			a.api.AccessToken = ""
		}
	}
	if err = loginError(err); ctx.Err() != nil {
		err = ctx.Err()
	}
	if a.api.AccessToken != "" {
		err = errors.Join(err, a.remove(ctx, tokens{access: a.api.AccessToken}))
	}
	return l, err
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
