package main

import (
	"context"

	"github.com/matrixfs/matrixfs/matrix"
)

// unverifiedHint is for a device that the account's identity does not vouch for.
const unverifiedHint = `this device is not verified, so others may not see what it offers to encrypted rooms: run "matrixfs verify"`

// lookAtStanding asks how this device stands to the identity of its account, and
// notes it for status. Where the homeserver does not answer, what was known
// stays.
func (d *daemon) lookAtStanding(ctx context.Context) {
	now, err := d.client.Standing(ctx)
	if err != nil {
		d.log.Info("how this device stands is not known", "cause", err)
		return
	}
	if now == matrix.Unverified {
		d.log.Warn(unverifiedHint)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.standing = now.String()
}
