package matrix

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"maunium.net/go/mautrix"

	"github.com/matrixfs/matrixfs/transfer"
)

// How long TURN servers are kept.
const (
	// minTurnTTL and maxTurnTTL bound what the homeserver says. Short-lived
	// ones would be asked for before each transfer; that is the worst of it.
	minTurnTTL = time.Minute
	maxTurnTTL = 24 * time.Hour
	// noTurnTTL is for the answer that there are none.
	noTurnTTL = 10 * time.Minute
	// maxTurnURLs and maxTurnText bound the answer itself. RFC 7065 URIs are
	// short; usernames and passwords made by time and HMAC are under 200 bytes.
	maxTurnURLs = 16
	maxTurnText = 512
)

// turnCache keeps the homeserver's answer. gate (capacity 1) guards it all and
// lets one caller at a time ask; unlike a mutex it can be waited for with a
// context.
type turnCache struct {
	gate    chan struct{}
	servers []transfer.TURNServer
	refresh time.Time // ask again after this
	expires time.Time // not valid after this
}

// TURNServers gives the TURN servers of the homeserver, with their UDP, TCP and
// TLS addresses as it has them. They come from memory until four fifths of
// their time are over, and longer while the homeserver can't be reached. No
// servers is no error; the error is ErrOffline or that of ctx.
func (c *Client) TURNServers(ctx context.Context) ([]transfer.TURNServer, error) {
	ctx, end, err := c.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	t := &c.turn
	select {
	case t.gate <- struct{}{}:
		defer func() { <-t.gate }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	now := time.Now()
	if now.Before(t.refresh) {
		return slices.Clone(t.servers), nil
	}
	limited, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	resp, err := c.api.TurnServer(limited)
	switch {
	case c.stopped.Err() != nil:
		return nil, ErrClosed
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case loggedOut(err):
		return nil, ErrLoggedOut
	case err == nil:
		t.keep(resp, now)
	case !unreachable(err) && status(err) != http.StatusTooManyRequests:
		t.keep(nil, now) // knows no TURN, or has none for this user
	case !now.Before(t.expires):
		return nil, offline(err)
	}
	return slices.Clone(t.servers), nil
}

// keep notes the homeserver's answer; nil is that it knows of no TURN.
func (t *turnCache) keep(resp *mautrix.RespTurnServer, now time.Time) {
	t.servers = nil
	ttl := noTurnTTL
	if urls := turnURLs(resp); len(urls) > 0 {
		t.servers = []transfer.TURNServer{{URLs: urls, Username: resp.Username, Password: resp.Password}}
		seconds := min(max(resp.TTL, 0), int(maxTurnTTL/time.Second))
		ttl = max(time.Duration(seconds)*time.Second, minTurnTTL)
	}
	t.expires = now.Add(ttl)
	t.refresh = now.Add(ttl / 5 * 4)
}

// turnURLs gives the addresses that can be used.
func turnURLs(resp *mautrix.RespTurnServer) []string {
	if resp == nil || len(resp.Username) > maxTurnText || len(resp.Password) > maxTurnText {
		return nil
	}
	var urls []string
	for _, u := range resp.URIs {
		scheme, _, _ := strings.Cut(u, ":")
		if len(u) <= maxTurnText && slices.Contains([]string{"turn", "turns", "stun", "stuns"}, scheme) && len(urls) < maxTurnURLs {
			urls = append(urls, u)
		}
	}
	return urls
}
