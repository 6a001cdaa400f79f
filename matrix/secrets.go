package matrix

import (
	"context"
	"errors"
	"sync"
	"time"

	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"github.com/matrixfs/matrixfs/transfer"
)

// How long a device that has just been verified waits for what the other one
// has to do.
const (
	// secretTimeout is for the private keys, which the other device need not
	// have, nor give.
	secretTimeout = 15 * time.Second
	// standingTimeout is for its signature on our device.
	standingTimeout = 20 * time.Second
	// bequeathTimeout is how long a device that has the keys waits for another
	// one, which it has just verified, to ask for them. One that asks later gets
	// them from whoever runs then.
	bequeathTimeout = 5 * time.Second
	// standingPause is between looks.
	standingPause = 500 * time.Millisecond
)

// inherit asks our other devices for the private keys of the identity, now that
// this device trusts it ("Secret sharing"), and waits until the identity
// vouches for this device.
func (c *Client) inherit(ctx context.Context) error {
	c.fetchSecrets(ctx)
	deadline := time.Now().Add(standingTimeout)
	for {
		standing, err := c.Standing(ctx)
		if err != nil || standing >= Verified {
			return err
		}
		// With the key at hand there is no need to wait for the other device.
		err = c.withKeys(ctx, func(ctx context.Context) error {
			k := c.keys
			public, err := k.identity(ctx, id.UserID(k.self.User))
			if err != nil {
				return err
			}
			key, err := k.privateKey(ctx, id.SecretXSSelfSigning, public.selfSigning)
			if err != nil {
				return nil
			}
			return k.endorseDevice(ctx, k.self.Device, k.deviceSigner().public, crossSigner(key))
		})
		if err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return errors.New("the codes match, but the other device has not signed this one: is it verified itself?")
		}
		if err := pause(ctx, standingPause); err != nil {
			return err
		}
	}
}

// fetchSecrets asks for those private keys that this device does not hold, all
// at once, and keeps those that are the halves of the public ones.
func (c *Client) fetchSecrets(ctx context.Context) {
	var public identity
	err := c.withKeys(ctx, func(ctx context.Context) (err error) {
		public, err = c.keys.identity(ctx, id.UserID(c.keys.self.User))
		return err
	})
	if err != nil {
		return
	}
	var all sync.WaitGroup
	defer all.Wait()
	for _, s := range crossSecrets {
		all.Go(func() {
			// Without the gate: the answers come through the sync loop, which
			// needs it. Nothing else is used here than the store and requests.
			right := func(text string) (bool, error) {
				key, err := keyFromSeed(text)
				return err == nil && key.PublicKey() == s.public(public), nil
			}
			if err := c.keys.mach.GetOrRequestSecret(ctx, s.name, right, secretTimeout); err != nil {
				c.log.Info("no device of ours gives a private key", "name", s.name, "cause", cause(err))
			}
		})
	}
}

// maxAsked bounds the requests for private keys that are remembered. A device
// asks for three or four.
const maxAsked = 16

// remember keeps a request of one of our devices. The machine answers it at once
// if the device is verified, else never: but a device may ask when it knows that
// the verification is over, a moment before we do. The caller has the gate.
func (k *keyring) remember(request *event.SecretRequestEventContent) {
	if request.Action != event.SecretRequestRequest {
		return // withdrawn: it has the key from somebody
	}
	if len(k.asked) >= maxAsked {
		k.asked = k.asked[1:]
	}
	k.asked = append(k.asked, request)
}

// answerAgain answers what a device, which is verified by now, has asked for.
// The caller has the gate.
func (k *keyring) answerAgain(ctx context.Context, device transfer.DeviceID) {
	for _, request := range k.asked {
		if transfer.DeviceID(request.RequestingDeviceID) == device {
			k.mach.HandleSecretRequest(ctx, id.UserID(k.self.User), request)
		}
	}
}

// bequeath waits until a device that has just been verified has asked for the
// private keys, and so has got them. It need not ask.
func (c *Client) bequeath(ctx context.Context, device transfer.DeviceID) error {
	deadline := time.Now().Add(bequeathTimeout)
	names := make(map[id.Secret]bool)
	for time.Now().Before(deadline) && len(names) < len(crossSecrets) {
		err := c.withKeys(ctx, func(context.Context) error {
			for _, request := range c.keys.asked {
				if transfer.DeviceID(request.RequestingDeviceID) == device {
					names[request.Name] = true
				}
			}
			return nil
		})
		if err == nil {
			err = pause(ctx, standingPause)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
