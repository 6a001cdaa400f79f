package matrixtest

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// AuthServer stands in front of a homeserver and adds the ways to log in that
// Dendrite lacks, as the specification and the RFCs describe them and as
// strictly: single sign-on, OAuth 2.0, and tokens that end and are renewed. It
// knows each session by tokens of its own, and puts the homeserver's in their
// place; all else is the real server. As a Proxy, it also fails as a test
// wants it to. Its methods are safe for concurrent use.
type AuthServer struct {
	*Proxy
	options authOptions
	home    string // the URL of the homeserver
	pass    *httputil.ReverseProxy

	// mu guards what follows.
	mu       sync.Mutex
	sessions []*authSession
	clients  map[string]*authClient  // by client_id
	consents map[string]*authConsent // by the id in the page's form
	codes    map[string]*authConsent // by authorization code
	devices  map[string]*deviceGrant // by device_code
	logins   map[string]User         // by loginToken; each is good for once
	renewals int
}

// AuthOption changes what an AuthServer offers.
type AuthOption func(*authOptions)

type authOptions struct {
	password, sso, browser, device bool
	life                           time.Duration // of access tokens
	codeLife                       time.Duration // of device codes
}

// WithTokenLife makes access tokens end after a time, and gives refresh tokens.
// The usual life is 5 minutes.
func WithTokenLife(life time.Duration) AuthOption { return func(o *authOptions) { o.life = life } }

// WithCodeLife makes device codes end after a time.
func WithCodeLife(life time.Duration) AuthOption { return func(o *authOptions) { o.codeLife = life } }

// Offering has the server offer only these: "password", "sso", "browser" and
// "device" (the last two are OAuth 2.0).
func Offering(what ...string) AuthOption {
	return func(o *authOptions) {
		o.password, o.sso = slices.Contains(what, "password"), slices.Contains(what, "sso")
		o.browser, o.device = slices.Contains(what, "browser"), slices.Contains(what, "device")
	}
}

// NewAuthServer starts an AuthServer in front of the homeserver at home. It
// ends with the test.
func NewAuthServer(t testing.TB, home string, opts ...AuthOption) *AuthServer {
	t.Helper()
	target, err := url.Parse(home)
	if err != nil {
		t.Fatal(err)
	}
	a := &AuthServer{
		options: authOptions{password: true, sso: true, browser: true, device: true, life: 5 * time.Minute, codeLife: 20 * time.Minute},
		home:    home,
		clients: make(map[string]*authClient), consents: make(map[string]*authConsent), codes: make(map[string]*authConsent),
		devices: make(map[string]*deviceGrant), logins: make(map[string]User),
	}
	for _, opt := range opts {
		opt(&a.options)
	}
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	a.pass = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Header.Del("Accept-Encoding")
		},
		Transport: transport,
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	a.Proxy = newProxy(t, a.routes())
	return a
}

// routes are what the server answers itself.
func (a *AuthServer) routes() http.Handler {
	const v1, v3 = "/_matrix/client/v1/", "/_matrix/client/v3/"
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+v3+"login", a.flows)
	mux.HandleFunc("POST "+v3+"login", a.login)
	mux.HandleFunc("POST "+v3+"refresh", a.refreshClassic)
	mux.HandleFunc("POST "+v3+"logout", a.logout)
	if a.options.sso {
		mux.HandleFunc("GET "+v3+"login/sso/redirect", a.ssoRedirect)
	}
	if a.options.browser || a.options.device {
		mux.HandleFunc("GET "+v1+"auth_metadata", a.metadata)
		mux.HandleFunc("POST /oauth/register", a.register)
		mux.HandleFunc("GET /oauth/authorize", a.authorize)
		mux.HandleFunc("POST /oauth/device", a.deviceAuthorization)
		mux.HandleFunc("GET /oauth/link", a.link)
		mux.HandleFunc("POST /oauth/token", a.token)
		mux.HandleFunc("POST /oauth/revoke", a.revoke)
	}
	mux.HandleFunc("POST /consent", a.decide)
	mux.HandleFunc("/", a.forward)
	return mux
}

// forward passes a request on to the homeserver, with its token in the place
// of ours.
func (a *AuthServer) forward(w http.ResponseWriter, r *http.Request) {
	if bearer(r) == "" {
		a.pass.ServeHTTP(w, r)
		return
	}
	s := a.authenticate(w, r)
	if s == nil {
		return
	}
	r.Header.Set("Authorization", "Bearer "+s.home)
	a.pass.ServeHTTP(w, r)
}

// logout ends the session of a token, as the homeserver does.
func (a *AuthServer) logout(w http.ResponseWriter, r *http.Request) {
	s := a.authenticate(w, r)
	if s == nil {
		return
	}
	a.mu.Lock()
	a.drop(s)
	a.mu.Unlock()
	r.Header.Set("Authorization", "Bearer "+s.home)
	a.pass.ServeHTTP(w, r)
}

// authenticate finds the session of a request, or answers that there is none.
func (a *AuthServer) authenticate(w http.ResponseWriter, r *http.Request) *authSession {
	a.mu.Lock()
	s, expired := a.sessionOf(bearer(r))
	a.mu.Unlock()
	if s == nil {
		answer(w, http.StatusUnauthorized, map[string]any{
			"errcode": "M_UNKNOWN_TOKEN", "error": "the token is not known", "soft_logout": expired,
		})
	}
	return s
}

// bearer is the access token of a request.
func bearer(r *http.Request) string {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return token
}

// answer answers with JSON.
func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
