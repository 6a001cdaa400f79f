package matrix

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"maunium.net/go/mautrix"
)

// How tokens are renewed.
const (
	// renewBefore is how long before its end a token is renewed. A sync that
	// waits for news takes less, so that it comes back with a valid token.
	renewBefore = time.Minute
	// renewShare is the part of the life of a short-lived token that is used
	// before it is renewed: four fifths.
	renewShare = 0.8
	// maxRefusal bounds what is read of an answer that refuses a token, in
	// bytes. The error of the specification has some 100.
	maxRefusal = 64 << 10
)

// session is what a login's requests go through. It puts the access token on
// them, and renews it before it ends and when the homeserver refuses it. One
// renewal at a time is under way; all requests wait for it.
//
// New tokens are stored before the first use. Until then the old ones stay
// valid, so a crash between the answer and the store loses nothing.
type session struct {
	base *http.Client
	api  *mautrix.Client // for renewing; carries no token
	log  *slog.Logger
	save func(context.Context, tokens) error

	// renewals run until close: they outlive the request that needs them.
	stopped context.Context
	stop    context.CancelFunc
	work    sync.WaitGroup // renewals; Add only while mu is held and not closed

	// mu guards what follows.
	mu      sync.Mutex
	tokens  tokens
	due     time.Time // renew after this; zero: only when it is refused
	unsaved *tokens   // new ones that could not be stored, and so are not used
	current *renewal  // under way
	failed  error     // of the last renewal
	retry   time.Time // no renewal before this
	closed  bool
}

var _ http.RoundTripper = (*session)(nil)

// renewal is one request for new tokens.
type renewal struct {
	done chan struct{}
	err  error // set before done is closed
}

// newSession makes the requests of api go through a session. plain is a
// client for the same homeserver without a token.
func newSession(api, plain *mautrix.Client, t tokens, log *slog.Logger, save func(context.Context, tokens) error) *session {
	s := &session{base: api.Client, api: plain, log: log, save: save, tokens: t}
	s.stopped, s.stop = context.WithCancel(context.Background())
	if !t.expires.IsZero() {
		s.due = t.expires.Add(-renewBefore)
	}
	api.Client = &http.Client{Transport: s, CheckRedirect: checkRedirect}
	return s
}

// close ends a renewal that is under way, and waits for it. That is safe: see
// session.
func (s *session) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop()
	s.work.Wait()
	s.CloseIdleConnections()
}

// end ends the login at the homeserver, after a renewal that is under way. api
// is the client whose requests go through the session; there are no others any
// more.
func (s *session) end(ctx context.Context, api *mautrix.Client) error {
	s.mu.Lock()
	r := s.current
	s.mu.Unlock()
	if r != nil {
		select {
		case <-r.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.mu.Lock()
	t := s.tokens
	if s.unsaved != nil {
		t = *s.unsaved
	}
	s.mu.Unlock()
	if t.client == "" {
		return endDevice(ctx, api, t)
	}
	return endDevice(ctx, s.api, t)
}

// CloseIdleConnections is called by http.Client.
func (s *session) CloseIdleConnections() {
	s.base.CloseIdleConnections()
	s.api.Client.CloseIdleConnections()
}

// RoundTrip implements http.RoundTripper. Requests without a token, as those
// that were redirected elsewhere, stay without.
func (s *session) RoundTrip(req *http.Request) (*http.Response, error) {
	transport := s.base.Transport
	if req.Header.Get("Authorization") == "" {
		return transport.RoundTrip(req)
	}
	token, err := s.token(req.Context(), "")
	if err != nil {
		closeBody(req)
		return nil, err
	}
	resp, err := transport.RoundTrip(withToken(req, token))
	if err != nil || !refused(resp) || req.Body != nil && req.GetBody == nil {
		return resp, err
	}
	fresh, err := s.token(req.Context(), token)
	switch {
	case errors.Is(err, ErrLoggedOut), err == nil && fresh == token:
		return resp, nil // says so
	case err != nil:
		_ = resp.Body.Close()
		return nil, err
	}
	_ = resp.Body.Close()
	again := withToken(req, fresh)
	if req.GetBody != nil {
		if again.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
	}
	return transport.RoundTrip(again)
}

// withToken gives a copy of a request, as a RoundTripper may not change its
// own.
func withToken(req *http.Request, token string) *http.Request {
	copied := req.Clone(req.Context())
	copied.Header.Set("Authorization", "Bearer "+token)
	return copied
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

// refused reports whether an answer says that the token is not valid. The
// answer can be read again.
func refused(resp *http.Response) bool {
	if resp.StatusCode != http.StatusUnauthorized {
		return false
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
	_ = resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(text))
	var answer struct {
		Code string `json:"errcode"`
	}
	return err == nil && json.Unmarshal(text, &answer) == nil && answer.Code == mautrix.MUnknownToken.ErrCode
}

// token gives the access token, after having renewed it if it is about to
// end, or is the one that was refused. The error is ErrLoggedOut where the
// renewal is refused, that of ctx, or why there is none now.
func (s *session) token(ctx context.Context, refused string) (string, error) {
	s.mu.Lock()
	now := time.Now().Round(0)
	token := s.tokens.access
	valid := token != refused && (s.tokens.expires.IsZero() || now.Before(s.tokens.expires))
	switch {
	case s.closed:
		s.mu.Unlock()
		return "", ErrClosed
	case errors.Is(s.failed, ErrLoggedOut):
		s.mu.Unlock()
		return "", ErrLoggedOut
	case s.tokens.refresh == "", valid && (s.due.IsZero() || now.Before(s.due)), valid && now.Before(s.retry):
		s.mu.Unlock()
		return token, nil
	case now.Before(s.retry):
		err := s.failed
		s.mu.Unlock()
		return "", err
	}
	if s.current == nil {
		s.current = &renewal{done: make(chan struct{})}
		s.work.Go(s.renew)
	}
	r := s.current
	s.mu.Unlock()
	select {
	case <-r.done:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	switch {
	case r.err == nil:
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.tokens.access, nil
	case valid && !errors.Is(r.err, ErrLoggedOut):
		return token, nil // it still works
	}
	return "", r.err
}

// renew gets new tokens and stores them. It is the only one at work.
func (s *session) renew() {
	s.mu.Lock()
	old, fresh, r := s.tokens, s.unsaved, s.current
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(s.stopped, requestTimeout)
	defer cancel()
	var err error
	if fresh == nil {
		var got tokens
		if got, err = old.renew(ctx, s.api); err == nil {
			fresh = &got
		}
	}
	if err == nil {
		// An answer that is here is stored, even if this is the end.
		err = s.save(context.WithoutCancel(ctx), *fresh)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r.err = s.settle(fresh, err)
	s.current = nil
	close(r.done)
}

// settle notes how a renewal went, and gives the error for those who wait. The
// caller holds mu.
func (s *session) settle(fresh *tokens, err error) error {
	now := time.Now().Round(0)
	switch {
	case err == nil:
		s.tokens, s.unsaved, s.failed, s.retry = *fresh, nil, nil, time.Time{}
		s.due = time.Time{}
		if !fresh.expires.IsZero() {
			life := fresh.expires.Sub(now)
			s.due = now.Add(max(life-renewBefore, time.Duration(renewShare*float64(life)), firstBackoff))
		}
		s.log.Debug("the access token was renewed")
		return nil
	case fresh == nil && renewalRefused(err):
		s.failed = ErrLoggedOut
		s.log.Error("the homeserver refuses to renew this login", "cause", cause(err))
		return s.failed
	}
	wait := firstBackoff
	if asked, limited := retryAfter(err); limited {
		wait = asked
	}
	s.unsaved = fresh
	s.failed, s.retry = fmt.Errorf("the login can't be renewed now: %w", err), now.Add(wait)
	s.log.Warn("the login can't be renewed now", "cause", cause(err), "retry_in", wait)
	return s.failed
}
