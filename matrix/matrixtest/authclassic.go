package matrixtest

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"

	"maunium.net/go/mautrix"
)

// The login of the client-server API: password, single sign-on, and their
// refresh tokens.

// flows tells which logins there are.
func (a *AuthServer) flows(w http.ResponseWriter, _ *http.Request) {
	var flows []map[string]any
	if a.options.password {
		flows = append(flows, map[string]any{"type": "m.login.password"})
	}
	if a.options.sso {
		flows = append(flows, map[string]any{"type": "m.login.sso"}, map[string]any{"type": "m.login.token"})
	}
	answer(w, http.StatusOK, map[string]any{"flows": flows})
}

// login makes a device.
func (a *AuthServer) login(w http.ResponseWriter, r *http.Request) {
	var req mautrix.ReqLogin
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		answer(w, http.StatusBadRequest, map[string]any{"errcode": "M_NOT_JSON", "error": err.Error()})
		return
	}
	var s *authSession
	var err error
	switch {
	case req.Type == mautrix.AuthTypePassword && a.options.password:
		s, err = a.beginAs(r.Context(), User{}, &req)
	case req.Type == mautrix.AuthTypeToken && a.options.sso:
		a.mu.Lock()
		user, ok := a.logins[req.Token]
		delete(a.logins, req.Token)
		a.mu.Unlock()
		if !ok {
			answer(w, http.StatusForbidden, map[string]any{"errcode": "M_FORBIDDEN", "error": "the login token is not known"})
			return
		}
		s, err = a.begin(r.Context(), user, req.DeviceID, req.InitialDeviceDisplayName)
	default:
		answer(w, http.StatusBadRequest, map[string]any{"errcode": "M_UNKNOWN", "error": "no such login type"})
		return
	}
	if refusal := (mautrix.HTTPError{}); errors.As(err, &refusal) && refusal.RespError != nil {
		answer(w, refusal.RespError.StatusCode, map[string]any{"errcode": refusal.RespError.ErrCode, "error": refusal.RespError.Err})
		return
	}
	if err != nil {
		answer(w, http.StatusBadGateway, map[string]any{"errcode": "M_UNKNOWN", "error": err.Error()})
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	body := pairBody(a.mint(s, req.RefreshToken), a.options.life.Milliseconds())
	body["user_id"], body["device_id"] = s.user, s.device
	answer(w, http.StatusOK, body)
}

// pairBody is how the client-server API gives tokens.
func pairBody(p *tokenPair, life int64) map[string]any {
	body := map[string]any{"access_token": p.access}
	if p.refresh != "" {
		body["refresh_token"], body["expires_in_ms"] = p.refresh, life
	}
	return body
}

// refreshClassic gives new tokens for a refresh token.
func (a *AuthServer) refreshClassic(w http.ResponseWriter, r *http.Request) {
	var req struct {
		Token string `json:"refresh_token"`
	}
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil || bearer(r) != "" {
		answer(w, http.StatusBadRequest, map[string]any{"errcode": "M_BAD_JSON", "error": "only a refresh token is wanted"})
		return
	}
	_, p := a.renew(req.Token, "")
	if p == nil {
		answer(w, http.StatusUnauthorized, map[string]any{"errcode": "M_UNKNOWN_TOKEN", "error": "the refresh token is not known"})
		return
	}
	answer(w, http.StatusOK, pairBody(p, a.options.life.Milliseconds()))
}

// ssoRedirect sends the browser to the single sign-on, which is one page here.
func (a *AuthServer) ssoRedirect(w http.ResponseWriter, r *http.Request) {
	back, err := url.Parse(r.URL.Query().Get("redirectUrl"))
	if err != nil || back.Host == "" {
		http.Error(w, "no redirectUrl", http.StatusBadRequest)
		return
	}
	a.ask(w, &authConsent{redirect: back})
}
