package matrixtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Proxy stands in front of a homeserver and lets a test make it fail. Its
// methods are safe for concurrent use.
type Proxy struct {
	url    string
	target http.Handler

	// mu guards what follows.
	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]struct{}
	rules []*rule
	log   []Exchange
}

// Exchange is one request that has come through, and its answer. A request
// whose client gave up has no status.
type Exchange struct {
	Method, Path, Query string
	Status              int
	Response            string
	At                  time.Time // when the request came
}

// rule answers chosen requests.
type rule struct {
	method, part string
	left         int // how many more requests it is for
	answer       func(http.ResponseWriter, *http.Request) (done bool)
}

// NewProxy starts a proxy in front of the homeserver at target. It ends with
// the test.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return newProxy(t, &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(u)
			r.Out.Header.Del("Accept-Encoding") // so that Log can be read
		},
		Transport: transport,
		ErrorLog:  log.New(io.Discard, "", 0),
	})
}

// newProxy starts a proxy in front of any handler.
func newProxy(t testing.TB, target http.Handler) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{url: "http://" + listener.Addr().String(), target: target, conns: make(map[net.Conn]struct{})}
	server := &http.Server{Handler: p, ErrorLog: log.New(io.Discard, "", 0), ConnState: p.track}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener) // ends with ErrServerClosed
	}()
	t.Cleanup(func() {
		p.Cut()
		_ = server.Close()
		<-served
	})
	return p
}

// URL is the address of the proxy.
func (p *Proxy) URL() string { return p.url }

// Cut breaks all connections, and each new one as soon as it is made, until
// Mend.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	for c := range p.conns {
		_ = c.Close()
	}
}

// Mend lets connections through again.
func (p *Proxy) Mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = false
}

// Answer answers the next n requests of that method ("" is any) whose path
// contains part with a status and a body of JSON, instead of passing them on.
func (p *Proxy) Answer(n int, method, part string, status int, body string) {
	p.add(&rule{method: method, part: part, left: n, answer: func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
		return true
	}})
}

// Delay holds the next n requests of that method whose path contains part for
// a time before they are passed on.
func (p *Proxy) Delay(n int, method, part string, d time.Duration) {
	p.add(&rule{method: method, part: part, left: n, answer: func(_ http.ResponseWriter, r *http.Request) bool {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			return false
		case <-r.Context().Done():
			return true
		}
	}})
}

// Before calls a function before the next n such requests are passed on.
func (p *Proxy) Before(n int, method, part string, f func()) {
	p.add(&rule{method: method, part: part, left: n, answer: func(http.ResponseWriter, *http.Request) bool {
		f()
		return false
	}})
}

// LoseAnswer passes the next n such requests on, and breaks the connection
// instead of giving the answer.
func (p *Proxy) LoseAnswer(n int, method, part string) {
	p.add(&rule{method: method, part: part, left: n, answer: func(_ http.ResponseWriter, r *http.Request) bool {
		p.target.ServeHTTP(lost{http.Header{}}, r)
		panic(http.ErrAbortHandler)
	}})
}

// Clear forgets all rules.
func (p *Proxy) Clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = nil
}

func (p *Proxy) add(r *rule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = append(p.rules, r)
}

// Log gives the requests of that method ("" is any) whose path contains part,
// in the order in which they were answered.
func (p *Proxy) Log(method, part string) []Exchange {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(p.log), func(e Exchange) bool {
		return method != "" && e.Method != method || !strings.Contains(e.Path, part)
	})
}

// track notes connections, and breaks them while the line is cut.
func (p *Proxy) track(c net.Conn, state http.ConnState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch state {
	case http.StateNew:
		p.conns[c] = struct{}{}
		if p.cut {
			_ = c.Close()
		}
	case http.StateClosed, http.StateHijacked:
		delete(p.conns, c)
	}
}

// match finds the first rule for a request, and uses it up by one.
func (p *Proxy) match(r *http.Request) *rule {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range p.rules {
		if one.left > 0 && (one.method == "" || one.method == r.Method) && strings.Contains(r.URL.Path, one.part) {
			one.left--
			return one
		}
	}
	return nil
}

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e := Exchange{Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, At: time.Now()}
	tee := &recorder{ResponseWriter: w}
	defer func() {
		e.Status, e.Response = tee.status, tee.body.String()
		p.mu.Lock()
		p.log = append(p.log, e)
		p.mu.Unlock()
	}()
	if one := p.match(r); one != nil && one.answer(tee, r) {
		return
	}
	p.target.ServeHTTP(tee, r)
	if errors.Is(r.Context().Err(), context.Canceled) {
		tee.status = 0
	}
}

// lost is an answer that nobody gets.
type lost struct{ header http.Header }

// Header implements http.ResponseWriter.
func (l lost) Header() http.Header { return l.header }

// WriteHeader implements http.ResponseWriter.
func (lost) WriteHeader(int) {}

// Write implements io.Writer.
func (lost) Write(b []byte) (int, error) { return len(b), nil }

// recorder keeps what is answered.
type recorder struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Write implements io.Writer.
func (r *recorder) Write(b []byte) (int, error) {
	r.body.Write(b)
	return r.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController find the writer below.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
