package matrix

import (
	"context"
	"errors"
	"net/http"
	"time"

	"maunium.net/go/mautrix"
)

// tokens are what a homeserver accepts instead of a password.
type tokens struct {
	access  string
	refresh string    // gets new tokens; empty: these can't be renewed
	expires time.Time // of access; zero: never, or the homeserver did not say
	client  string    // what the OAuth server calls this program; empty: not an OAuth login
}

// maxTokenLife bounds how long a homeserver may say that a token lives.
const maxTokenLife = 365 * 24 * time.Hour

// expiry gives the end of a life that begins now. It has no monotonic part:
// that stands still while the machine sleeps.
func expiry(now time.Time, life time.Duration) time.Time {
	if life <= 0 {
		return time.Time{}
	}
	return now.Round(0).Add(min(life, maxTokenLife))
}

// stored is how expires is stored: in milliseconds, 0 for none.
func (t tokens) stored() int64 {
	if t.expires.IsZero() {
		return 0
	}
	return t.expires.UnixMilli()
}

// loginTokens are the tokens in an answer to /login.
func loginTokens(resp *mautrix.RespLogin, now time.Time) tokens {
	life := min(max(resp.ExpiresInMS, 0), int64(maxTokenLife/time.Millisecond))
	return tokens{
		access:  resp.AccessToken,
		refresh: resp.RefreshToken,
		expires: expiry(now, time.Duration(life)*time.Millisecond),
	}
}

// endDevice ends the device that the tokens belong to. An OAuth server does so
// when the refresh token is revoked (RFC 7009), any other at /logout.
func endDevice(ctx context.Context, api *mautrix.Client, t tokens) error {
	if t.client != "" {
		meta, err := oauthMetadata(ctx, api)
		if err != nil {
			return err
		}
		if meta.RevocationEndpoint != "" {
			api.OAuthSetTokens(t.client, t.refresh, t.access, t.expires)
			return api.OAuthRevokeToken(ctx)
		}
		api.AccessToken = t.access
	}
	_, err := api.Logout(ctx)
	return err
}

// renew asks for new tokens. api carries no token of its own. The homeserver
// keeps the old ones valid until one of the new ones is used, so that asking
// again is safe until then.
func (t tokens) renew(ctx context.Context, api *mautrix.Client) (fresh tokens, err error) {
	if t.client != "" {
		fresh, err = t.renewOAuth(ctx, api)
	} else {
		fresh, err = t.renewClassic(ctx, api)
	}
	if err == nil && fresh.access == "" {
		err = errors.New("the homeserver's answer to the renewal is incomplete")
	}
	if fresh.refresh == "" {
		fresh.refresh = t.refresh
	}
	return fresh, err
}

// renewOAuth asks the token endpoint of the OAuth server (RFC 6749, section 6).
func (t tokens) renewOAuth(ctx context.Context, api *mautrix.Client) (fresh tokens, err error) {
	if _, err := oauthMetadata(ctx, api); err != nil {
		return fresh, err
	}
	now := time.Now()
	api.OAuthSetTokens(t.client, t.refresh, t.access, time.Time{}) // expired: it shall renew
	api.SaveNewToken = func(_ context.Context, refresh, access string, expires time.Time) error {
		fresh = tokens{access: access, refresh: refresh, client: t.client, expires: expiry(now, expires.Sub(now))}
		return nil
	}
	err = api.OAuthRefreshToken(ctx, 0)
	api.OAuthSetTokens("", "", "", time.Time{})
	return fresh, err
}

// renewClassic asks the homeserver itself.
func (t tokens) renewClassic(ctx context.Context, api *mautrix.Client) (fresh tokens, err error) {
	var resp mautrix.RespLogin // whose tokens have the same names
	now := time.Now()
	_, err = api.MakeFullRequest(ctx, mautrix.FullRequest{
		Method:           http.MethodPost,
		URL:              api.BuildClientURL("v3", "refresh"),
		RequestJSON:      map[string]string{"refresh_token": t.refresh},
		ResponseJSON:     &resp,
		SensitiveContent: true,
	})
	return loginTokens(&resp, now), err
}

// renewalRefused reports whether err says that there will be no new tokens,
// now and for good.
func renewalRefused(err error) bool {
	return loggedOut(err) || errors.Is(err, mautrix.MForbidden) || errors.Is(err, mautrix.ErrOAuthInvalidGrant) ||
		errors.Is(err, mautrix.ErrOAuthInvalidClient) || errors.Is(err, mautrix.ErrOAuthUnauthorizedClient)
}
