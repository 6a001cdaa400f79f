package matrix

import (
	"context"
	"errors"
	"net/url"

	"maunium.net/go/mautrix"
)

// ssoLogin sends the person to the homeserver's single sign-on, whose browser
// brings back a token that is good for one login (client-server API, "SSO
// client login/authentication"). The protocol has no state; so the address to
// come back to has one.
func (a *attempt) ssoLogin(ctx context.Context) (l login, err error) {
	land, err := newLanding()
	if err != nil {
		return l, err
	}
	defer land.close()
	back := land.address + "?" + url.Values{"state": {land.state}}.Encode()
	address := a.api.BuildURLWithQuery(mautrix.ClientURLPath{"v3", "login", "sso", "redirect"},
		map[string]string{"redirectUrl": back})
	query, err := land.wait(ctx, a.cfg.Person, address)
	if err != nil {
		return l, err
	}
	token := query.Get("loginToken")
	if token == "" {
		return l, ErrDenied
	}
	l, err = a.classicLogin(ctx, &mautrix.ReqLogin{Type: mautrix.AuthTypeToken, Token: token})
	if errors.Is(err, ErrPassword) {
		err = ErrDenied // it was not about a password
	}
	return l, err
}
