package transfer

import (
	"errors"
	"fmt"
)

// Why a transfer ended, or a call on it failed. Every error of this package
// that a person may see wraps one of these; errors.Is tells them apart.
var (
	// ErrRejected: the other side declined the offer.
	ErrRejected = errors.New("rejected by the other side")
	// ErrExpired: nobody answered within the lifetime.
	ErrExpired = errors.New("nobody answered in time")
	// ErrCancelled: the other side ended the transfer on purpose.
	ErrCancelled = errors.New("cancelled by the other side")
	// ErrAborted: this side ended the transfer on purpose.
	ErrAborted = errors.New("cancelled here")
	// ErrElsewhere: another device got the file.
	ErrElsewhere = errors.New("answered elsewhere")
	// ErrLost: the connection to the peer could not be made, or was lost.
	ErrLost = errors.New("connection to the other device lost")
	// ErrOffline: the homeserver can't be reached.
	ErrOffline = errors.New("the homeserver can't be reached")
	// ErrNotAllowed: the room may not be used to send files.
	ErrNotAllowed = errors.New("sending is not allowed in this room")
	// ErrShort: the sender stopped before the end of the file.
	ErrShort = errors.New("the sender stopped before the end of the file")
	// ErrTooLong: the sender sent more than it had announced.
	ErrTooLong = errors.New("the sender sent more than it announced")
	// ErrHash: the file that came is not the one that was offered.
	ErrHash = errors.New("the bytes are not those that were offered")
	// ErrBehind: what has left can't be changed or read back.
	ErrBehind = errors.New("this part of the file has been sent already")
	// ErrSize: the writer wrote more or less than the size announced for it.
	ErrSize = errors.New("the file does not have the size announced for it")
	// ErrPassed: the file is larger than the cache, and the bytes asked for
	// have been dropped already.
	ErrPassed = errors.New("the file is larger than the cache, and this part has been dropped")
	// ErrCache: the cache on disk can't be written or read.
	ErrCache = errors.New("the cache on disk failed")
	// ErrTooMany: there are too many live transfers.
	ErrTooMany = errors.New("too many transfers at once")
	// ErrClosed: the program is shutting down.
	ErrClosed = errors.New("shutting down")
)

// errNoRelay: addresses are to be hidden, and there is nothing to hide behind.
var errNoRelay = fmt.Errorf("%w: only relayed connections are wanted, and the homeserver has no TURN server", ErrLost)
