package matrix

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/oauth"
)

// offers are the ways to log in that a homeserver has.
type offers struct {
	password bool
	sso      bool
	oauth    *oauth.ServerMetadata // nil: no OAuth 2.0
	fault    error                 // why OAuth 2.0 can't be used although it is there
}

// probe makes sure that there is a homeserver, and finds out what it offers.
func probe(ctx context.Context, api *mautrix.Client, homeserver string) (o offers, err error) {
	limited, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	noServer := func(why string) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%w: %s: %s", ErrNoServer, homeserver, why)
	}
	versions, err := api.Versions(limited)
	if err != nil && status(err) == 0 {
		return o, noServer(cause(err))
	}
	if err != nil || versions == nil || len(versions.Versions) == 0 {
		return o, noServer("it is some other kind of server")
	}
	flows, err := api.GetLoginFlows(limited)
	if err != nil && unreachable(err) {
		return o, noServer(cause(err))
	}
	if err == nil && flows != nil {
		o.password = flows.HasFlow(mautrix.AuthTypePassword)
		o.sso = flows.HasFlow(mautrix.AuthTypeSSO) && flows.HasFlow(mautrix.AuthTypeToken)
	}
	o.oauth, err = oauthMetadata(limited, api)
	_, tooMany := retryAfter(err)
	answered := status(err) >= 200 && status(err) < 300
	switch {
	case answered || errors.Is(err, errMetadata):
		o.fault = fmt.Errorf("%w OAuth 2.0 that can be used: %w", ErrMethod, errMetadata)
	case err != nil && (tooMany || unreachable(err)):
		return o, noServer(cause(err))
	}
	return o, nil
}

// errMetadata: what a homeserver says of its OAuth server is not to be used.
var errMetadata = errors.New("what it says of it is incomplete, or not safe")

// check makes sure that a method is among the offers.
func (o offers) check(m Method) error {
	device, browser := o.device(), o.browser()
	var missing string
	switch {
	case m >= MethodOAuth && o.fault != nil:
		return o.fault
	case m == MethodPassword && !o.password:
		missing = "login with a password"
	case m == MethodSSO && !o.sso:
		missing = "SSO"
	case m == MethodOAuth && !device && !browser:
		missing = "OAuth 2.0"
	case m == MethodOAuthBrowser && !browser && device:
		return fmt.Errorf("%w OAuth 2.0 with a redirect: use --oauth-flow device", ErrMethod)
	case m == MethodOAuthDevice && !device && browser:
		return fmt.Errorf("%w OAuth 2.0 with a device code: use --oauth-flow browser", ErrMethod)
	case m == MethodOAuthBrowser && !browser, m == MethodOAuthDevice && !device:
		missing = "OAuth 2.0"
	default:
		return nil
	}
	return fmt.Errorf("%w %s: %s", ErrMethod, missing, o.advice())
}

// advice says what to use instead of a method that is not offered.
func (o offers) advice() string {
	switch {
	case o.device() || o.browser():
		return "use --oauth"
	case o.sso:
		return "use --sso"
	case o.password:
		return "use a password (neither --sso nor --oauth)"
	}
	return "it offers nothing else that matrixfs can use"
}

// device reports whether there is OAuth 2.0 with a device code.
func (o offers) device() bool {
	return o.oauth != nil && o.oauth.DeviceAuthorizationEndpoint != "" &&
		slices.Contains(o.oauth.GrantTypesSupported, oauth.GrantTypeDeviceCode)
}

// browser reports whether there is OAuth 2.0 with an authorization code and
// PKCE.
func (o offers) browser() bool {
	return o.oauth != nil && o.oauth.AuthorizationEndpoint != "" &&
		slices.Contains(o.oauth.GrantTypesSupported, oauth.GrantTypeAuthorizationCode) &&
		slices.Contains(o.oauth.CodeChallengeMethodsSupported, oauth.CodeChallengeMethodS256)
}

// oauthMetadata gives what the homeserver says of its OAuth server. The error
// has a status where the homeserver answers that there is none.
func oauthMetadata(ctx context.Context, api *mautrix.Client) (*oauth.ServerMetadata, error) {
	meta, err := api.OAuthGetServerMetadata(ctx)
	if err != nil {
		return nil, err
	}
	if meta == nil || meta.Issuer == "" || meta.RegistrationEndpoint == "" || meta.TokenEndpoint == "" {
		return nil, errMetadata
	}
	for _, endpoint := range []string{
		meta.RegistrationEndpoint, meta.TokenEndpoint, meta.AuthorizationEndpoint,
		meta.DeviceAuthorizationEndpoint, meta.RevocationEndpoint,
	} {
		if endpoint != "" && !asSafe(endpoint, api.HomeserverURL) {
			return nil, errMetadata
		}
	}
	return meta, nil
}

// asSafe reports whether an address that a server gave is one for HTTP, and
// not a weaker one than that of the homeserver: secrets go there, or a person.
func asSafe(address string, homeserver *url.URL) bool {
	if len(address) > maxAddress || strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return false
	}
	u, err := url.Parse(address)
	return err == nil && u.Hostname() != "" && u.User == nil &&
		(u.Scheme == "https" || u.Scheme == "http" && homeserver.Scheme == "http")
}

// maxAddress bounds the addresses that a server gives, in bytes: what follows
// them must fit into a request line of 8 KiB, which many servers have as limit.
const maxAddress = 2048
