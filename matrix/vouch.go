package matrix

import (
	"context"
	"errors"

	"maunium.net/go/mautrix/crypto/olm"
	"maunium.net/go/mautrix/id"

	"github.com/matrixfs/matrixfs/transfer"
)

// keyNotary is the notary of a client: the keys are those of its keyring.
type keyNotary struct{ c *Client }

var _ notary = keyNotary{}

// ours implements notary: the key of this device, and the master key if this
// device trusts it.
func (n keyNotary) ours(ctx context.Context) (keys map[string]string, err error) {
	err = n.c.withKeys(ctx, func(ctx context.Context) error {
		k := n.c.keys
		standing, public, err := k.standing(ctx)
		if err != nil {
			return err
		}
		keys = map[string]string{"ed25519:" + string(k.self.Device): string(k.deviceSigner().public)}
		if standing >= Verified {
			keys["ed25519:"+string(public.master)] = string(public.master)
		}
		return nil
	})
	return keys, err
}

// theirs implements notary.
func (n keyNotary) theirs(ctx context.Context, peer transfer.Peer) (c claims, err error) {
	err = n.c.withKeys(ctx, func(ctx context.Context) error {
		k, user := n.c.keys, id.UserID(peer.User)
		standing, _, err := k.standing(ctx)
		if err != nil {
			return err
		}
		c.strict = peer.User != k.self.User || standing < Verified
		if err := k.ask(ctx, user); err != nil {
			return err
		}
		device, err := k.store.GetDevice(ctx, user, id.DeviceID(peer.Device))
		if err != nil {
			return err
		}
		if device == nil {
			return ErrUnproven
		}
		public, err := k.identity(ctx, user)
		if err != nil && !errors.Is(err, errNoIdentity) {
			return err
		}
		c.device, c.master = device.SigningKey, public.master
		return nil
	})
	return c, err
}

// vouch implements notary. The identity of another user is signed with our
// user-signing key; a device of ours with our self-signing key, if we hold it;
// and our identity by this device, if that was in question.
func (n keyNotary) vouch(ctx context.Context, peer transfer.Peer, proven claims) error {
	return n.c.withKeys(ctx, func(ctx context.Context) error {
		k, user := n.c.keys, id.UserID(peer.User)
		standing, public, err := k.standing(ctx)
		if err != nil {
			return err
		}
		if peer.User != k.self.User {
			key, err := k.userSigner(ctx, standing, public)
			if err != nil {
				return err
			}
			return k.endorseMaster(ctx, user, proven.master, crossSigner(key))
		}
		if standing == Unverified {
			if proven.master == "" || proven.master != public.master {
				return ErrUnproven
			}
			return k.endorseMaster(ctx, user, proven.master, k.deviceSigner())
		}
		key, err := k.privateKey(ctx, id.SecretXSSelfSigning, public.selfSigning)
		if err != nil {
			return nil // the other device may have it
		}
		if err := k.endorseDevice(ctx, peer.Device, proven.device, crossSigner(key)); err != nil {
			return err
		}
		k.answerAgain(ctx, peer.Device)
		return nil
	})
}

// userSigner gives the key that vouches for other users. The caller has the
// gate.
func (k *keyring) userSigner(ctx context.Context, standing Standing, public identity) (olm.PKSigning, error) {
	switch {
	case standing == NoIdentity:
		return nil, ErrNoIdentity
	case standing == Unverified:
		return nil, ErrUnverified
	}
	key, err := k.privateKey(ctx, id.SecretXSUserSigning, public.userSigning)
	if err != nil {
		return nil, ErrNoSigningKey
	}
	return key, nil
}
