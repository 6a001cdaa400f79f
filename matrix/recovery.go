package matrix

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/crypto"
	"maunium.net/go/mautrix/crypto/olm"
	"maunium.net/go/mautrix/crypto/ssss"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"
)

// crossSecrets are the private cross-signing keys, and where secret storage
// has them (client-server API, "Secrets"; the names are the same).
var crossSecrets = []struct {
	name   id.Secret
	stored event.Type
	public func(identity) id.Ed25519
}{
	{id.SecretXSMaster, event.AccountDataCrossSigningMaster, func(i identity) id.Ed25519 { return i.master }},
	{id.SecretXSSelfSigning, event.AccountDataCrossSigningSelf, func(i identity) id.Ed25519 { return i.selfSigning }},
	{id.SecretXSUserSigning, event.AccountDataCrossSigningUser, func(i identity) id.Ed25519 { return i.userSigning }},
}

// Limits on what the homeserver says of a passphrase (client-server API,
// "Deriving keys from passphrases").
const (
	// maxRounds bounds the work: Element uses 500,000 rounds, which take a
	// third of a second.
	maxRounds = 10_000_000
	// maxSalt bounds the salt in bytes: Element uses 32.
	maxSalt = 1024
	// maxRecovery bounds a recovery key or passphrase in bytes.
	maxRecovery = 4096
)

// Recover makes this device one that the account's identity vouches for, with
// the account's recovery key or the passphrase it was made from, and keeps the
// keys that verify others. Run need not be running. Its errors are
// ErrNoIdentity, ErrNoRecovery, ErrRecoveryKey, ErrOffline, or say what else is
// wrong. None has the secret in it.
func (c *Client) Recover(ctx context.Context, secret string) error {
	secret = strings.TrimSpace(secret)
	if secret == "" || len(secret) > maxRecovery {
		return ErrRecoveryKey
	}
	return c.withKeys(ctx, func(ctx context.Context) error { return c.keys.recover(ctx, secret) })
}

func (k *keyring) recover(ctx context.Context, secret string) error {
	standing, public, err := k.standing(ctx)
	if err != nil {
		return err
	}
	if standing == NoIdentity {
		return ErrNoIdentity
	}
	name, data, err := k.mach.SSSS.GetDefaultKeyData(ctx)
	switch {
	case errors.Is(err, ssss.ErrNoDefaultKeyID), errors.Is(err, mautrix.MNotFound):
		return ErrNoRecovery
	case err != nil:
		return err
	}
	storage, err := storageKey(name, data, secret)
	if err != nil {
		return err
	}
	keys, err := k.fetchPrivate(ctx, storage, public)
	if err != nil {
		return err
	}
	return k.adopt(ctx, public, keys)
}

// storageKey makes the key of secret storage from what a person has typed.
func storageKey(name string, data *ssss.KeyMetadata, secret string) (*ssss.Key, error) {
	if data.Algorithm != ssss.AlgorithmAESHMACSHA2 {
		return nil, fmt.Errorf("%w: the account stores its secrets in a way that this version does not know", ErrNoRecovery)
	}
	key, err := data.VerifyRecoveryKey(name, secret)
	if err == nil || errors.Is(err, ssss.ErrUnverifiableKey) {
		return key, nil
	}
	if p := data.Passphrase; p == nil || p.Iterations < 1 || p.Iterations > maxRounds || len(p.Salt) > maxSalt || (p.Bits != 0 && p.Bits != 256) {
		return nil, ErrRecoveryKey
	}
	if key, err = data.VerifyPassphrase(name, secret); err != nil {
		return nil, ErrRecoveryKey
	}
	return key, nil
}

// fetchPrivate reads our private keys from secret storage. They are proof of
// the identity only if they are the halves of the public ones.
func (k *keyring) fetchPrivate(ctx context.Context, storage *ssss.Key, public identity) (map[id.Secret]olm.PKSigning, error) {
	keys := make(map[id.Secret]olm.PKSigning)
	for _, s := range crossSecrets {
		seed, err := k.mach.SSSS.GetDecryptedAccountData(ctx, s.stored, storage)
		switch {
		case errors.Is(err, mautrix.MNotFound), errors.Is(err, ssss.ErrNotEncryptedForKey):
			return nil, ErrNoRecovery
		case isRequest(err):
			return nil, err
		case err != nil || len(seed) != seedSize:
			return nil, ErrRecoveryKey
		}
		key, err := olm.NewPKSigningFromSeed(seed)
		if err != nil {
			return nil, ErrRecoveryKey
		}
		if key.PublicKey() != s.public(public) {
			return nil, ErrOldRecovery
		}
		keys[s.name] = key
	}
	return keys, nil
}

// adopt takes the identity, whose private keys are at hand, for ours: it vouches
// for this device, this device vouches for it, and the keys are kept.
func (k *keyring) adopt(ctx context.Context, public identity, keys map[id.Secret]olm.PKSigning) error {
	device := k.deviceSigner()
	if err := k.endorseDevice(ctx, k.self.Device, device.public, crossSigner(keys[id.SecretXSSelfSigning])); err != nil {
		return err
	}
	if err := k.endorseMaster(ctx, id.UserID(k.self.User), public.master, device); err != nil {
		return err
	}
	for name, key := range keys {
		if err := k.keepKey(ctx, name, key); err != nil {
			return err
		}
	}
	return nil
}

// MakeIdentity gives an account that has none an identity, which vouches for
// this device, and returns the recovery key, which is shown to nobody again.
// The password is that of the account. It never replaces an identity: the error
// is ErrIdentity then. Called again after it has failed half-way, it goes on
// from there.
func (c *Client) MakeIdentity(ctx context.Context, password string) (recoveryKey string, err error) {
	err = c.withKeys(ctx, func(ctx context.Context) error {
		recoveryKey, err = c.keys.makeIdentity(ctx, password)
		return err
	})
	return recoveryKey, err
}

func (k *keyring) makeIdentity(ctx context.Context, password string) (string, error) {
	standing, public, err := k.standing(ctx)
	if err != nil {
		return "", err
	}
	_, err = k.mach.SSSS.GetDefaultKeyID(ctx)
	switch {
	case err == nil:
		return "", ErrIdentity // or half of one, which is somebody else's work
	case !errors.Is(err, ssss.ErrNoDefaultKeyID):
		return "", err
	}
	var keys map[id.Secret]olm.PKSigning
	if standing == NoIdentity {
		keys, err = k.publishIdentity(ctx, password)
	} else if keys, err = k.keptKeys(ctx, public); err != nil {
		return "", ErrIdentity
	}
	if err != nil {
		return "", err
	}
	if _, public, err = k.standing(ctx); err != nil {
		return "", err
	}
	if err := k.adopt(ctx, public, keys); err != nil {
		return "", err
	}
	return k.storePrivate(ctx, keys)
}

// publishIdentity makes the keys, keeps them, and uploads their public halves.
func (k *keyring) publishIdentity(ctx context.Context, password string) (map[id.Secret]olm.PKSigning, error) {
	made, err := k.mach.GenerateCrossSigningKeys()
	if err != nil {
		return nil, err
	}
	keys := map[id.Secret]olm.PKSigning{
		id.SecretXSMaster: made.MasterKey, id.SecretXSSelfSigning: made.SelfSigningKey, id.SecretXSUserSigning: made.UserSigningKey,
	}
	// First: if the answer to the upload is lost, they are still there.
	for name, key := range keys {
		if err := k.keepKey(ctx, name, key); err != nil {
			return nil, err
		}
	}
	defer func(m *crypto.OlmMachine) { m.CrossSigningKeys = nil }(k.mach) // see privateKey
	err = k.mach.PublishCrossSigningKeys(ctx, made, func(asked *mautrix.RespUserInteractive) any {
		if !asked.HasSingleStageFlow(mautrix.AuthTypePassword) {
			return nil
		}
		return map[string]any{
			"type": mautrix.AuthTypePassword, "session": asked.Session, "password": password, "user": k.self.User,
			"identifier": mautrix.UserIdentifier{Type: mautrix.IdentifierTypeUser, User: string(k.self.User)},
		}
	})
	switch {
	case errors.Is(err, mautrix.MForbidden), status(err) == 401 && errcode(err) != "":
		return nil, fmt.Errorf("%w of the account", ErrPassword)
	case status(err) == 401:
		return nil, errors.New("this homeserver asks for more than a password: set up verification in another client, then run \"matrixfs verify\"")
	}
	return keys, err
}

// keptKeys gives all of our private keys, if this device holds them.
func (k *keyring) keptKeys(ctx context.Context, public identity) (map[id.Secret]olm.PKSigning, error) {
	keys := make(map[id.Secret]olm.PKSigning)
	for _, s := range crossSecrets {
		key, err := k.privateKey(ctx, s.name, s.public(public))
		if err != nil {
			return nil, err
		}
		keys[s.name] = key
	}
	return keys, nil
}

// storePrivate puts our private keys into secret storage, under a new recovery
// key.
func (k *keyring) storePrivate(ctx context.Context, keys map[id.Secret]olm.PKSigning) (string, error) {
	storage, err := k.mach.SSSS.GenerateAndUploadKey(ctx, "")
	if err != nil {
		return "", err
	}
	for _, s := range crossSecrets {
		if err := k.mach.SSSS.SetEncryptedAccountData(ctx, s.stored, keys[s.name].Seed(), storage); err != nil {
			return "", err
		}
	}
	if err := k.mach.SSSS.SetDefaultKeyID(ctx, storage.ID); err != nil {
		return "", err
	}
	return storage.RecoveryKey(), nil
}
