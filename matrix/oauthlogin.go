package matrix

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/id"
	"maunium.net/go/mautrix/oauth"

	"github.com/matrixfs/matrixfs/transfer"
)

// clientURI tells OAuth servers and their users what this program is.
const clientURI = "https://github.com/matrixfs/matrixfs"

// oauthAttempt is an OAuth 2.0 login under way (client-server API, "OAuth 2.0
// API").
type oauthAttempt struct {
	*attempt
	client string // what the server calls this program
	device id.DeviceID
}

// oauthLogin registers this program, has the person agree, and learns who that
// was.
func (a *attempt) oauthLogin(ctx context.Context) (l login, err error) {
	o := &oauthAttempt{attempt: a, device: newDeviceID()}
	if err := o.register(ctx); err != nil {
		return l, err
	}
	var resp *oauth.TokenResponse
	var begun time.Time
	if o.withDeviceCode() {
		resp, begun, err = o.deviceCode(ctx)
	} else {
		resp, begun, err = o.authCode(ctx)
	}
	if err != nil {
		return l, err
	}
	l.tokens = tokens{access: resp.AccessToken, refresh: resp.RefreshToken, client: o.client, expires: expiry(begun, resp.ExpiresIn.Duration)}
	a.api.DeviceID = o.device
	a.api.AccessToken = resp.AccessToken
	if err := o.whoami(ctx, &l); err != nil {
		return l, errors.Join(err, a.remove(ctx, l.tokens))
	}
	return l, nil
}

// withDeviceCode chooses between the two ways.
func (o *oauthAttempt) withDeviceCode() bool {
	switch o.cfg.Method {
	case MethodOAuthDevice:
		return true
	case MethodOAuthBrowser:
		return false
	}
	return o.offers.device() && (!o.offers.browser() || !o.cfg.Person.HasBrowser())
}

// register makes this program known to the server (RFC 7591). Matrix has
// programs do so by themselves, without a secret.
func (o *oauthAttempt) register(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	grants := []oauth.GrantType{oauth.GrantTypeAuthorizationCode, oauth.GrantTypeRefreshToken}
	if o.offers.device() {
		grants = append(grants, oauth.GrantTypeDeviceCode)
	}
	resp, err := o.api.OAuthRegisterClient(limited, &oauth.ClientMetadata{
		ApplicationType:         oauth.ApplicationTypeNative,
		ClientName:              "matrixfs",
		ClientURI:               clientURI,
		GrantTypes:              grants,
		RedirectURIs:            []string{landAt},
		ResponseTypes:           []oauth.ResponseType{oauth.ResponseTypeCode},
		TokenEndpointAuthMethod: oauth.AuthMethodNone,
	})
	if err != nil {
		return oauthError(ctx, err)
	}
	if resp == nil || resp.ClientID == "" || len(resp.ClientID) > maxAddress {
		return errors.New("login failed: the OAuth server has not registered this program")
	}
	o.client = resp.ClientID
	return nil
}

// scopes are what is asked for: the client-server API, as this device.
func (o *oauthAttempt) scopes() oauth.ScopeList {
	return oauth.ScopeList{oauth.ScopeClientAPI, oauth.ScopeDevice(o.device)}
}

// hint names the user to the server, which may fill it in.
func (o *oauthAttempt) hint() id.UserID {
	if strings.HasPrefix(o.cfg.User, "@") {
		return id.UserID(o.cfg.User)
	}
	return ""
}

// whoami learns whose login this is, and names the device.
func (o *oauthAttempt) whoami(ctx context.Context, l *login) error {
	limited, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	resp, err := o.api.Whoami(limited)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("login failed: %s", cause(err))
	case resp.UserID == "" || len(resp.UserID) > maxLabel || resp.DeviceID != o.device:
		return errors.New("login failed: the homeserver has not made the device that was asked for")
	}
	o.api.UserID = resp.UserID
	l.User, l.Device = transfer.UserID(resp.UserID), transfer.DeviceID(resp.DeviceID)
	// OAuth has no place for a name. A device without one works as well.
	_ = o.api.SetDeviceInfo(limited, o.device, &mautrix.ReqDeviceInfo{DisplayName: o.cfg.DeviceName})
	return ctx.Err()
}

// complete makes sure that a token response can be used.
func (o *oauthAttempt) complete(resp *oauth.TokenResponse) error {
	if resp == nil || resp.AccessToken == "" || !strings.EqualFold(resp.TokenType, "bearer") {
		return errors.New("login failed: the OAuth server's answer is incomplete")
	}
	// A server that grants less says so (RFC 6749, section 5.1).
	if granted := resp.Scope.Split(); resp.Scope != "" && !slices.Contains(granted, oauth.ScopeDevice(o.device)) {
		return errors.New("login failed: the OAuth server has not granted a device")
	}
	return nil
}

// abandon ends what a token response has given, when it is not to be used.
func (o *oauthAttempt) abandon(ctx context.Context, resp *oauth.TokenResponse) error {
	if resp == nil || resp.AccessToken == "" && resp.RefreshToken == "" {
		return nil
	}
	return o.remove(ctx, tokens{access: resp.AccessToken, refresh: resp.RefreshToken, client: o.client})
}

// oauthError says what a person can do about a refusal of the OAuth server.
func oauthError(ctx context.Context, err error) error {
	wait, limited := retryAfter(err)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case limited:
		return fmt.Errorf("too many logins: try again in %s", wait.Round(time.Second))
	case errors.Is(err, mautrix.ErrOAuthAccessDenied):
		return ErrDenied
	case errors.Is(err, mautrix.ErrOAuthExpiredToken):
		return ErrTooLate
	}
	return fmt.Errorf("login failed: %s", cause(err))
}

// linger gives a context that ends quitTimeout after ctx does. It is for a
// request that makes a device: with its answer, the device can be removed.
func linger(ctx context.Context) (context.Context, context.CancelFunc) {
	lingering, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	stop := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(quitTimeout)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel()
		case <-lingering.Done():
		}
	})
	return lingering, func() {
		stop()
		cancel()
	}
}
