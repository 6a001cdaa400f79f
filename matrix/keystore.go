package matrix

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"maunium.net/go/mautrix/crypto"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"
)

// keyStore is where the keys are: mautrix's tables in our database. While a
// session is being shared, devices that must not have it count as banned.
type keyStore struct {
	*crypto.SQLCryptoStore
	// fit says why a device must not be trusted, or nil.
	fit func(context.Context, *id.Device) error
}

var _ crypto.Store = (*keyStore)(nil)

// sharing marks the context of a call that shares a session.
type sharing struct{}

// GetDevices implements crypto.Store.
func (s *keyStore) GetDevices(ctx context.Context, user id.UserID) (map[id.DeviceID]*id.Device, error) {
	devices, err := s.SQLCryptoStore.GetDevices(ctx, user)
	if err != nil || ctx.Value(sharing{}) == nil {
		return devices, err
	}
	if devices == nil {
		// The homeserver did not name any. The machine would ask again, and
		// pass by what follows.
		devices = map[id.DeviceID]*id.Device{}
	}
	for _, d := range devices {
		if s.fit(ctx, d) != nil {
			d.Trust = id.TrustStateBlacklisted
		}
	}
	return devices, nil
}

// roomsForKeys tells the machine of the rooms, from memory.
type roomsForKeys struct{ *roster }

var _ crypto.StateStore = roomsForKeys{}

// IsEncrypted implements crypto.StateStore.
func (r roomsForKeys) IsEncrypted(_ context.Context, at id.RoomID) (bool, error) {
	return r.encrypted(roomID(at)), nil
}

// GetEncryptionEvent implements crypto.StateStore.
func (r roomsForKeys) GetEncryptionEvent(_ context.Context, at id.RoomID) (*event.EncryptionEventContent, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if room := r.rooms[roomID(at)]; room != nil {
		return room.encryption, nil
	}
	return nil, nil
}

// GetHistoryVisibility implements crypto.StateStore.
func (r roomsForKeys) GetHistoryVisibility(_ context.Context, at id.RoomID) (*event.HistoryVisibilityEventContent, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if room := r.rooms[roomID(at)]; room != nil && room.history != "" {
		return &event.HistoryVisibilityEventContent{HistoryVisibility: room.history}, nil
	}
	return nil, nil
}

// FindSharedRooms implements crypto.StateStore.
func (r roomsForKeys) FindSharedRooms(_ context.Context, user id.UserID) ([]id.RoomID, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []id.RoomID
	for at, room := range r.rooms {
		if _, in := room.joined[userID(user)]; in && room.encrypted {
			list = append(list, id.RoomID(at))
		}
	}
	return list, nil
}

// storeKeySize is the length in bytes of the key that the keys are stored with.
const storeKeySize = 32

// loadStoreKey reads the key that the keys in the database are locked with, or
// makes it. It is in a file of its own: a copy of the database alone
// opens no message. The login and the offers that are open lie there as they
// are.
func (d *stateDir) loadStoreKey() ([]byte, error) {
	text, err := os.ReadFile(d.file(storeKeyName))
	if errors.Is(err, fs.ErrNotExist) {
		return d.makeStoreKey()
	}
	if err != nil {
		return nil, err
	}
	key, err := base64.StdEncoding.DecodeString(string(text))
	if err != nil || len(key) != storeKeySize {
		return nil, fmt.Errorf("%s is damaged", storeKeyName)
	}
	return key, nil
}

func (d *stateDir) makeStoreKey() ([]byte, error) {
	key := make([]byte, storeKeySize)
	_, _ = rand.Read(key) // never fails
	// Whole or not at all: half a key would lock the state for good.
	unfinished := d.file(storeKeyName + ".new")
	f, err := os.OpenFile(unfinished, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = f.WriteString(base64.StdEncoding.EncodeToString(key))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, err
	}
	return key, os.Rename(unfinished, d.file(storeKeyName))
}
