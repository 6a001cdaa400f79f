package matrix

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.mau.fi/util/dbutil"
	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/id"

	"github.com/matrixfs/matrixfs/transfer"
)

// How our events are taken back.
const (
	// redactDelay is how long after the end of a transfer its events stay, so
	// that devices which are a little behind still see why it ended.
	redactDelay = 3 * time.Second
	// cancelDelay is the same for a cancel. Nothing else tells a sender that its
	// offer was declined, so it stays until one that is far behind, or can't
	// reach its homeserver for a while, has seen it.
	cancelDelay = 30 * time.Second
	// redactPace and redactBurst keep redactions far below what homeservers
	// allow (Synapse: 0.2 events a second, 10 at once): the messages of the
	// next transfer must never wait for them.
	redactPace  = 10 * time.Second
	redactBurst = 4
	// redactRetry is the pause after one that the homeserver did not answer.
	redactRetry = 30 * time.Second
	// maxSent bounds the events remembered. The oldest are forgotten.
	maxSent = 4096
	// maxOver bounds the transfers remembered to be over.
	maxOver = 1024
)

// KeepEvents leaves the messages of this device in the rooms, where they would
// be redacted once their transfer is over.
func KeepEvents() Option { return func(c *Client) { c.eraser.keep = true } }

// sentEvent is an event of ours.
type sentEvent struct {
	id     transfer.EventID
	room   transfer.RoomID
	of     transfer.ID
	cancel bool // not known of what earlier runs have left
}

func sentOf(event transfer.EventID, at transfer.RoomID, m transfer.Message) sentEvent {
	_, cancel := m.(*transfer.Cancel)
	return sentEvent{event, at, m.Transfer(), cancel}
}

// deal names a transfer in a room.
type deal struct {
	room transfer.RoomID
	of   transfer.ID
}

// eraser redacts the events that this device sent, when their transfer is
// over: what remains of it in the room is nothing. What it has not got round
// to is stored, and done in a later run.
type eraser struct {
	keep  bool
	store *store
	wake  chan struct{} // capacity 1: the queue has changed

	// mu guards what follows.
	mu    sync.Mutex
	live  map[deal][]sentEvent // of transfers that are not over
	over  map[deal]bool
	queue []erasure
}

// erasure is an event that is to be redacted.
type erasure struct {
	sentEvent
	due time.Time
}

func newEraser(s *store) *eraser {
	return &eraser{store: s, wake: make(chan struct{}, 1), live: map[deal][]sentEvent{}, over: map[deal]bool{}}
}

// load takes over what earlier runs have left: their transfers ended with them.
func (e *eraser) load(ctx context.Context) error {
	list, err := e.store.loadSent(ctx)
	if err != nil || e.keep {
		return err
	}
	for _, s := range list {
		e.queue = append(e.queue, erasure{s, time.Now()})
	}
	return nil
}

// begin says that a message of a transfer is about to be sent.
func (e *eraser) begin(at transfer.RoomID, of transfer.ID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	d := deal{at, of}
	if _, ok := e.live[d]; !ok && !e.over[d] && len(e.live) < maxSent {
		e.live[d] = nil
	}
}

// sent notes an event of ours, in memory and on disk.
func (e *eraser) sent(ctx context.Context, s sentEvent) error {
	if e.keep {
		return nil
	}
	e.mu.Lock()
	if d := (deal{s.room, s.of}); e.over[d] {
		e.enqueue(s)
	} else if _, ok := e.live[d]; ok {
		e.live[d] = append(e.live[d], s)
	}
	e.mu.Unlock()
	return e.store.saveSent(ctx, s)
}

// echo notes an event of this device that the homeserver shows. One that
// belongs to no transfer of this run is from a run that crashed before it could
// note it.
func (e *eraser) echo(s sentEvent) {
	e.mu.Lock()
	defer e.mu.Unlock()
	d := deal{s.room, s.of}
	if _, live := e.live[d]; !live && !e.over[d] && !e.keep {
		e.enqueue(s)
	}
}

// retire says that a transfer is over.
func (e *eraser) retire(at transfer.RoomID, of transfer.ID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	d := deal{at, of}
	for _, s := range e.live[d] {
		e.enqueue(s)
	}
	delete(e.live, d)
	if len(e.over) >= maxOver {
		clear(e.over) // a message so late is redacted by the next run
	}
	e.over[d] = true
}

// enqueue makes an event due. mu is held.
func (e *eraser) enqueue(s sentEvent) {
	if len(e.queue) >= maxSent {
		e.queue = e.queue[1:]
	}
	delay := redactDelay
	if s.cancel {
		delay = cancelDelay
	}
	e.queue = append(e.queue, erasure{s, time.Now().Add(delay)})
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// first gives the event that is due first.
func (e *eraser) first() (erasure, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.queue) == 0 {
		return erasure{}, false
	}
	return slices.MinFunc(e.queue, func(a, b erasure) int { return a.due.Compare(b.due) }), true
}

// done removes an event from the queue and from the disk.
func (e *eraser) done(ctx context.Context, s sentEvent) error {
	e.mu.Lock()
	for i := range e.queue {
		if e.queue[i].id == s.id {
			e.queue = append(e.queue[:i], e.queue[i+1:]...)
			break
		}
	}
	e.mu.Unlock()
	return e.store.dropSent(ctx, s.id)
}

// Retire implements transfer.Signaller: the messages that this device sent for
// the transfer will be redacted, within the homeserver's limits, and the offer is
// not shown again after a restart. It waits for the disk alone.
func (c *Client) Retire(at transfer.RoomID, of transfer.ID) {
	c.eraser.retire(at, of)
	if err := c.keeper.retire(context.WithoutCancel(c.stopped), deal{at, of}); err != nil {
		c.log.Warn("the state can't be stored", "error", err)
	}
}

// erase redacts what is due, until ctx ends. It belongs to Run.
func (c *Client) erase(ctx context.Context) {
	budget, filled := float64(redactBurst), time.Now()
	for ctx.Err() == nil {
		next, ok := c.eraser.first()
		wait := time.Until(next.due)
		now := time.Now()
		budget = min(redactBurst, budget+float64(now.Sub(filled))/float64(redactPace))
		filled = now
		if budget < 1 {
			wait = max(wait, time.Duration((1-budget)*float64(redactPace)))
		}
		wait = max(wait, c.pacer.left())
		switch {
		case !ok:
			if c.eraser.await(ctx, time.Hour) != nil {
				return
			}
			continue
		case wait > 0:
			if c.eraser.await(ctx, wait) != nil { // one that is due earlier may come
				return
			}
			continue
		}
		budget--
		if !c.redact(ctx, next.sentEvent) && pause(ctx, redactRetry) != nil {
			return
		}
	}
}

// await waits until the queue has changed, at most d.
func (e *eraser) await(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-e.wake:
	case <-timer.C:
	case <-ctx.Done():
	}
	return ctx.Err()
}

// redact redacts one event, and reports whether that is settled: done, or
// never to be.
func (c *Client) redact(ctx context.Context, s sentEvent) bool {
	limited, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	// The same transaction each time: it is done once, whatever happens.
	_, err := c.api.RedactEvent(limited, id.RoomID(s.room), id.EventID(s.id), mautrix.ReqRedact{TxnID: "redact-" + string(s.id)})
	if wait, slow := retryAfter(err); slow {
		c.pacer.slow(wait)
		return true // not done, but it need not wait for more than the pacer
	}
	if err != nil && (unreachable(err) || loggedOut(err)) {
		return false
	}
	if err != nil {
		c.log.Info("an event of ours can't be redacted", "room", s.room, "event", s.id, "cause", cause(err))
	}
	if err := c.eraser.done(context.WithoutCancel(ctx), s); err != nil {
		c.log.Warn("the state can't be stored", "error", err)
	}
	return true
}

// eraseNow redacts what is due before a logout, as far as the homeserver
// allows: nobody could do it later.
func (c *Client) eraseNow(ctx context.Context) {
	for ctx.Err() == nil {
		next, ok := c.eraser.first()
		if !ok {
			return
		}
		if pause(ctx, c.pacer.left()) != nil || !c.redact(ctx, next.sentEvent) {
			return
		}
	}
}

// loadSent reads the events that earlier runs have left.
func (s *store) loadSent(ctx context.Context) ([]sentEvent, error) {
	rows, err := s.db.Query(ctx, "SELECT event_id, room_id, transfer_id FROM matrixfs_sent ORDER BY rowid DESC LIMIT $1", maxSent)
	return dbutil.NewRowIterWithError(rows, func(row dbutil.Scannable) (e sentEvent, err error) {
		return e, row.Scan(&e.id, &e.room, &e.of)
	}, err).AsList()
}

func (s *store) saveSent(ctx context.Context, e sentEvent) error {
	_, err := s.db.Exec(ctx, `INSERT INTO matrixfs_sent (event_id, room_id, transfer_id) VALUES ($1, $2, $3)
		ON CONFLICT (event_id) DO NOTHING`, e.id, e.room, e.of)
	return err
}

func (s *store) dropSent(ctx context.Context, event transfer.EventID) error {
	_, err := s.db.Exec(ctx, "DELETE FROM matrixfs_sent WHERE event_id=$1", event)
	return err
}
