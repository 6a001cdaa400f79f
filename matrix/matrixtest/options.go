package matrixtest

import "time"

// ServerName is the domain of all users and rooms, unless WithServerName says
// otherwise: "@alice:localhost".
const ServerName = "localhost"

// Option changes how the server is run.
type Option func(*options)

type options struct {
	turn         *turn
	messageLimit bool
	name         string
}

// turn is where TURN servers are, and how to make credentials for them.
type turn struct {
	secret string
	ttl    time.Duration
	uris   []string
}

// WithTURN makes the server hand out these TURN servers with credentials made
// from a shared secret (as coturn's --use-auth-secret), valid for ttl.
func WithTURN(secret string, ttl time.Duration, uris ...string) Option {
	return func(o *options) { o.turn = &turn{secret: secret, ttl: ttl, uris: uris} }
}

// WithServerName gives the server another domain.
func WithServerName(name string) Option { return func(o *options) { o.name = name } }

// WithMessageLimit leaves the limit on the events of a user as the server has
// it by default, instead of lifting it. Only Synapse has one that tells users
// apart: 10 events at once, then one every 5 seconds.
func WithMessageLimit() Option { return func(o *options) { o.messageLimit = true } }
