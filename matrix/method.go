package matrix

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/id"
)

// Method is a way to log in.
type Method int

// The methods.
const (
	// MethodPassword sends the password to the homeserver.
	MethodPassword Method = iota
	// MethodSSO is the homeserver's single sign-on, in a browser.
	MethodSSO
	// MethodOAuth is OAuth 2.0: in a browser of this machine if there is one,
	// else with a code that is entered on any machine, if the homeserver
	// offers that.
	MethodOAuth
	// MethodOAuthBrowser is OAuth 2.0 with an authorization code (RFC 6749
	// and 8252) and PKCE (RFC 7636).
	MethodOAuthBrowser
	// MethodOAuthDevice is OAuth 2.0 with a device code (RFC 8628).
	MethodOAuthDevice
)

// attempt is a login under way. It belongs to Login.
type attempt struct {
	cfg    LoginConfig
	api    *mautrix.Client // the homeserver; has the credentials once there are any
	offers offers
}

// find finds the homeserver, and makes sure that it offers the method.
func (a *attempt) find(ctx context.Context) (err error) {
	if a.cfg.Homeserver == "" {
		if a.cfg.Homeserver, err = discover(ctx, newHTTP(), serverOf(a.cfg.User)); err != nil {
			return err
		}
	}
	if a.api, err = newAPI(a.cfg.Homeserver, "", "", a.cfg.Logger); err != nil {
		return ErrAddress
	}
	if a.offers, err = probe(ctx, a.api, a.cfg.Homeserver); err == nil {
		err = a.offers.check(a.cfg.Method)
	}
	if err != nil {
		a.api.Client.CloseIdleConnections()
	}
	return err
}

// login makes a new device in the way that was asked for. If it fails, there
// is no device, as far as that can be known.
func (a *attempt) login(ctx context.Context) (login, error) {
	switch a.cfg.Method {
	case MethodPassword:
		return a.passwordLogin(ctx)
	case MethodSSO:
		return a.ssoLogin(ctx)
	case MethodOAuth, MethodOAuthBrowser, MethodOAuthDevice:
		return a.oauthLogin(ctx)
	}
	return login{}, errors.New("matrix: unknown login method")
}

// remove ends the device that has just been made. It works after ctx has
// ended too, for a few seconds.
func (a *attempt) remove(ctx context.Context, t tokens) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), quitTimeout)
	defer cancel()
	if err := endDevice(ctx, a.api, t); err != nil && !loggedOut(err) {
		return fmt.Errorf("the new device %s could not be removed from the account: %s", a.api.DeviceID, cause(err))
	}
	return nil
}

// newDeviceID makes an id like those that homeservers make. Choosing it here
// is what lets a device be found again whose making was not confirmed.
func newDeviceID() id.DeviceID {
	return id.DeviceID(rand.Text()[:10])
}
