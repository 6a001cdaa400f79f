package matrixtest

import (
	"context"
	"fmt"

	"github.com/rs/zerolog"
	"maunium.net/go/mautrix/crypto"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"github.com/matrixfs/matrixfs/transfer"
)

// Identity is the cross-signing identity of a user, with its private keys, as
// another client of theirs holds it.
type Identity struct {
	user *User
	mach *crypto.OlmMachine
	// RecoveryKey is what the private keys can be got with.
	RecoveryKey string
}

// NewIdentity makes a new identity for a user, in place of the one they had.
func (u *User) NewIdentity(ctx context.Context) (*Identity, error) {
	quiet := zerolog.Nop()
	i := &Identity{user: u, mach: crypto.NewOlmMachine(u.API, &quiet, crypto.NewMemoryStore(nil), noRooms{})}
	if err := i.mach.Load(ctx); err != nil {
		return nil, err
	}
	var err error
	i.RecoveryKey, _, err = i.mach.GenerateAndUploadCrossSigningKeysWithPassword(ctx, u.Password, "")
	if err != nil {
		return nil, fmt.Errorf("%s could not make an identity: %w", u.Name, err)
	}
	return i, nil
}

// Sign has the identity vouch for a device of the user.
func (i *Identity) Sign(ctx context.Context, device transfer.DeviceID) error {
	devices, err := i.mach.FetchKeys(ctx, []id.UserID{i.user.API.UserID}, true)
	if err != nil {
		return err
	}
	d := devices[i.user.API.UserID][id.DeviceID(device)]
	if d == nil {
		return fmt.Errorf("%s has no device %s with keys", i.user.Name, device)
	}
	return i.mach.SignOwnDevice(ctx, d)
}

// Vouch has the identity vouch for that of another user.
func (i *Identity) Vouch(ctx context.Context, other *User) error {
	if _, err := i.mach.FetchKeys(ctx, []id.UserID{other.API.UserID}, true); err != nil {
		return err
	}
	keys, err := i.mach.GetCrossSigningPublicKeys(ctx, other.API.UserID)
	if err != nil || keys == nil {
		return fmt.Errorf("%s has no identity: %w", other.Name, err)
	}
	return i.mach.SignUser(ctx, other.API.UserID, keys.MasterKey)
}

// SignWith gives the signature of the identity's master or self-signing key on
// anything, as somebody can who lends it.
func (i *Identity) SignWith(usage id.CrossSigningUsage, anything any) (string, error) {
	key := i.mach.CrossSigningKeys.MasterKey
	if usage == id.XSUsageSelfSigning {
		key = i.mach.CrossSigningKeys.SelfSigningKey
	}
	return key.SignJSON(anything)
}

// noRooms is for a machine that only signs.
type noRooms struct{}

var _ crypto.StateStore = noRooms{}

// IsEncrypted implements crypto.StateStore.
func (noRooms) IsEncrypted(context.Context, id.RoomID) (bool, error) { return false, nil }

// GetEncryptionEvent implements crypto.StateStore.
func (noRooms) GetEncryptionEvent(context.Context, id.RoomID) (*event.EncryptionEventContent, error) {
	return nil, nil
}

// GetHistoryVisibility implements crypto.StateStore.
func (noRooms) GetHistoryVisibility(context.Context, id.RoomID) (*event.HistoryVisibilityEventContent, error) {
	return nil, nil
}

// FindSharedRooms implements crypto.StateStore.
func (noRooms) FindSharedRooms(context.Context, id.UserID) ([]id.RoomID, error) { return nil, nil }
