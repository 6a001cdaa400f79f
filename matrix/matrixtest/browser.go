package matrixtest

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"

	"github.com/matrixfs/matrixfs/matrix"
)

// Browser is a person with a browser. It is a matrix.Person, who goes where
// they are shown and agrees as the user, unless a test changes that. Wait must
// be called at the end.
type Browser struct {
	User  *User
	Deny  bool // says no
	Stay  bool // goes nowhere
	Here  bool // is on the machine of the login; else the address is pasted
	Other func(comeback string) (address string, err error)
	// Shown, if not nil, gets what was shown. It must have room.
	Shown chan matrix.Visit

	visits sync.WaitGroup
	once   sync.Once
	pasted chan string
	mu     sync.Mutex
	err    error // guarded by mu
}

var _ matrix.Person = (*Browser)(nil)

func (b *Browser) lines() chan string {
	b.once.Do(func() { b.pasted = make(chan string, 8) })
	return b.pasted
}

// HasBrowser implements matrix.Person.
func (b *Browser) HasBrowser() bool { return b.Here }

// Pasted implements matrix.Person.
func (b *Browser) Pasted(ctx context.Context) (string, error) {
	select {
	case line := <-b.lines():
		return line, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// Show implements matrix.Person.
func (b *Browser) Show(v matrix.Visit) {
	if b.Shown != nil {
		b.Shown <- v
	}
	if b.Stay || v.Wrong {
		return
	}
	b.visits.Go(func() {
		if err := b.visit(context.Background(), v); err != nil {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.err = errors.Join(b.err, err)
		}
	})
}

// Wait waits until all visits are over, and tells what went wrong.
func (b *Browser) Wait() error {
	b.visits.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// Paste gives a line to the login.
func (b *Browser) Paste(line string) { b.lines() <- line }

// visit does what a person does in the browser.
func (b *Browser) visit(ctx context.Context, v matrix.Visit) error {
	back, err := b.Answer(ctx, v.Address)
	if err != nil || v.Comeback == "" {
		return err
	}
	if b.Other != nil {
		if back, err = b.Other(back); err != nil {
			return err
		}
	}
	if !b.Here {
		b.Paste(back)
		return nil
	}
	_, status, err := fetch(ctx, http.MethodGet, back, nil)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("the page at the end has status %d", status)
	}
	return err
}

var (
	formAction = regexp.MustCompile(`<form method="post" action="([^"]*)">`)
	formInput  = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)
)

// Answer opens an address, answers the question there as the user, and gives
// the address that the browser is sent back to ("" if it is not).
func (b *Browser) Answer(ctx context.Context, address string) (comeback string, err error) {
	page, status, err := fetch(ctx, http.MethodGet, address, nil)
	action, inputs := formAction.FindStringSubmatch(page), formInput.FindAllStringSubmatch(page, -1)
	if err != nil || status != http.StatusOK || action == nil {
		return "", fmt.Errorf("no question there: status %d, %q, %v", status, page, err)
	}
	form := url.Values{"user": {b.User.Name}, "password": {b.User.Password}}
	if b.Deny {
		form = url.Values{"deny": {"yes"}}
	}
	for _, input := range inputs {
		form.Set(html.UnescapeString(input[1]), html.UnescapeString(input[2]))
	}
	base, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	to, err := base.Parse(html.UnescapeString(action[1]))
	if err != nil {
		return "", err
	}
	back, status, err := fetch(ctx, http.MethodPost, to.String(), form)
	switch {
	case err != nil:
		return "", err
	case status == http.StatusSeeOther:
		return back, nil
	case status != http.StatusOK:
		return "", fmt.Errorf("the answer was not taken: status %d", status)
	}
	return "", nil
}

// fetch makes a request. Of a redirect it gives the address, else the page.
func fetch(ctx context.Context, method, address string, form url.Values) (page string, status int, err error) {
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(form.Encode()))
	if err != nil {
		return "", 0, err
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	client := User{}.client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(req)
	if err != nil {
		return "", 0, err
	}
	defer resp.Body.Close()
	if to := resp.Header.Get("Location"); to != "" {
		return to, resp.StatusCode, nil
	}
	text, err := io.ReadAll(resp.Body)
	return string(text), resp.StatusCode, err
}
