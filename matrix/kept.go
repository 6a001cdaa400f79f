package matrix

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"go.mau.fi/util/dbutil"

	"github.com/matrixfs/matrixfs/transfer"
)

// maxKept bounds the messages kept for the next start, and maxKeptOf those that
// one user has sent: nobody can fill it for all.
const (
	maxKept   = 2000
	maxKeptOf = 300
)

// keeper stores the messages of offers that are alive. The homeserver shows a
// message once; without this, an offer that nobody has answered would be gone
// after a restart, although it stands over there.
type keeper struct {
	store *store

	// mu guards what follows.
	mu    sync.Mutex
	rows  int
	deals map[deal]bool           // of which the invite is kept
	of    map[transfer.UserID]int // how many messages each user has there
}

func newKeeper(s *store) *keeper {
	return &keeper{store: s, deals: map[deal]bool{}, of: map[transfer.UserID]int{}}
}

// keptMessage is a row.
type keptMessage struct {
	transfer.Received
	born time.Time
}

// add stores a message of an offer that others make, or made: own tells our own
// messages, which matter only beside a kept invite.
func (k *keeper) add(ctx context.Context, r transfer.Received, own bool) error {
	d := deal{r.Room, r.Message.Transfer()}
	_, invite := r.Message.(*transfer.Invite)
	k.mu.Lock()
	known := k.deals[d]
	if k.rows >= maxKept || k.of[r.From.User] >= maxKeptOf || !known && (own || !invite) {
		k.mu.Unlock()
		return nil
	}
	k.rows++
	k.of[r.From.User]++
	k.deals[d] = true
	k.mu.Unlock()
	return k.store.saveKept(ctx, keptMessage{r, time.Now().Add(-r.Age)})
}

// retire forgets the messages of a transfer that is over.
func (k *keeper) retire(ctx context.Context, d deal) error {
	k.mu.Lock()
	known := k.deals[d]
	delete(k.deals, d)
	k.mu.Unlock()
	if !known {
		return nil
	}
	gone, err := k.store.dropKept(ctx, d)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.rows -= len(gone)
	for _, user := range gone {
		if k.of[user]--; k.of[user] <= 0 {
			delete(k.of, user)
		}
	}
	return err
}

// replay gives the messages that an earlier run was given, of offers that are
// alive, in their order; the others are forgotten.
func (k *keeper) replay(ctx context.Context) ([]transfer.Received, error) {
	list, err := k.store.loadKept(ctx)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	alive := map[deal]bool{}
	for _, m := range list {
		if invite, ok := m.Message.(*transfer.Invite); ok && now.Before(m.born.Add(invite.Lifetime)) {
			alive[deal{m.Room, invite.ID}] = true
		}
	}
	var kept []transfer.Received
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, m := range list {
		d := deal{m.Room, m.Message.Transfer()}
		if !alive[d] {
			if _, err := k.store.dropKept(ctx, d); err != nil {
				return nil, err
			}
			continue
		}
		k.deals[d] = true
		k.rows++
		k.of[m.From.User]++
		m.Age = max(0, now.Sub(m.born))
		kept = append(kept, m.Received)
	}
	return kept, nil
}

// replay passes on what was kept, before anything new. It belongs to Run.
func (c *Client) replay(ctx context.Context) {
	list, err := c.keeper.replay(ctx)
	if err != nil {
		c.log.Warn("offers of an earlier run can't be read", "error", err)
	}
	for _, r := range list {
		if c.recheck(ctx, &r) && c.roster.unsafe(r.Room) == "" && !c.roster.ignores(r.From.User) {
			c.tell(func(to Receiver) { to.Receive(r) })
		}
	}
}

// recheck brings up to date what is known of the sender of a message that was
// kept, and reports whether it still counts.
func (c *Client) recheck(ctx context.Context, r *transfer.Received) bool {
	if r.From.Device == "" {
		return !c.roster.encrypted(r.Room) // it may be by now
	}
	trust, err := c.keys.recheck(ctx, r.From)
	if err != nil {
		c.log.Warn("a message counts as not sent", "room", r.Room, "from", r.From.String(), "cause", err)
		return false
	}
	r.Trust = trust
	return true
}

// keep stores a message for the next start.
func (c *Client) keep(r transfer.Received, own bool) {
	if err := c.keeper.add(context.WithoutCancel(c.stopped), r, own); err != nil {
		c.log.Warn("the state can't be stored", "error", err)
	}
}

func (s *store) saveKept(ctx context.Context, m keptMessage) error {
	content, err := json.Marshal(m.Message)
	if err != nil {
		return err
	}
	_, err = s.db.Exec(ctx, `INSERT INTO matrixfs_kept
		(event_id, room_id, transfer_id, user_id, device_id, trust, type, content, born)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (event_id) DO NOTHING`,
		m.Event, m.Room, m.Message.Transfer(), m.From.User, m.From.Device, int(m.Trust),
		m.Message.EventType(), string(content), m.born.UnixMilli())
	return err
}

// keptColumns are what scanKept reads.
const keptColumns = "event_id, room_id, user_id, device_id, trust, type, content, born"

// scanKept reads a message. One that can't be decoded, by a newer version
// perhaps, is nil.
func scanKept(row dbutil.Scannable) (m *keptMessage, err error) {
	m = new(keptMessage)
	var kind, content string
	var born int64
	if err := row.Scan(&m.Event, &m.Room, &m.From.User, &m.From.Device, &m.Trust, &kind, &content, &born); err != nil {
		return nil, err
	}
	m.born = time.UnixMilli(born)
	m.Message, _ = transfer.DecodeMessage(kind, []byte(content))
	return m, nil
}

// findKept gives the invite that an event was, or nil.
func (s *store) findKept(ctx context.Context, at transfer.RoomID, evt transfer.EventID) (*keptMessage, error) {
	m, err := scanKept(s.db.QueryRow(ctx, "SELECT "+keptColumns+" FROM matrixfs_kept WHERE event_id=$1 AND room_id=$2 AND type=$3",
		evt, at, transfer.EventInvite))
	if errors.Is(err, sql.ErrNoRows) || err == nil && m.Message == nil {
		return nil, nil
	}
	return m, err
}

// loadKept reads all that is kept, oldest first.
func (s *store) loadKept(ctx context.Context) ([]keptMessage, error) {
	rows, err := s.db.Query(ctx, "SELECT "+keptColumns+" FROM matrixfs_kept ORDER BY rowid LIMIT $1", maxKept)
	list, err := dbutil.NewRowIterWithError(rows, scanKept, err).AsList()
	var good []keptMessage
	for _, m := range list {
		if m.Message != nil {
			good = append(good, *m)
		}
	}
	return good, err
}

// dropKept forgets the messages of a transfer, and gives who sent each of them.
func (s *store) dropKept(ctx context.Context, d deal) ([]transfer.UserID, error) {
	rows, err := s.db.Query(ctx, "DELETE FROM matrixfs_kept WHERE room_id=$1 AND transfer_id=$2 RETURNING user_id", d.room, d.of)
	return dbutil.NewRowIterWithError(rows, dbutil.ScanSingleColumn[transfer.UserID], err).AsList()
}
