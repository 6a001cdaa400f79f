package matrix

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// maxWellKnown bounds /.well-known/matrix/client in bytes. It is some 100
// bytes long, and up to a few KiB with the settings of other clients.
const maxWellKnown = 64 << 10

// serverOf gives the host that the server of a full user id is looked for at,
// or "" where user is not such an id. The port of a server name is that of
// federation; it plays no part here (client-server API, "well-known URI").
func serverOf(user string) string {
	local, server, ok := strings.Cut(user, ":")
	if !ok || len(local) < 2 || local[0] != '@' {
		return ""
	}
	u, err := url.Parse("https://" + server + "/")
	if err != nil || u.Host != server || u.User != nil || strings.ContainsFunc(server, notInHost) {
		return ""
	}
	host := u.Hostname()
	if net.ParseIP(host).To4() == nil && net.ParseIP(host) != nil {
		return "[" + host + "]"
	}
	return host
}

// notInHost reports whether r can't be in a server name (Matrix appendices,
// "server name").
func notInHost(r rune) bool {
	alnum := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
	return !alnum && !strings.ContainsRune("-.:[]", r)
}

// discover asks a server where its homeserver is. One that has no
// /.well-known/matrix/client is its own homeserver. Only https counts, for the
// answer, every redirect on the way, and the homeserver it names.
func discover(ctx context.Context, client *http.Client, server string) (homeserver string, err error) {
	defer client.CloseIdleConnections()
	limited, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	text, err := wellKnown(limited, client, server)
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case errors.Is(err, errNoWellKnown):
		return "https://" + server, nil
	case err != nil:
		return "", fmt.Errorf("%w: %s: %w: give --homeserver URL", ErrNoServer, server, err)
	}
	var answer struct {
		Homeserver struct {
			BaseURL string `json:"base_url"`
		} `json:"m.homeserver"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return "", fmt.Errorf("%w: %s: its /.well-known/matrix/client is not what it should be: give --homeserver URL", ErrNoServer, server)
	}
	homeserver, err = parseHomeserver(answer.Homeserver.BaseURL)
	if err != nil || len(homeserver) > maxAddress || !strings.HasPrefix(homeserver, "https://") {
		return "", fmt.Errorf("%w: %s: its /.well-known/matrix/client has no https address: give --homeserver URL", ErrNoServer, server)
	}
	return homeserver, nil
}

// errNoWellKnown: the server does not say where its homeserver is.
var errNoWellKnown = errors.New("no well-known")

// wellKnown fetches what the server says.
func wellKnown(ctx context.Context, client *http.Client, server string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+server+"/.well-known/matrix/client", nil)
	if err != nil {
		return nil, errors.New("it is not a server name")
	}
	req.Header.Set("User-Agent", userAgent)
	resp, err := client.Do(req)
	if err != nil {
		return nil, errors.New(cause(err))
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return nil, errNoWellKnown
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("HTTP status %d", resp.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxWellKnown+1))
	if err != nil {
		return nil, errors.New(cause(err))
	}
	if len(text) > maxWellKnown {
		return nil, errors.New("its answer is too long")
	}
	return text, nil
}
