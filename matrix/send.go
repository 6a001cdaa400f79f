package matrix

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"github.com/matrixfs/matrixfs/transfer"
)

// How long Send tries. Somebody waits for cp to say that the network is gone.
const (
	// patience is how long after the call a try may still begin, apart from
	// waits that the homeserver asks for.
	patience = 4 * time.Second
	// slowPatience is the same for a homeserver that is there, and too busy to
	// answer.
	slowPatience = 30 * time.Second
	// attemptTimeout is how long one try may take. A homeserver under load
	// takes seconds; one that is gone without a word is noticed by this.
	attemptTimeout = 8 * time.Second
	// retryPause is between tries.
	retryPause = 200 * time.Millisecond
)

// Send puts the message into the room. It refuses (ErrNotAllowed) rooms that
// are not safe or where this user may not speak, and waits until the rules of
// the room are known to be fresh. When the homeserver asks for a pause it gets
// one, no longer than ctx lives. When it can't be reached Send tries for a few
// seconds, then gives up with ErrOffline; the message may have got through all
// the same, but never twice. ErrLoggedOut ends Run too.
func (c *Client) Send(ctx context.Context, at transfer.RoomID, m transfer.Message) (transfer.EventID, error) {
	ctx, end, err := c.begin(ctx)
	if err != nil {
		return "", err
	}
	defer end()
	content, err := json.Marshal(m)
	if err != nil {
		return "", err
	}
	t := &sending{c: c, at: at, kind: m.EventType(), content: content, txn: txnPrefix + rand.Text()}
	c.eraser.begin(at, m.Transfer())
	id, err := t.send(ctx)
	if err == nil {
		if err := c.eraser.sent(context.WithoutCancel(ctx), sentOf(id, at, m)); err != nil {
			c.log.Warn("the state can't be stored", "error", err)
		}
	}
	if c.stopped.Err() != nil && errors.Is(err, context.Canceled) {
		err = ErrClosed
	}
	return id, err
}

// txnPrefix starts the transaction of each message.
const txnPrefix = "matrixfs-"

// sending is one call of Send.
type sending struct {
	c       *Client
	at      transfer.RoomID
	kind    string
	content json.RawMessage
	sealed  *event.EncryptedEventContent // content, once it has been encrypted
	txn     string                       // the same for each try, so that the homeserver takes one
	openly  bool                         // an event of a verification: for all devices
}

func (t *sending) send(ctx context.Context) (transfer.EventID, error) {
	release, err := t.c.pacer.enter(ctx)
	if err != nil {
		return "", err
	}
	defer func() { release() }()
	deadline, slow := time.Now().Add(patience), time.Now().Add(slowPatience)
	for {
		if err := t.c.line.wait(ctx, deadline); err != nil {
			return "", err
		}
		// Each time: the rules may have changed while this waited.
		encrypted, err := t.c.roster.maySend(t.at)
		if err != nil {
			return "", err
		}
		id, err := t.try(ctx, encrypted)
		if err == nil {
			return id, nil
		}
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		wait, limited := retryAfter(err)
		switch {
		case limited:
			release()
			t.c.pacer.slow(wait)
			if release, err = t.c.pacer.enter(ctx); err != nil {
				release = func() {}
				return "", err
			}
			deadline = time.Now().Add(patience)
		case !unreachable(err):
			return "", t.refused(err)
		case time.Now().After(deadline) && (!isBusy(err) || time.Now().After(slow)):
			return "", offline(err)
		default:
			if isBusy(err) { // line.wait finds out whether it is there at all
				deadline = time.Now().Add(patience)
			}
			t.c.line.doubt()
			if err := pause(ctx, retryPause); err != nil {
				return "", err
			}
		}
	}
}

// try makes one attempt: it encrypts the message, if need be, and sends it.
func (t *sending) try(ctx context.Context, encrypted bool) (transfer.EventID, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	kind := event.Type{Type: t.kind, Class: event.MessageEventType}
	var content any = t.content
	if encrypted {
		if t.sealed == nil {
			seal := t.c.keys.seal
			if t.openly {
				seal = t.c.keys.sealOpenly
			}
			sealed, err := seal(ctx, t.at, t.c.roster.members(t.at), t.kind, t.content)
			if err != nil {
				return "", err
			}
			t.sealed = sealed
		}
		kind, content = event.EventEncrypted, t.sealed
	}
	resp, err := t.c.api.SendMessageEvent(ctx, id.RoomID(t.at), kind, content, mautrix.ReqSendEvent{
		TransactionID: t.txn,
		DontEncrypt:   true, // seal has done that
	})
	if err != nil {
		return "", err
	}
	return transfer.EventID(resp.EventID), nil
}

// refused turns the homeserver's no into an error.
func (t *sending) refused(err error) error {
	switch {
	case loggedOut(err):
		// The sync loop meets the same answer, and ends Run.
		t.c.line.doubt()
		t.c.line.nudge()
		return ErrLoggedOut
	case errors.Is(err, mautrix.MForbidden):
		return fmt.Errorf("%w: the homeserver refuses", transfer.ErrNotAllowed)
	}
	return fmt.Errorf("the homeserver did not take the message: %s", cause(err))
}

// pacer keeps to the homeserver's rate limit. While there is one in force, one
// Send at a time may try, and only after the pause that was asked for: each
// refused request would make the limit last longer.
type pacer struct {
	turn chan struct{} // capacity 1; filled by whoever may try
	// mu guards what follows.
	mu    sync.Mutex
	until time.Time // no request before this
}

// slow notes that the homeserver asks for a pause.
func (p *pacer) slow(wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if until := time.Now().Add(wait); until.After(p.until) {
		p.until = until
	}
}

func (p *pacer) left() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Until(p.until)
}

// enter waits until a request may be made. release lets the next one go.
func (p *pacer) enter(ctx context.Context) (release func(), err error) {
	if p.left() <= 0 {
		return func() {}, nil
	}
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for {
		left := p.left()
		if left <= 0 {
			return sync.OnceFunc(func() { <-p.turn }), nil
		}
		if err := pause(ctx, left); err != nil {
			<-p.turn
			return nil, err
		}
	}
}
