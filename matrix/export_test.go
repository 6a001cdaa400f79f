package matrix

import (
	"context"

	"maunium.net/go/mautrix/id"

	"github.com/matrixfs/matrixfs/transfer"
)

// ResetIdentity replaces the account's identity by one that vouches for this
// device, as another client could.
func (c *Client) ResetIdentity(ctx context.Context, password string) error {
	return c.withKeys(ctx, func(ctx context.Context) error {
		keys, err := c.keys.publishIdentity(ctx, password)
		if err != nil {
			return err
		}
		_, public, err := c.keys.standing(ctx)
		if err != nil {
			return err
		}
		return c.keys.adopt(ctx, public, keys)
	})
}

// DeviceGone reports whether the client knows that a device has been logged out.
func (c *Client) DeviceGone(p transfer.Peer) bool {
	device, err := c.keys.store.GetDevice(context.Background(), id.UserID(p.User), id.DeviceID(p.Device))
	return err == nil && device != nil && device.Deleted
}

// ErrUnsigned is why a device counts as nobody that its user's identity does not
// vouch for.
var ErrUnsigned = errUnsigned

// Trust gives what the client thinks of a device.
func (c *Client) Trust(ctx context.Context, p transfer.Peer) (transfer.Trust, error) {
	return c.keys.recheck(ctx, p)
}
