package matrix

import "context"

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
