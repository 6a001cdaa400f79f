package matrix

import (
	"context"
	"errors"
	"net/url"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/oauth"
)

// authCode sends the person to the OAuth server, whose browser brings back a
// code, and gets tokens for it (RFC 6749, section 4.1). begun is when they were
// asked for.
func (o *oauthAttempt) authCode(ctx context.Context) (resp *oauth.TokenResponse, begun time.Time, err error) {
	land, err := newLanding()
	if err != nil {
		return nil, begun, err
	}
	defer land.close()
	asked, err := o.api.OAuthGetAuthorizationURL(ctx, oauth.GetAuthorizationURLParams{
		RedirectURI:  land.address,
		Scopes:       o.scopes(),
		UserIDHint:   o.hint(),
		ClientID:     o.client,
		ResponseMode: oauth.ResponseModeQuery,
	})
	if err != nil {
		return nil, begun, oauthError(ctx, err)
	}
	address, err := withState(asked.URL, land.state)
	if err != nil {
		return nil, begun, err
	}
	query, err := land.wait(ctx, o.cfg.Person, address)
	if err != nil {
		return nil, begun, err
	}
	if err := o.checkComeback(ctx, query); err != nil {
		return nil, begun, err
	}
	begun = time.Now()
	resp, err = o.exchange(ctx, oauth.ExchangeTokenParams{
		CodeVerifier: asked.CodeVerifier,
		RedirectURI:  land.address,
		Code:         query.Get("code"),
		ClientID:     o.client,
	})
	return resp, begun, err
}

// withState puts our state into the address: that of mautrix is a counter,
// which anybody can guess.
func withState(address, state string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", errMetadata
	}
	query := u.Query()
	query.Set("state", state)
	u.RawQuery = query.Encode()
	return u.String(), nil
}

// checkComeback makes sure that the browser has brought a code. One that names
// its server must name the one it was sent to (RFC 9207).
func (o *oauthAttempt) checkComeback(ctx context.Context, query url.Values) error {
	switch refusal := query.Get("error"); {
	case query.Has("iss") && query.Get("iss") != o.offers.oauth.Issuer:
		return errors.New("login failed: the answer in the browser is from another server")
	case refusal != "":
		return oauthError(ctx, &mautrix.RespError{ErrCode: cutLabel(refusal), OAuth: true})
	case query.Get("code") == "":
		return ErrDenied
	}
	return nil
}

// exchange gets the tokens for a code. Where the answer is lost, the code is
// sent again: a server that has seen it then takes back what it gave (RFC
// 6749, section 4.1.2), any other gives what is then revoked.
func (o *oauthAttempt) exchange(ctx context.Context, params oauth.ExchangeTokenParams) (*oauth.TokenResponse, error) {
	lingering, cancel := linger(ctx)
	defer cancel()
	resp, err := o.api.OAuthExchangeToken(lingering, params)
	if err != nil && unreachable(err) {
		limited, stop := context.WithTimeout(context.WithoutCancel(ctx), quitTimeout)
		defer stop()
		if again, failed := o.api.OAuthExchangeToken(limited, params); failed == nil {
			resp = again
		}
	}
	if err == nil {
		err = o.complete(resp)
	} else {
		err = oauthError(ctx, err)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, errors.Join(err, o.abandon(ctx, resp))
	}
	return resp, nil
}
