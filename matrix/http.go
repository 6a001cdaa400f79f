package matrix

import (
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/id"
)

// How long requests may take. Each request has one of these as the deadline of
// its context.
const (
	// dialTimeout is for connecting. A server that does not take a connection
	// within it is not there for anybody who waits.
	dialTimeout = 5 * time.Second
	// requestTimeout is for small requests.
	requestTimeout = 30 * time.Second
	// quitTimeout is for clean-up on the way out.
	quitTimeout = 5 * time.Second
)

// Sizes of responses in bytes.
const (
	// maxResponse is for everything but a sync: the largest are a page of
	// /messages (100 events of at most 64 KiB) and a list of rooms.
	maxResponse = 8 << 20
	// maxSync is for a sync. A room of 50,000 members takes about 25 MB when
	// it is first seen.
	maxSync = 128 << 20
)

// userAgent is how this program calls itself.
const userAgent = "matrixfs"

// maxRedirects is how many redirects are followed for one request.
const maxRedirects = 5

// Why a redirect is not followed.
var (
	errRedirects = errors.New("too many redirects")
	errDowngrade = errors.New("a redirect away from https")
)

// newAPI makes the mautrix client that all requests go through. mautrix's own
// retries stay off: each caller knows better how long its user waits.
func newAPI(homeserver, user, token string, log *slog.Logger) (*mautrix.Client, error) {
	api, err := mautrix.NewClient(homeserver, id.UserID(user), token)
	if err != nil {
		return nil, err
	}
	api.Client = newHTTP()
	api.Client.Transport = keyGuard{api.Client.Transport}
	api.UserAgent = userAgent
	api.Log = newZerolog(log)
	api.ResponseSizeLimit = maxResponse
	return api, nil
}

// newHTTP makes a client with connections of its own.
func newHTTP() *http.Client {
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: (&net.Dialer{
			Timeout: dialTimeout,
			// Finds out within half a minute that the other end of a
			// waiting connection is gone without a word.
			KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3},
		}).DialContext,
		ForceAttemptHTTP2:   true,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 5 * time.Second},
		TLSHandshakeTimeout: 10 * time.Second,
		MaxIdleConns:        8,
		IdleConnTimeout:     90 * time.Second,
	}
	return &http.Client{Transport: transport, CheckRedirect: checkRedirect}
}

// checkRedirect follows a few redirects, as web sites have them before what
// they serve, and none that leaves https. What is not a GET is not repeated
// elsewhere: it may have a password in it.
func checkRedirect(req *http.Request, via []*http.Request) error {
	switch {
	case via[0].Method != http.MethodGet:
		return http.ErrUseLastResponse
	case len(via) > maxRedirects:
		return errRedirects
	case via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme != "https":
		return errDowngrade
	}
	return nil
}

// parseHomeserver checks the address that a person gave. It asks for a scheme
// because guessing one could send a password in the clear.
func parseHomeserver(address string) (string, error) {
	u, err := url.Parse(strings.TrimSpace(address))
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.User != nil ||
		u.RawQuery != "" || u.Fragment != "" {
		return "", ErrAddress
	}
	return strings.TrimRight(u.String(), "/"), nil
}
