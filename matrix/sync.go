package matrix

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/event"
)

// How the sync loop keeps time.
const (
	// pollTimeout is how long the homeserver may hold a sync that has nothing
	// to say.
	pollTimeout = 30 * time.Second
	// pollGrace is how much longer than that the answer may take.
	pollGrace = 15 * time.Second
	// catchUpTimeout is for a sync that need not wait for news.
	catchUpTimeout = time.Minute
	// firstTimeout is for the first sync of all, which homeservers may take
	// minutes to put together for an old account.
	firstTimeout = 5 * time.Minute
	// firstBackoff is the wait after the first failure; it doubles up to
	// maxBackoff. Each wait is shortened at random by up to half, so that not
	// all clients of a homeserver come back in the same moment.
	firstBackoff = time.Second
	maxBackoff   = 30 * time.Second
	// maxBadTokens is how often in a row the homeserver may call a request
	// with the stored sync token bad before it is given up.
	maxBadTokens = 3
)

// Run keeps the client in step with the homeserver until ctx ends or Close is
// called; then it returns nil. It returns ErrLoggedOut once the homeserver no
// longer accepts the login. Every other trouble it sits out. It may be called
// once.
func (c *Client) Run(ctx context.Context) error {
	ctx, end, err := c.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	c.mu.Lock()
	again := c.ran
	c.ran = true
	c.mu.Unlock()
	if again {
		return errors.New("matrix: Run was called twice")
	}
	over, stop := context.WithCancel(ctx)
	var erasing sync.WaitGroup
	erasing.Go(func() { c.erase(over) })
	defer erasing.Wait()
	defer stop()
	c.replay(ctx)
	return c.newSyncer().run(ctx)
}

// syncer is the sync loop. It belongs to Run.
type syncer struct {
	c       *Client
	filters map[bool]string // whether a verification is going on
	since   string
	caught  bool // up with the homeserver, at least once in this run
	backoff time.Duration
	hurried bool // somebody could not wait for the last try
	bad     int  // failures in a row that blame the sync token
	unsaved unsaved
	late    late

	gapTries int // failures in a row to fill gaps
}

func (c *Client) newSyncer() *syncer {
	return &syncer{c: c, filters: map[bool]string{false: syncFilter(false), true: syncFilter(true)}, since: c.login.since}
}

func (s *syncer) run(ctx context.Context) error {
	for ctx.Err() == nil {
		var resp *syncResponse
		err := s.c.keys.publish(ctx) // done at login; a state from before encryption lacks it
		if err == nil {
			resp, err = s.poll(ctx)
		}
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, errCut):
		case loggedOut(err):
			s.c.line.report(err)
			s.c.log.Error("the homeserver no longer accepts this login")
			return ErrLoggedOut
		case err != nil:
			s.failed(ctx, err)
		default:
			s.bad = 0
			if err := s.take(ctx, resp); err != nil {
				s.failed(ctx, err)
				continue
			}
			s.backoff = 0
			s.c.line.report(nil)
		}
	}
	s.c.line.report(context.Canceled)
	return nil
}

// errCut says that a poll was ended so that another one can tell how things
// stand.
var errCut = errors.New("poll cut short")

// poll makes one sync request. It waits for news only while the homeserver is
// known to be there.
func (s *syncer) poll(ctx context.Context) (*syncResponse, error) {
	var hold time.Duration
	limit := catchUpTimeout
	switch {
	case s.since == "":
		limit = firstTimeout
	case s.caught && s.c.line.up():
		hold, limit = pollTimeout, pollTimeout+pollGrace
	}
	limited, cancel := context.WithTimeoutCause(ctx, limit, context.DeadlineExceeded)
	defer cancel()
	if hold > 0 {
		cuttable, cut := context.WithCancelCause(limited)
		defer cut(nil)
		s.c.line.polling(func() { cut(errCut) })
		defer s.c.line.polling(nil)
		limited = cuttable
	} else {
		// Connections from before may be dead without having said so.
		s.c.api.Client.CloseIdleConnections()
	}
	query := map[string]string{
		"filter":       s.filters[s.c.verifier.listening()],
		"set_presence": string(event.PresenceOffline), // a mount is no sign that a person is there
		"timeout":      strconv.FormatInt(hold.Milliseconds(), 10),
	}
	if s.since != "" {
		query["since"] = s.since
	}
	raw, err := s.c.api.MakeFullRequest(limited, mautrix.FullRequest{
		Method:            http.MethodGet,
		URL:               s.c.api.BuildURLWithQuery(mautrix.ClientURLPath{"v3", "sync"}, query),
		ResponseSizeLimit: maxSync,
	})
	if err != nil {
		if errors.Is(context.Cause(limited), errCut) && !loggedOut(err) {
			return nil, errCut
		}
		return nil, err
	}
	resp := new(syncResponse)
	if err := json.Unmarshal(raw, resp); err != nil {
		return nil, err
	}
	if resp.NextBatch == "" {
		return nil, errors.New("a sync without next_batch")
	}
	return resp, nil
}

// failed waits after a sync that failed, unless somebody is in a hurry: that
// does not make later waits longer.
func (s *syncer) failed(ctx context.Context, err error) {
	s.c.line.report(err)
	before := s.backoff
	s.backoff = min(max(2*s.backoff, firstBackoff), maxBackoff)
	wait := s.backoff/2 + rand.N(s.backoff/2)
	asked, limited := retryAfter(err)
	if limited {
		wait = asked
	}
	if s.since != "" && status(err) == http.StatusBadRequest {
		if s.bad++; s.bad >= maxBadTokens {
			s.c.log.Warn("the homeserver does not know the sync token any more; starting afresh")
			s.since, s.bad = "", 0
		}
	}
	level := slog.LevelWarn
	if s.hurried {
		level = slog.LevelDebug // it has been said
	}
	s.c.log.Log(ctx, level, "sync failed", "cause", cause(err), "retry_in", wait.Round(time.Millisecond))
	timer := time.NewTimer(wait)
	defer timer.Stop()
	hurry := s.c.line.hurry
	if limited {
		hurry = nil // who asked for a pause gets it
	}
	select {
	case <-timer.C:
		s.hurried = false
	case <-hurry:
		s.hurried, s.backoff = true, before
	case <-ctx.Done():
	}
}
