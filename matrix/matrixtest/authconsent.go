package matrixtest

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
)

// authConsent is what a person is asked in the browser, and their answer.
// AuthServer.mu guards it.
type authConsent struct {
	redirect  *url.URL // where the browser comes back to; nil for a device code
	oauth     bool     // else single sign-on
	state     string
	client    string
	scope     string
	challenge string

	user   User // who has agreed; no name: nobody yet
	denied bool
}

// ask shows the page with the question. It has one form, with the id of the
// question; it wants a user's name and password, or "deny".
func (a *AuthServer) ask(w http.ResponseWriter, c *authConsent) {
	question := rand.Text()
	a.mu.Lock()
	a.consents[question] = c
	a.mu.Unlock()
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, `<form method="post" action="/consent"><input type="hidden" name="question" value="%s"></form>`, question)
}

// decide takes the answer, and sends the browser back.
func (a *AuthServer) decide(w http.ResponseWriter, r *http.Request) {
	question := r.PostFormValue("question")
	a.mu.Lock()
	c := a.consents[question]
	delete(a.consents, question)
	if c != nil {
		c.denied = r.PostFormValue("deny") != ""
		c.user = User{Name: r.PostFormValue("user"), Password: r.PostFormValue("password")}
	}
	a.mu.Unlock()
	switch {
	case c == nil:
		http.Error(w, "no such question", http.StatusNotFound)
	case c.redirect == nil:
		fmt.Fprintln(w, "Go back to the device.")
	case c.denied && c.oauth:
		c.refuse(w, r, a, "access_denied")
	case c.denied:
		c.goBack(w, r, url.Values{})
	case c.oauth:
		code := "code_" + rand.Text()
		a.mu.Lock()
		a.codes[code] = c
		a.mu.Unlock()
		c.goBack(w, r, url.Values{"code": {code}, "state": {c.state}, "iss": {a.URL() + "/"}})
	default:
		token := "login_" + rand.Text()
		a.mu.Lock()
		a.logins[token] = c.user
		a.mu.Unlock()
		c.goBack(w, r, url.Values{"loginToken": {token}})
	}
}

// refuse sends the browser back with an error (RFC 6749, section 4.1.2.1).
func (c *authConsent) refuse(w http.ResponseWriter, r *http.Request, a *AuthServer, code string) {
	c.goBack(w, r, url.Values{"error": {code}, "state": {c.state}, "iss": {a.URL() + "/"}})
}

// goBack sends the browser back with something.
func (c *authConsent) goBack(w http.ResponseWriter, r *http.Request, with url.Values) {
	back := *c.redirect
	query := back.Query()
	for key, values := range with {
		query[key] = values
	}
	back.RawQuery = query.Encode()
	http.Redirect(w, r, back.String(), http.StatusSeeOther)
}
