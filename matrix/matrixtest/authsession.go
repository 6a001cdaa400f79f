package matrixtest

import (
	"context"
	"crypto/rand"
	"net/http"
	"slices"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/id"
)

// authSession is a login at an AuthServer. AuthServer.mu guards it.
type authSession struct {
	user   id.UserID
	device id.DeviceID
	home   string // the access token at the homeserver
	client string // empty: not an OAuth login
	scope  string
	code   string // the authorization code it came from, if it did

	// pairs are the tokens that are valid, oldest first. As the specification
	// asks, the use of one ends those before it, and not sooner: a client may
	// have lost the answer with the new ones.
	pairs []*tokenPair
}

// tokenPair is what a client gets together.
type tokenPair struct {
	access, refresh string
	ends            time.Time // of access; zero: never
}

// begin makes a device at the homeserver, and a session for it.
func (a *AuthServer) begin(ctx context.Context, user User, device id.DeviceID, name string) (*authSession, error) {
	return a.beginAs(ctx, user, &mautrix.ReqLogin{
		Type:                     mautrix.AuthTypePassword,
		Identifier:               mautrix.UserIdentifier{Type: mautrix.IdentifierTypeUser, User: user.Name},
		Password:                 user.Password,
		DeviceID:                 device,
		InitialDeviceDisplayName: name,
	})
}

// beginAs makes a session from a login at the homeserver.
func (a *AuthServer) beginAs(ctx context.Context, user User, req *mautrix.ReqLogin) (*authSession, error) {
	api, err := mautrix.NewClient(a.home, "", "")
	if err != nil {
		return nil, err
	}
	api.Client = user.client()
	resp, err := api.Login(ctx, req)
	if err != nil {
		return nil, err
	}
	s := &authSession{user: resp.UserID, device: resp.DeviceID, home: resp.AccessToken}
	a.mu.Lock()
	defer a.mu.Unlock()
	// A login with the id of a device replaces its tokens.
	a.sessions = slices.DeleteFunc(a.sessions, func(old *authSession) bool {
		return old.user == s.user && old.device == s.device
	})
	a.sessions = append(a.sessions, s)
	return s, nil
}

// client gives the user's connections, or new ones where there are none.
func (u User) client() *http.Client {
	if u.API != nil {
		return u.API.Client
	}
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
}

// mint gives a session new tokens, after those that are valid. The caller
// holds mu.
func (a *AuthServer) mint(s *authSession, renewable bool) *tokenPair {
	p := &tokenPair{access: "access_" + rand.Text()}
	if renewable {
		p.refresh, p.ends = "refresh_"+rand.Text(), time.Now().Add(a.options.life)
	}
	s.pairs = append(s.pairs, p)
	return p
}

// sessionOf gives the session of an access token, which counts as its use. It
// is nil if the token is not valid; expired tells whether it was. The caller
// holds mu.
func (a *AuthServer) sessionOf(access string) (s *authSession, expired bool) {
	for _, s := range a.sessions {
		for i, p := range s.pairs {
			switch {
			case access == "" || p.access != access:
			case !p.ends.IsZero() && time.Now().After(p.ends):
				return nil, true
			default:
				s.pairs = s.pairs[i:]
				return s, false
			}
		}
	}
	return nil, false
}

// renew gives new tokens for a refresh token of that client, which counts as
// its use. Those that it gave before, and that nobody has used, are void. It
// is nil if the refresh token is not valid.
func (a *AuthServer) renew(refresh, client string) (*authSession, *tokenPair) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.sessions {
		for i, p := range s.pairs {
			if refresh != "" && p.refresh == refresh && s.client == client {
				s.pairs = s.pairs[i : i+1]
				a.renewals++
				return s, a.mint(s, true)
			}
		}
	}
	return nil, nil
}

// drop forgets a session. The caller holds mu.
func (a *AuthServer) drop(s *authSession) {
	s.pairs = nil
	a.sessions = slices.DeleteFunc(a.sessions, func(other *authSession) bool { return other == s })
}

// end ends a session, and its device.
func (a *AuthServer) end(ctx context.Context, s *authSession) error {
	a.mu.Lock()
	a.drop(s)
	a.mu.Unlock()
	api, err := mautrix.NewClient(a.home, s.user, s.home)
	if err != nil {
		return err
	}
	api.Client = User{}.client()
	_, err = api.Logout(ctx)
	return err
}

// EndAll ends all sessions and their devices, as their users or an
// administrator could.
func (a *AuthServer) EndAll(ctx context.Context) error {
	a.mu.Lock()
	list := slices.Clone(a.sessions)
	a.mu.Unlock()
	for _, s := range list {
		if err := a.end(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// Expire ends the life of all access tokens. Refresh tokens stay valid.
func (a *AuthServer) Expire() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.sessions {
		for _, p := range s.pairs {
			p.ends = time.Now().Add(-time.Second)
		}
	}
}

// Renewals tells how often tokens have been renewed.
func (a *AuthServer) Renewals() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.renewals
}

// Tokens gives all tokens that are valid now.
func (a *AuthServer) Tokens() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []string
	for _, s := range a.sessions {
		list = append(list, s.home)
		for _, p := range s.pairs {
			list = append(list, p.access, p.refresh)
		}
	}
	return slices.DeleteFunc(list, func(token string) bool { return token == "" })
}
