package matrix

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"time"

	"maunium.net/go/mautrix"

	"github.com/matrixfs/matrixfs/transfer"
)

// What a person can be told about a login. errors.Is tells them apart.
var (
	// ErrNotLoggedIn: the state directory holds no login.
	ErrNotLoggedIn = errors.New(`not logged in: run "matrixfs login" first, with the same --state if you gave one`)
	// ErrLoggedIn: the state directory holds a login already.
	ErrLoggedIn = errors.New(`logged in already: run "matrixfs logout" first, or choose another --state`)
	// ErrLoggedOut: the homeserver no longer accepts the login.
	ErrLoggedOut = errors.New(`the login is no longer valid: run "matrixfs logout", then "matrixfs login"`)
	// ErrState: the stored login can't be read.
	ErrState = errors.New("the stored login is damaged")
	// ErrInUse: another process works with the state directory.
	ErrInUse = errors.New("another matrixfs is using this state")
	// ErrPassword: the homeserver does not know this user with this password.
	ErrPassword = errors.New("wrong user name or password")
	// ErrUser: the user name is missing or can't be one.
	ErrUser = errors.New("a user name is needed, as in alice or @alice:example.org")
	// ErrAddress: the homeserver's address is not a URL.
	ErrAddress = errors.New("the homeserver's address must look like https://matrix.example.org")
	// ErrNoAddress: nothing says which homeserver.
	ErrNoAddress = errors.New("which homeserver? Give a full user name, as in --user @alice:example.org, or --homeserver URL")
	// ErrNoServer: no Matrix homeserver answers at the address.
	ErrNoServer = errors.New("no Matrix homeserver answers at this address")
	// ErrMethod: the homeserver has no such way to log in.
	ErrMethod = errors.New("this homeserver does not offer")
	// ErrDenied: the person, or the homeserver, has said no in the browser.
	ErrDenied = errors.New("the login was refused in the browser")
	// ErrTooLate: nobody has logged in within the time for it.
	ErrTooLate = errors.New("nobody has logged in in time: try again")
	// ErrOtherUser: somebody else has logged in in the browser.
	ErrOtherUser = errors.New("the browser has logged in somebody else")
	// ErrNoIdentity: the account has no cross-signing keys.
	ErrNoIdentity = errors.New(`this account has no identity yet: run "matrixfs verify --setup", or set up verification in another client`)
	// ErrIdentity: the account has cross-signing keys, or a recovery key.
	ErrIdentity = errors.New(`this account has an identity or a recovery key already: run "matrixfs verify"`)
	// ErrNoRecovery: there is nothing that a recovery key could open.
	ErrNoRecovery = errors.New(`this account has no recovery key: run "matrixfs verify --emoji", with a verified device at hand`)
	// ErrRecoveryKey: it does not open the account's secrets.
	ErrRecoveryKey = errors.New("this is neither the recovery key nor the passphrase of the account: try again")
	// ErrOldRecovery: it opens the keys of an identity that was replaced.
	ErrOldRecovery = errors.New(`the recovery key belongs to an identity that has been replaced: run "matrixfs verify --emoji", with a verified device at hand`)
	// ErrUnverified: others can't be verified from a device that is not.
	ErrUnverified = errors.New(`this device is not verified itself: run "matrixfs verify" first`)
	// ErrNoSigningKey: the device lacks the key that vouches for others.
	ErrNoSigningKey = errors.New(`this device does not hold the key that vouches for others: run "matrixfs verify" with the recovery key first`)
	// ErrBusy: there is a verification already.
	ErrBusy = errors.New("another verification is going on: finish or stop that one first")
	// ErrNoOtherDevice: there is no device to verify with.
	ErrNoOtherDevice = errors.New("the account has no other verified device: use the recovery key")
	// ErrNoRoom: there is no room in which to verify a user.
	ErrNoRoom = errors.New("there is no private room with this user: start a direct chat with them first")
	// ErrMismatch: the codes are not the same.
	ErrMismatch = errors.New("the codes do not match: somebody may be listening in; nothing was verified")
	// ErrTampered: the keys are not the ones that were announced.
	ErrTampered = errors.New("the keys do not match: somebody may be in between; nothing was verified")
	// ErrUnproven: the other side did not prove what is needed.
	ErrUnproven = errors.New("the other side has no identity of its own, or is not verified itself: it must do that first")
	// ErrVerifyTimeout: nobody answered for ten minutes.
	ErrVerifyTimeout = errors.New("the verification took too long: start again")
	// ErrCancelled: the other side does not want to.
	ErrCancelled = errors.New("the other side has cancelled the verification")
	// ErrDeclined: this side does not want to.
	ErrDeclined = errors.New("declined")
	// ErrElsewhere: another device has answered.
	ErrElsewhere = errors.New("the verification was answered on another device")
	// errMethod: the other side can't compare emoji as we do.
	errMethod = errors.New("the other side can't verify by comparing emoji: use a newer client there")
	// errUnexpected: an event came that does not belong there.
	errUnexpected = errors.New("the other side does not keep to the protocol: start again")
	// ErrClosed: the client has been closed.
	ErrClosed = errors.New("the Matrix client is closed")
)

// loggedOut reports whether err says that the access token is not valid, now
// and for good.
func loggedOut(err error) bool {
	return errors.Is(err, ErrLoggedOut) || errors.Is(err, mautrix.MUnknownToken) || errors.Is(err, mautrix.MMissingToken) ||
		errors.Is(err, mautrix.MUserDeactivated)
}

// status gives the HTTP status of a request that got an answer, else 0.
func status(err error) int {
	var e mautrix.HTTPError
	if errors.As(err, &e) && e.Response != nil {
		return e.Response.StatusCode
	}
	return 0
}

// isRequest reports whether err comes from a request to the homeserver.
func isRequest(err error) bool {
	var e mautrix.HTTPError
	return errors.As(err, &e)
}

// errcode gives the Matrix error code of an answer, or "".
func errcode(err error) string {
	var e mautrix.HTTPError
	if errors.As(err, &e) && e.RespError != nil {
		return e.RespError.ErrCode
	}
	return ""
}

// unreachable reports whether err is one that goes away by itself: no answer,
// half an answer, or a gateway that got none.
func unreachable(err error) bool {
	s := status(err)
	return s == 0 || s >= 500 || (s >= 200 && s < 300)
}

// isBusy reports whether err is that of a server that has taken the request, and
// has not answered in time or could not.
func isBusy(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || isTimeout(err) || status(err) >= 500
}

// maxRetryAfter bounds what a server may ask us to wait. No homeserver's
// limits last for more than minutes.
const maxRetryAfter = time.Hour

// retryAfter gives how long the homeserver asks us to wait, and whether err is
// such a request (429, M_LIMIT_EXCEEDED).
func retryAfter(err error) (time.Duration, bool) {
	var e mautrix.HTTPError
	if !errors.As(err, &e) || !e.IsStatus(http.StatusTooManyRequests) {
		return 0, false
	}
	wait := time.Second // a 429 that does not say
	if e.RespError != nil {
		if ms, ok := e.RespError.ExtraData["retry_after_ms"].(float64); ok && ms >= 0 {
			return time.Duration(min(ms, float64(maxRetryAfter/time.Millisecond))) * time.Millisecond, true
		}
	}
	if s, err := time.ParseDuration(e.Response.Header.Get("Retry-After") + "s"); err == nil && s >= 0 {
		wait = min(s, maxRetryAfter)
	}
	return wait, true
}

// cause says in a few words why a request got no answer. Unlike the error
// itself it never has a URL with parameters in it.
func cause(err error) string {
	var dns *net.DNSError
	var op *net.OpError
	var server *mautrix.RespError
	var value mautrix.RespError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(err, errRedirects):
		return errRedirects.Error()
	case errors.Is(err, errDowngrade):
		return errDowngrade.Error()
	case errors.As(err, &certificate):
		return "its certificate is not valid"
	case errors.As(err, &dns) && dns.IsNotFound:
		return "there is no such host"
	case errors.As(err, &dns):
		return "the host name can't be looked up"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return "no answer in time"
	case errors.As(err, &server):
		return server.ErrCode
	case errors.As(err, &value):
		return value.ErrCode
	case status(err) != 0:
		return fmt.Sprintf("HTTP status %d", status(err))
	case errors.As(err, &op):
		return op.Err.Error()
	}
	return "the connection failed"
}

func isTimeout(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

// offline says that the homeserver can't be reached, and why.
func offline(err error) error {
	return fmt.Errorf("%w: %s", transfer.ErrOffline, cause(err))
}
