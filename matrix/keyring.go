package matrix

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"go.mau.fi/util/dbutil"
	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/crypto"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"github.com/matrixfs/matrixfs/transfer"
)

// keyring is the keys of this device, and what is known of those of others:
// Olm and Megolm (client-server API, "End-to-End Encryption"), as mautrix has
// them. Whatever it does may take a request to the homeserver.
//
// The machine is not safe for concurrent use throughout, so all use of it goes
// through gate, which unlike a mutex can be waited for with a context.
type keyring struct {
	log   *slog.Logger
	self  transfer.Peer
	mach  *crypto.OlmMachine
	store *keyStore
	least transfer.Trust // what a device needs to count
	// verifier gets the events of verifications; nil while logging in.
	verifier *verifier
	gate     chan struct{} // capacity 1: filled by whoever uses what follows and the machine

	// asked are the last requests of our other devices for a private key.
	asked []*event.SecretRequestEventContent
	// outdated are the users whose devices have changed, and could not be
	// asked for yet.
	outdated map[id.UserID]bool
	// shared tells to whom the session of each room has gone, in this run.
	shared map[transfer.RoomID]audience
	// met tells when the devices of a user were asked for, who had sent a message
	// with a key that was not known; tries counts failures to ask, in a row.
	met   map[id.UserID]time.Time
	tries int
	// strangers are sessions of devices that the homeserver does not know.
	strangers map[stranger]bool
}

// maxQuery bounds how many users one request asks the keys of.
const maxQuery = 100

// openKeyring reads the keys from the database, or makes new ones. key locks
// them there.
func openKeyring(ctx context.Context, s *store, api *mautrix.Client, rooms *roster, key []byte, log *slog.Logger) (*keyring, error) {
	ks := &keyStore{SQLCryptoStore: crypto.NewSQLCryptoStore(s.db, dbutil.NoopLogger, "", api.DeviceID, key)}
	if err := ks.DB.Upgrade(ctx); err != nil {
		return nil, err
	}
	machineLog := newZerolog(log)
	k := &keyring{
		log: log, self: transfer.Peer{User: transfer.UserID(api.UserID), Device: transfer.DeviceID(api.DeviceID)},
		store: ks, mach: crypto.NewOlmMachine(api, &machineLog, ks, roomsForKeys{rooms}),
		gate: make(chan struct{}, 1), outdated: map[id.UserID]bool{}, shared: map[transfer.RoomID]audience{},
		strangers: map[stranger]bool{}, met: map[id.UserID]time.Time{},
	}
	if rooms.policy.verified {
		k.least = transfer.TrustVerified
	}
	ks.fit = k.fit
	k.mach.DisableDecryptKeyFetching = true // decrypt does that, and again if it fails
	k.mach.DisableRatchetTracking = true    // keys are never deleted early, so there is nothing to track
	if err := k.mach.Load(ctx); err != nil {
		return nil, fmt.Errorf("the keys can't be read: %w", err)
	}
	if k.mach.GetAccount().Shared {
		return k, nil
	}
	return k, ks.PutAccount(ctx, k.mach.GetAccount())
}

// enter waits for the machine. leave must be called.
func (k *keyring) enter(ctx context.Context) (leave func(), err error) {
	select {
	case k.gate <- struct{}{}:
		return func() { <-k.gate }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// publish uploads the keys of this device, unless that has been done.
func (k *keyring) publish(ctx context.Context) error {
	leave, err := k.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if k.mach.GetAccount().Shared {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return k.mach.ShareKeys(limited, 0)
}

// close ends what the machine does in the background.
func (k *keyring) close() { k.mach.Destroy() }

// keySync is the part of a sync that is for the keys.
type keySync struct {
	ToDevice    eventList `json:"to_device"`
	DeviceLists struct {
		Changed []id.UserID `json:"changed"`
	} `json:"device_lists"`
	// OneTimeKeys is nil where the homeserver says nothing of them.
	OneTimeKeys *mautrix.OTKCount `json:"device_one_time_keys_count"`
}

// take works through what a sync brings. news reports whether sessions may
// have come, and renewed whether devices of others may have. After an error the
// sync is to be made again.
func (k *keyring) take(ctx context.Context, sync *keySync) (news, renewed bool, err error) {
	leave, err := k.enter(ctx)
	if err != nil {
		return false, false, err
	}
	defer leave()
	limited, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	events := sync.ToDevice.decodeToDevice()
	if renewed, err = k.refresh(limited, sync.DeviceLists.Changed); err == nil {
		err = k.meet(limited, events)
	}
	if err != nil && ctx.Err() == nil {
		k.log.Warn("the devices of others can't be asked for", "cause", cause(err))
		if k.tries++; k.tries < maxKeyTries {
			return false, false, err // the sync comes again
		}
	}
	k.tries = 0
	// Afresh: what asking has used up must not cost the keys that have come.
	limited, cancel = context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	for _, evt := range events {
		k.takeToDevice(limited, evt)
		news = true
	}
	if sync.OneTimeKeys != nil {
		k.mach.HandleOTKCounts(limited, sync.OneTimeKeys)
	}
	k.mach.MarkOlmHashSavePoint(limited)
	return news, renewed, ctx.Err()
}

// refresh asks for the keys of users whose devices have changed, of those that
// are of interest, and reports whether there were any. What fails is tried
// again at the next call.
func (k *keyring) refresh(ctx context.Context, changed []id.UserID) (renewed bool, err error) {
	if len(changed) > 0 {
		known, err := k.store.FilterTrackedUsers(ctx, changed)
		if err != nil {
			return false, err
		}
		for _, user := range known {
			k.outdated[user] = true
		}
	}
	if len(k.outdated) == 0 {
		return false, nil
	}
	if err := k.query(ctx, slices.Collect(maps.Keys(k.outdated))); err != nil {
		return false, err
	}
	clear(k.outdated)
	return true, nil
}

// query asks the homeserver for the keys of users.
func (k *keyring) query(ctx context.Context, users []id.UserID) error {
	for some := range slices.Chunk(users, maxQuery) {
		if _, err := k.mach.FetchKeys(ctx, some, true); err != nil {
			return err
		}
	}
	return nil
}
