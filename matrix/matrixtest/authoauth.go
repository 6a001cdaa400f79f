package matrixtest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"maunium.net/go/mautrix/id"
)

// OAuth 2.0 as Matrix has it: metadata and registration (RFC 8414, RFC 7591),
// authorization (RFC 6749, RFC 7636), device codes (RFC 8628), tokens, and
// revocation (RFC 7009).

// The grant types.
const (
	grantCode    = "authorization_code"
	grantRefresh = "refresh_token"
	grantDevice  = "urn:ietf:params:oauth:grant-type:device_code"

	scopeAPI    = "urn:matrix:client:api:*"
	scopeDevice = "urn:matrix:client:device:"

	// pollInterval is how often a device code may be asked for.
	pollInterval = time.Second
)

// authClient is a registered program.
type authClient struct {
	URI       string   `json:"client_uri"`
	Kind      string   `json:"application_type"`
	Auth      string   `json:"token_endpoint_auth_method"`
	Grants    []string `json:"grant_types"`
	Responses []string `json:"response_types"`
	Redirects []string `json:"redirect_uris"`
}

// deviceGrant is a device code and what became of it. AuthServer.mu guards it.
type deviceGrant struct {
	consent  *authConsent
	userCode string
	ends     time.Time
	interval time.Duration
	asked    time.Time
}

// metadata says where everything is.
func (a *AuthServer) metadata(w http.ResponseWriter, _ *http.Request) {
	grants := []string{grantRefresh}
	meta := map[string]any{
		"issuer":                           a.URL() + "/",
		"registration_endpoint":            a.URL() + "/oauth/register",
		"token_endpoint":                   a.URL() + "/oauth/token",
		"revocation_endpoint":              a.URL() + "/oauth/revoke",
		"authorization_endpoint":           a.URL() + "/oauth/authorize",
		"response_types_supported":         []string{"code"},
		"response_modes_supported":         []string{"query", "fragment"},
		"code_challenge_methods_supported": []string{"S256"},
	}
	if a.options.browser {
		grants = append(grants, grantCode)
	}
	if a.options.device {
		grants = append(grants, grantDevice)
		meta["device_authorization_endpoint"] = a.URL() + "/oauth/device"
	}
	meta["grant_types_supported"] = grants
	answer(w, http.StatusOK, meta)
}

// oauthRefuse answers with an error of RFC 6749, section 5.2.
func oauthRefuse(w http.ResponseWriter, code, why string) {
	answer(w, http.StatusBadRequest, map[string]any{"error": code, "error_description": why})
}

// register makes a program known.
func (a *AuthServer) register(w http.ResponseWriter, r *http.Request) {
	c := new(authClient)
	if err := json.NewDecoder(r.Body).Decode(c); err != nil || bearer(r) != "" {
		oauthRefuse(w, "invalid_client_metadata", "not JSON, or with a token")
		return
	}
	switch {
	case !strings.HasPrefix(c.URI, "https://"), c.Kind != "native", c.Auth != "none",
		!slices.Contains(c.Responses, "code"), !slices.Contains(c.Grants, grantRefresh):
		oauthRefuse(w, "invalid_client_metadata", "not a public native client")
		return
	}
	for _, redirect := range c.Redirects {
		u, err := url.Parse(redirect)
		if err != nil || u.Scheme != "http" || u.Host != "127.0.0.1" && u.Host != "[::1]" && u.Host != "localhost" {
			oauthRefuse(w, "invalid_redirect_uri", "a native client comes back to loopback, without a port")
			return
		}
	}
	client := "client_" + rand.Text()
	a.mu.Lock()
	a.clients[client] = c
	a.mu.Unlock()
	answer(w, http.StatusCreated, map[string]any{
		"client_id": client, "client_uri": c.URI, "application_type": c.Kind, "token_endpoint_auth_method": c.Auth,
		"grant_types": c.Grants, "response_types": c.Responses, "redirect_uris": c.Redirects,
	})
}

// knows finds a client that may use a grant type.
func (a *AuthServer) knows(client, grant string) *authClient {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.clients[client]
	if c == nil || !slices.Contains(c.Grants, grant) {
		return nil
	}
	return c
}

// redirects reports whether a client may come back to an address: one that it
// has registered, but for the port (RFC 8252, section 7.3).
func (c *authClient) redirects(back *url.URL) bool {
	without := *back
	without.Host = back.Hostname()
	return back.Port() != "" && slices.Contains(c.Redirects, without.String())
}

// deviceOf gives the device that a scope asks for, or "" for a wrong scope.
func deviceOf(scope string) id.DeviceID {
	var device string
	var api bool
	for s := range strings.FieldsSeq(scope) {
		rest, ok := strings.CutPrefix(s, scopeDevice)
		switch {
		case s == scopeAPI:
			api = true
		case !ok, device != "", len(rest) < 10:
			return ""
		default:
			device = rest
		}
	}
	if !api {
		return ""
	}
	return id.DeviceID(device)
}

// authorize asks the person in the browser.
func (a *AuthServer) authorize(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	client := a.knows(query.Get("client_id"), grantCode)
	back, err := url.Parse(query.Get("redirect_uri"))
	if client == nil || err != nil || !client.redirects(back) {
		http.Error(w, "no such client, or not its redirect_uri", http.StatusBadRequest)
		return
	}
	c := &authConsent{
		redirect: back, oauth: true, state: query.Get("state"), client: query.Get("client_id"),
		scope: query.Get("scope"), challenge: query.Get("code_challenge"),
	}
	mode := query.Get("response_mode")
	sum, err := base64.RawURLEncoding.DecodeString(c.challenge)
	switch {
	case !a.options.browser, query.Get("response_type") != "code":
		c.refuse(w, r, a, "unsupported_response_type")
	case deviceOf(c.scope) == "":
		c.refuse(w, r, a, "invalid_scope")
	case query.Get("code_challenge_method") != "S256", err != nil, len(sum) != sha256.Size, len(c.state) < 20,
		mode != "query" && query.Has("response_mode"):
		c.refuse(w, r, a, "invalid_request")
	default:
		a.ask(w, c)
	}
}

// deviceAuthorization gives a device code.
func (a *AuthServer) deviceAuthorization(w http.ResponseWriter, r *http.Request) {
	c := &authConsent{oauth: true, client: r.PostFormValue("client_id"), scope: r.PostFormValue("scope")}
	switch {
	case a.knows(c.client, grantDevice) == nil:
		oauthRefuse(w, "invalid_client", "no such client")
		return
	case deviceOf(c.scope) == "":
		oauthRefuse(w, "invalid_scope", "not one device and the API")
		return
	}
	text := rand.Text()
	code, d := "device_"+rand.Text(), &deviceGrant{
		consent: c, userCode: text[:4] + "-" + text[4:8], ends: time.Now().Add(a.options.codeLife),
		interval: pollInterval, asked: time.Now(),
	}
	a.mu.Lock()
	a.devices[code] = d
	a.mu.Unlock()
	answer(w, http.StatusOK, map[string]any{
		"device_code": code, "user_code": d.userCode, "verification_uri": a.URL() + "/oauth/link",
		"verification_uri_complete": a.URL() + "/oauth/link?code=" + d.userCode,
		"expires_in":                int(a.options.codeLife.Seconds()), "interval": int(pollInterval.Seconds()),
	})
}

// link is the page at which a person enters a code.
func (a *AuthServer) link(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	var c *authConsent
	for _, d := range a.devices {
		if d.userCode == r.URL.Query().Get("code") && time.Now().Before(d.ends) {
			c = d.consent
		}
	}
	a.mu.Unlock()
	if c == nil {
		http.Error(w, "no such code", http.StatusNotFound)
		return
	}
	a.ask(w, c)
}

// revoke ends the session of a token.
func (a *AuthServer) revoke(w http.ResponseWriter, r *http.Request) {
	token := r.PostFormValue("token")
	a.mu.Lock()
	var found *authSession
	for _, s := range a.sessions {
		if s.client == r.PostFormValue("client_id") && slices.ContainsFunc(s.pairs, func(p *tokenPair) bool {
			return token != "" && (p.access == token || p.refresh == token)
		}) {
			found = s
		}
	}
	a.mu.Unlock()
	if found != nil {
		if err := a.end(r.Context(), found); err != nil {
			answer(w, http.StatusServiceUnavailable, map[string]any{"error": "temporarily_unavailable"})
			return
		}
	}
	answer(w, http.StatusOK, map[string]any{}) // also for a token that is not known
}
