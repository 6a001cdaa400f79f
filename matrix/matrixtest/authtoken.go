package matrixtest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"time"
)

// token is the token endpoint.
func (a *AuthServer) token(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" || bearer(r) != "" || r.URL.RawQuery != "" {
		oauthRefuse(w, "invalid_request", "not a form, or with a token")
		return
	}
	grant := r.PostFormValue("grant_type")
	if a.knows(r.PostFormValue("client_id"), grant) == nil {
		oauthRefuse(w, "invalid_client", "no such client")
		return
	}
	switch grant {
	case grantCode:
		a.tokenForCode(w, r)
	case grantDevice:
		a.tokenForDevice(w, r)
	case grantRefresh:
		s, p := a.renew(r.PostFormValue("refresh_token"), r.PostFormValue("client_id"))
		if p == nil {
			oauthRefuse(w, "invalid_grant", "the refresh token is not valid")
			return
		}
		a.give(w, s, p)
	default:
		oauthRefuse(w, "unsupported_grant_type", "no such grant type")
	}
}

// give answers with tokens.
func (a *AuthServer) give(w http.ResponseWriter, s *authSession, p *tokenPair) {
	answer(w, http.StatusOK, map[string]any{
		"access_token": p.access, "refresh_token": p.refresh, "token_type": "Bearer",
		"expires_in": int(a.options.life.Seconds()), "scope": s.scope,
	})
}

// tokenForCode gives tokens for an authorization code. A code that comes a
// second time is in wrong hands: then nobody keeps tokens from it (RFC 6749,
// section 4.1.2).
func (a *AuthServer) tokenForCode(w http.ResponseWriter, r *http.Request) {
	code := r.PostFormValue("code")
	a.mu.Lock()
	c := a.codes[code]
	delete(a.codes, code)
	var earlier *authSession
	for _, s := range a.sessions {
		if code != "" && s.code == code {
			earlier = s
		}
	}
	a.mu.Unlock()
	if earlier != nil {
		_ = a.end(r.Context(), earlier)
	}
	if c == nil || c.client != r.PostFormValue("client_id") || c.redirect.String() != r.PostFormValue("redirect_uri") {
		oauthRefuse(w, "invalid_grant", "the code is not valid")
		return
	}
	verifier := r.PostFormValue("code_verifier")
	sum := sha256.Sum256([]byte(verifier))
	if len(verifier) < 43 || len(verifier) > 128 || base64.RawURLEncoding.EncodeToString(sum[:]) != c.challenge {
		oauthRefuse(w, "invalid_grant", "not the code_verifier of the challenge")
		return
	}
	a.giveFirst(w, r, c, code)
}

// giveFirst makes the device that was agreed to, and answers with tokens. A
// client that has gone away meanwhile does not keep the device from being
// made.
func (a *AuthServer) giveFirst(w http.ResponseWriter, r *http.Request, c *authConsent, code string) {
	s, err := a.begin(context.WithoutCancel(r.Context()), c.user, deviceOf(c.scope), "")
	if err != nil {
		oauthRefuse(w, "invalid_grant", err.Error())
		return
	}
	a.mu.Lock()
	s.client, s.scope, s.code = c.client, c.scope, code
	p := a.mint(s, true)
	a.mu.Unlock()
	a.give(w, s, p)
}

// tokenForDevice gives tokens for a device code once the person has agreed.
func (a *AuthServer) tokenForDevice(w http.ResponseWriter, r *http.Request) {
	code := r.PostFormValue("device_code")
	c, refusal := a.pollDevice(code, r.PostFormValue("client_id"))
	if refusal != "" {
		oauthRefuse(w, refusal, "see RFC 8628, section 3.5")
		return
	}
	a.giveFirst(w, r, c, "")
}

// pollDevice says what became of a device code, which is good for one answer.
func (a *AuthServer) pollDevice(code, client string) (c *authConsent, refusal string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	d := a.devices[code]
	if d == nil || d.consent.client != client {
		return nil, "invalid_grant"
	}
	since := time.Since(d.asked)
	d.asked = time.Now()
	switch {
	case time.Now().After(d.ends):
		return nil, "expired_token"
	case since < d.interval*9/10: // clocks and networks
		d.interval += 5 * time.Second
		return nil, "slow_down"
	case d.consent.denied:
		delete(a.devices, code)
		return nil, "access_denied"
	case d.consent.user.Name == "":
		return nil, "authorization_pending"
	}
	delete(a.devices, code)
	return d.consent, ""
}
