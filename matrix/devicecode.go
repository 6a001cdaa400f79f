package matrix

import (
	"context"
	"errors"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/oauth"
)

// How often a server is asked whether the person has agreed (RFC 8628, section
// 3.5).
const (
	// usualInterval is for a server that does not say.
	usualInterval = 5 * time.Second
	// maxInterval bounds what a server may say.
	maxInterval = time.Minute
	// slowDown is added whenever the server asks to slow down.
	slowDown = 5 * time.Second
	// maxUserCode bounds the code that a person types, in bytes.
	maxUserCode = 64
)

// deviceCode shows the person a code, to be entered in a browser on any
// machine, and asks for the tokens until they have done so. begun is when the
// tokens were asked for.
func (o *oauthAttempt) deviceCode(ctx context.Context) (resp *oauth.TokenResponse, begun time.Time, err error) {
	code, err := o.askCode(ctx)
	if err != nil {
		return nil, begun, err
	}
	o.cfg.Person.Show(Visit{Address: code.VerificationURI, Code: code.UserCode})
	life := browserTimeout
	if code.ExpiresIn.Duration > 0 {
		life = min(life, code.ExpiresIn.Duration)
	}
	waiting, cancel := context.WithTimeout(ctx, life)
	defer cancel()
	interval := usualInterval
	if code.Interval.Duration > 0 {
		interval = min(code.Interval.Duration, maxInterval)
	}
	for {
		if pause(waiting, interval) != nil {
			if ctx.Err() != nil {
				return nil, begun, ctx.Err()
			}
			return nil, begun, ErrTooLate
		}
		begun = time.Now()
		resp, err = o.pollCode(ctx, code.DeviceCode)
		wait, limited := retryAfter(err)
		switch {
		case ctx.Err() != nil:
			return nil, begun, errors.Join(ctx.Err(), o.abandon(ctx, resp))
		case err == nil:
			if err := o.complete(resp); err != nil {
				return nil, begun, errors.Join(err, o.abandon(ctx, resp))
			}
			return resp, begun, nil
		case errors.Is(err, mautrix.ErrOAuthAuthorizationPending):
		case errors.Is(err, mautrix.ErrOAuthSlowDown), limited, unreachable(err):
			interval = max(min(interval+slowDown, maxInterval), min(wait, maxInterval))
		default:
			return nil, begun, oauthError(ctx, err)
		}
	}
}

// askCode asks the server for a code to show.
func (o *oauthAttempt) askCode(ctx context.Context) (*oauth.DeviceCodeResponse, error) {
	limited, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	code, err := o.api.OAuthGenerateDeviceCode(limited, oauth.GenerateDeviceCodeParams{
		Scopes: o.scopes(), UserIDHint: o.hint(), ClientID: o.client,
	})
	if err != nil {
		return nil, oauthError(ctx, err)
	}
	if code == nil || code.DeviceCode == "" || code.UserCode == "" || len(code.UserCode) > maxUserCode ||
		!asSafe(code.VerificationURI, o.api.HomeserverURL) {
		return nil, errors.New("login failed: the OAuth server's answer is incomplete")
	}
	if asSafe(code.VerificationURIComplete, o.api.HomeserverURL) {
		code.VerificationURI = code.VerificationURIComplete
	}
	return code, nil
}

// pollCode asks once whether the person has agreed.
func (o *oauthAttempt) pollCode(ctx context.Context, code string) (*oauth.TokenResponse, error) {
	lingering, cancel := linger(ctx)
	defer cancel()
	return o.api.OAuthPollDeviceCode(lingering, oauth.PollDeviceCodeParams{DeviceCode: code, ClientID: o.client})
}
