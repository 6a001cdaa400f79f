package transfer

import (
	"errors"
	"io"
)

// link is a connected pipe of messages to a peer: ordered, reliable, each
// message whole. One goroutine may Send and another Recv; Close of the call
// that made it ends both.
type link interface {
	// Send queues one message of at most MaxMessage bytes, and keeps no hold
	// of p. It never waits: who sends looks at Buffered first.
	Send(p []byte) error
	// Recv waits for a message and puts it into p, which must have room for
	// maxMessage bytes. io.EOF means that the peer closed the channel in
	// order, and only that; a lost connection is another error.
	Recv(p []byte) (int, error)
	// Buffered is how many bytes have been sent and not been acknowledged by
	// the peer's SCTP.
	Buffered() int
	// NotifyLow asks for f whenever Buffered falls to low.
	NotifyLow(low int, f func())
	// MaxMessage is the largest message that the peer takes, in bytes.
	MaxMessage() int
	// Close closes the channel in order; the peer's Recv then gives io.EOF
	// after the last message.
	Close() error
}

// maxMessage is the largest message that this device takes, in bytes, and
// says so in its SDP (RFC 8841 section 6). Browsers take 256 KiB as well.
const maxMessage = 256 << 10

// minMessage is the smallest limit of a peer that is put up with. Each message
// costs memory beside its bytes, so a file cut into tiny ones would take more
// than the window allows. One packet's worth is the least that makes sense.
const minMessage = 1024

// channel is a detached data channel of pion.
type channel interface {
	io.ReadWriteCloser
	BufferedAmount() uint64
	SetBufferedAmountLowThreshold(uint64)
	OnBufferedAmountLow(func())
}

// rtcLink is a link over a data channel.
type rtcLink struct {
	channel channel
	max     int
}

var _ link = (*rtcLink)(nil)

var errMessageSize = errors.New("message larger than announced")

func (l *rtcLink) Send(p []byte) error {
	_, err := l.channel.Write(p)
	return err
}

// Recv relies on pion's datachannel: when a stream was reset by the peer it
// resets its own direction, which works only while the association lives. So
// io.EOF is not given for an association that has ended, whatever ended it.
func (l *rtcLink) Recv(p []byte) (int, error) {
	n, err := l.channel.Read(p)
	if errors.Is(err, io.ErrShortBuffer) {
		return 0, errMessageSize
	}
	return n, err
}

func (l *rtcLink) Buffered() int { return int(l.channel.BufferedAmount()) }

func (l *rtcLink) NotifyLow(low int, f func()) {
	l.channel.SetBufferedAmountLowThreshold(uint64(low))
	l.channel.OnBufferedAmountLow(f)
}

func (l *rtcLink) MaxMessage() int { return l.max }

func (l *rtcLink) Close() error { return l.channel.Close() }
