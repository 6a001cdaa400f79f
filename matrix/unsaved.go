package matrix

import (
	"context"
	"errors"
)

// maxUnsaved bounds the changes that wait for the disk to work again.
const maxUnsaved = 200_000

// errUnsaved says that the stored state is left as it is: more has changed
// since than fits in memory. The next start catches up from there.
var errUnsaved = errors.New("too many changes are waiting for the disk; the next start catches up")

// unsaved collects what a sync changed, to be stored together with its token.
// What can't be stored is kept for the next time: the token never runs ahead
// of the state. It belongs to the sync loop.
type unsaved struct {
	changes []func(context.Context, *store) error
	lost    bool
}

func (u *unsaved) add(change func(context.Context, *store) error) {
	if u.lost || len(u.changes) >= maxUnsaved {
		u.changes, u.lost = nil, true
		return
	}
	u.changes = append(u.changes, change)
}

// save stores all changes and the sync token, or nothing.
func (u *unsaved) save(ctx context.Context, c *Client, since string) error {
	if u.lost {
		return errUnsaved
	}
	err := c.store.db.DoTxn(ctx, nil, func(ctx context.Context) error {
		for _, change := range u.changes {
			if err := change(ctx, c.store); err != nil {
				return err
			}
		}
		return c.store.saveSince(ctx, since)
	})
	if err == nil {
		u.changes = nil
	}
	return err
}
