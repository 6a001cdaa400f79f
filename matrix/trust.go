package matrix

import (
	"context"
	"errors"

	"maunium.net/go/mautrix/id"

	"github.com/matrixfs/matrixfs/transfer"
)

// Why a device counts as nobody.
var (
	// errNobody: what was decrypted does not prove which device sent it.
	errNobody = errors.New("nothing proves which device sent it")
	// errUnsigned: the user has an identity (cross-signing), which does not
	// vouch for the device. The homeserver may have made it up.
	errUnsigned = errors.New("the device is not verified by its user")
	// errChanged: the identity is not the one that the user had before, and
	// this person has not verified it.
	errChanged = errors.New(`the user's identity has changed: run "matrixfs verify" with them`)
	// errRemoved: the device has been logged out; it may be in wrong hands.
	errRemoved = errors.New("the device is no longer one of its user's")
	// errUnverified: only verified devices count, and this is none.
	errUnverified = errors.New("the device is not verified (see --require-verified)")
	// errBanned: the device has changed its keys, or is banned.
	errBanned = errors.New("the device's keys have changed")
)

// trust says how sure it is that a device is its user's, or why it counts as
// nobody. The caller has the gate.
//
// Only cross-signing counts. mautrix also remembers devices that were verified
// one by one, and goes on trusting them after their user has changed identity;
// that is not looked at.
func (k *keyring) trust(ctx context.Context, device *id.Device) (transfer.Trust, error) {
	trust, err := k.vouch(ctx, device)
	if err == nil && trust < k.least {
		err = errUnverified
	}
	return trust, err
}

// vouch says who vouches for a device.
func (k *keyring) vouch(ctx context.Context, device *id.Device) (transfer.Trust, error) {
	switch {
	case device.Deleted:
		return 0, errRemoved
	case device.Trust == id.TrustStateBlacklisted, device.Trust == id.TrustStateDeviceKeyMismatch:
		return 0, errBanned
	}
	fresh := *device
	fresh.Trust = id.TrustStateUnset
	state, err := k.mach.ResolveTrustContext(ctx, &fresh)
	if err != nil {
		return 0, err
	}
	switch state {
	case id.TrustStateCrossSignedVerified:
		return transfer.TrustVerified, nil
	case id.TrustStateCrossSignedTOFU:
		return transfer.TrustIdentity, nil
	case id.TrustStateCrossSignedUntrusted:
		return 0, errChanged
	}
	keys, err := k.store.GetCrossSigningKeys(ctx, device.UserID)
	if err != nil {
		return 0, err
	}
	if _, ok := keys[id.XSUsageMaster]; ok {
		return 0, errUnsigned
	}
	return transfer.TrustDevice, nil
}

// recheck says how sure it is now that a device is its user's.
func (k *keyring) recheck(ctx context.Context, from transfer.Peer) (transfer.Trust, error) {
	if from == k.self {
		return transfer.TrustVerified, nil
	}
	leave, err := k.enter(ctx)
	if err != nil {
		return 0, err
	}
	defer leave()
	device, err := k.store.GetDevice(ctx, id.UserID(from.User), id.DeviceID(from.Device))
	switch {
	case err != nil:
		return 0, err
	case device == nil:
		return 0, errNobody
	}
	return k.trust(ctx, device)
}

// fit says why a device must not get our sessions, or nil.
func (k *keyring) fit(ctx context.Context, device *id.Device) error {
	_, err := k.trust(ctx, device)
	return err
}

func roomID(at id.RoomID) transfer.RoomID   { return transfer.RoomID(at) }
func userID(user id.UserID) transfer.UserID { return transfer.UserID(user) }
