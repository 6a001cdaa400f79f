package matrixtest_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/matrixfs/matrixfs/matrix/matrixtest"
)

// rawClient is a program that talks to an AuthServer as it likes.
type rawClient struct {
	t      *testing.T
	server *matrixtest.AuthServer
	user   *matrixtest.User
	id     string
}

const (
	rawRegistration = `{"client_name":"x","client_uri":"https://x.example","application_type":"native","token_endpoint_auth_method":"none",` +
		`"grant_types":["authorization_code","refresh_token","urn:ietf:params:oauth:grant-type:device_code"],"response_types":["code"],"redirect_uris":["http://127.0.0.1/"]}`
	rawScope    = "urn:matrix:client:api:* urn:matrix:client:device:ABCDEFGHIJ"
	rawVerifier = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz"
	rawState    = "a state that nobody can guess"
	rawBack     = "http://127.0.0.1:12345/"
)

// answerOf makes a request, and gives what JSON it is answered with.
func (c *rawClient) answerOf(method, path, kind, body string) map[string]any {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.server.URL()+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	var got map[string]any
	if json.Unmarshal(text, &got) != nil {
		return map[string]any{"error": string(text)}
	}
	return got
}

// form posts one, and gives the answer.
func (c *rawClient) form(path string, pairs ...string) map[string]any {
	c.t.Helper()
	form := url.Values{"client_id": {c.id}}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return c.answerOf(http.MethodPost, path, "application/x-www-form-urlencoded", form.Encode())
}

// wantCode checks the error of an answer.
func (c *rawClient) wantCode(what string, got map[string]any, want string) {
	c.t.Helper()
	if code, _ := got["error"].(string); code != want {
		c.t.Errorf("%s: the answer is %v, want %s", what, got, want)
	}
}

func newRawClient(t *testing.T) *rawClient {
	t.Helper()
	home := matrixtest.Start(t)
	c := &rawClient{t: t, server: matrixtest.NewAuthServer(t, home.URL()), user: home.NewUser("alice")}
	c.id, _ = c.answerOf(http.MethodPost, "/oauth/register", "application/json", rawRegistration)["client_id"].(string)
	if c.id == "" {
		t.Fatal("not registered")
	}
	return c
}

// asked is a right authorization request, with changes.
func (c *rawClient) asked(pairs ...string) string {
	sum := sha256.Sum256([]byte(rawVerifier))
	query := url.Values{
		"client_id": {c.id}, "response_type": {"code"}, "redirect_uri": {rawBack}, "state": {rawState}, "scope": {rawScope},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	for i := 0; i < len(pairs); i += 2 {
		query.Set(pairs[i], pairs[i+1])
	}
	return "/oauth/authorize?" + query.Encode()
}

// code has the user agree, and gives the code.
func (c *rawClient) code() string {
	c.t.Helper()
	back, err := (&matrixtest.Browser{User: c.user}).Answer(c.t.Context(), c.server.URL()+c.asked())
	if err != nil {
		c.t.Fatal(err)
	}
	u, err := url.Parse(back)
	if err != nil || u.Query().Get("state") != rawState || !strings.HasPrefix(back, rawBack+"?") {
		c.t.Fatalf("the browser comes back to %s (%v)", back, err)
	}
	return u.Query().Get("code")
}

// exchange asks for the tokens of a code.
func (c *rawClient) exchange(code string, pairs ...string) map[string]any {
	c.t.Helper()
	return c.form("/oauth/token", append([]string{
		"grant_type", "authorization_code", "code", code, "redirect_uri", rawBack, "code_verifier", rawVerifier,
	}, pairs...)...)
}

func TestAuthServerIsStrict(t *testing.T) {
	c := newRawClient(t)
	for what, change := range map[string][2]string{
		"a client without https": {"https://x.example", "http://x.example"},
		"a web client":           {`"native"`, `"web"`},
		"a client with a secret": {`"none"`, `"client_secret_basic"`},
	} {
		got := c.answerOf(http.MethodPost, "/oauth/register", "application/json", strings.Replace(rawRegistration, change[0], change[1], 1))
		c.wantCode(what, got, "invalid_client_metadata")
	}
	for what, back := range map[string]string{"a port": "http://127.0.0.1:1/", "elsewhere": "http://x.example/"} {
		got := c.answerOf(http.MethodPost, "/oauth/register", "application/json", strings.Replace(rawRegistration, "http://127.0.0.1/", back, 1))
		c.wantCode(what, got, "invalid_redirect_uri")
	}
	for _, back := range []string{"http://127.0.0.1:12345/x", "http://localhost:12345/", "https://127.0.0.1:12345/", "http://127.0.0.1/"} {
		c.wantCode(back, c.answerOf(http.MethodGet, c.asked("redirect_uri", back), "", ""), "no such client, or not its redirect_uri\n")
	}
	for code, pairs := range map[string][]string{
		"invalid_request":           {"code_challenge_method", "plain"},
		"invalid_scope":             {"scope", "openid"},
		"unsupported_response_type": {"response_type", "token"},
	} {
		_, err := (&matrixtest.Browser{User: c.user}).Answer(t.Context(), c.server.URL()+c.asked(pairs...))
		if err == nil || !strings.Contains(err.Error(), "error="+code) {
			t.Errorf("%v: %v", pairs, err)
		}
	}
	c.wantCode("another verifier", c.exchange(c.code(), "code_verifier", rawVerifier+"x"), "invalid_grant")
	c.wantCode("another redirect_uri", c.exchange(c.code(), "redirect_uri", "http://127.0.0.1:12346/"), "invalid_grant")
	c.wantCode("no such code", c.exchange("x"), "invalid_grant")
	c.wantCode("another client", c.exchange(c.code(), "client_id", "x"), "invalid_client")
	c.wantCode("no grant", c.exchange(c.code(), "grant_type", "password"), "invalid_client")
}

// Tokens rotate, and a code that is used twice takes back what it gave.
func TestAuthServerTokens(t *testing.T) {
	c := newRawClient(t)
	whoami := func(token any) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.server.URL()+"/_matrix/client/v3/account/whoami", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token.(string))
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode
	}
	renew := func(old map[string]any) map[string]any {
		return c.form("/oauth/token", "grant_type", "refresh_token", "refresh_token", old["refresh_token"].(string))
	}
	code := c.code()
	first := c.exchange(code)
	if whoami(first["access_token"]) != http.StatusOK || first["token_type"] != "Bearer" {
		t.Fatalf("tokens are %v", first)
	}
	lost := renew(first)
	second := renew(first) // as the new ones have not been used
	if whoami(lost["access_token"]) != http.StatusUnauthorized || whoami(first["access_token"]) != http.StatusOK {
		t.Error("the lost tokens are valid, or the old ones are not")
	}
	if whoami(second["access_token"]) != http.StatusOK || whoami(first["access_token"]) != http.StatusUnauthorized {
		t.Error("the new tokens are not valid, or the old ones are")
	}
	c.wantCode("an old refresh token", renew(first), "invalid_grant")
	c.wantCode("a used code", c.exchange(code), "invalid_grant")
	if whoami(second["access_token"]) != http.StatusUnauthorized {
		t.Error("a code that was used twice leaves tokens")
	}
	third := c.exchange(c.code())
	c.form("/oauth/revoke", "token", third["refresh_token"].(string))
	if whoami(third["access_token"]) != http.StatusUnauthorized {
		t.Error("a revoked session has a valid token")
	}
	c.wantCode("a revoked refresh token", renew(third), "invalid_grant")
}
