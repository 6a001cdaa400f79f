package matrix

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Limits on what comes to a landing.
const (
	// maxComeback bounds the address that a browser comes back with, in bytes.
	maxComeback = 8 << 10
	// landingPatience is for one request, which comes from this machine.
	landingPatience = 10 * time.Second
	// landingFarewell is for the page that tells the person to go back to the
	// terminal.
	landingFarewell = time.Second
)

// landing is where the browser comes back to: a listener on loopback (RFC
// 8252, section 7.3). Only a request with its state, which nobody knows but
// the browser that was sent away, is listened to; all others change nothing.
type landing struct {
	address string // without a query
	state   string
	server  *http.Server
	served  chan struct{}
	got     chan url.Values // capacity 1: the first counts
}

// landingPage is what the person sees at the end.
const landingPage = `<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>matrixfs</title>` +
	`<p>matrixfs has got the answer. Go back to the terminal; this page can be closed.</p></html>`

// landAt is the address that a landing is registered with. Its port is chosen
// anew for each login.
const landAt = "http://127.0.0.1/"

func newLanding() (*landing, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("can't listen for the browser: %w", err)
	}
	l := &landing{
		address: "http://" + listener.Addr().String() + "/",
		state:   rand.Text(),
		served:  make(chan struct{}),
		got:     make(chan url.Values, 1),
	}
	l.server = &http.Server{
		Handler:        l,
		ReadTimeout:    landingPatience,
		WriteTimeout:   landingPatience,
		MaxHeaderBytes: 2 * maxComeback,
		ErrorLog:       log.New(io.Discard, "", 0),
	}
	go func() {
		defer close(l.served)
		_ = l.server.Serve(listener) // ends with ErrServerClosed
	}()
	return l, nil
}

// close ends the listener.
func (l *landing) close() {
	ctx, cancel := context.WithTimeout(context.Background(), landingFarewell)
	defer cancel()
	if l.server.Shutdown(ctx) != nil {
		_ = l.server.Close()
	}
	<-l.served
}

// ServeHTTP implements http.Handler. The name that the request calls this
// machine by is checked, so that a web site can't give it another one.
func (l *landing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Connection", "close")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("Content-Security-Policy", "default-src 'none'")
	switch {
	case r.Method != http.MethodGet || "http://"+r.Host+r.URL.Path != l.address:
		http.NotFound(w, r)
	case !l.take(r.URL.Query()):
		http.Error(w, "This is not the login that matrixfs waits for.", http.StatusBadRequest)
	default:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, landingPage)
	}
}

// take takes what a browser has brought, if it is for this landing.
func (l *landing) take(query url.Values) bool {
	if subtle.ConstantTimeCompare([]byte(query.Get("state")), []byte(l.state)) != 1 {
		return false
	}
	select {
	case l.got <- query:
	default: // a reload
	}
	return true
}

// takePasted takes the address that a person has pasted.
func (l *landing) takePasted(line string) bool {
	line = strings.TrimSpace(line)
	u, err := url.Parse(line)
	return err == nil && len(line) <= maxComeback && strings.HasPrefix(line, l.address+"?") && l.take(u.Query())
}

// wait sends a person to an address, and waits until their browser is back, or
// the address it ended at is pasted.
func (l *landing) wait(ctx context.Context, person Person, address string) (url.Values, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, browserTimeout, ErrTooLate)
	defer cancel()
	visit := Visit{Address: address, Comeback: l.address}
	person.Show(visit)
	visit.Wrong = true
	reading := make(chan struct{})
	go func() {
		defer close(reading)
		for {
			line, err := person.Pasted(ctx)
			if err != nil || l.takePasted(line) {
				return // without anybody to paste, the browser may still come
			}
			person.Show(visit)
		}
	}()
	defer func() {
		cancel()
		<-reading
	}()
	select {
	case query := <-l.got:
		return query, nil
	case <-ctx.Done():
		if cause := context.Cause(ctx); errors.Is(cause, ErrTooLate) {
			return nil, cause
		}
		return nil, ctx.Err()
	}
}
