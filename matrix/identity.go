package matrix

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"maunium.net/go/mautrix/crypto/olm"
	"maunium.net/go/mautrix/crypto/signatures"
	"maunium.net/go/mautrix/id"

	"github.com/matrixfs/matrixfs/transfer"
)

// Standing tells how this device stands to the identity of its account
// (cross-signing; client-server API, "Cross-signing").
type Standing int

// The standings, from the worst to the best.
const (
	// NoIdentity: the account has none.
	NoIdentity Standing = iota
	// Unverified: it has one, which does not vouch for this device, or which
	// nobody has verified here.
	Unverified
	// Verified: it vouches for this device. Other users can't be verified here,
	// because this device does not hold the key for it.
	Verified
	// Vouching: it vouches for this device, and this device for others.
	Vouching
)

// String is what a person is told.
func (s Standing) String() string {
	switch s {
	case NoIdentity:
		return "no identity"
	case Unverified:
		return "not verified"
	case Verified:
		return "verified"
	}
	return "verified, and can verify others"
}

// Standing asks the homeserver. Its errors are ErrOffline, or say what else is
// wrong.
func (c *Client) Standing(ctx context.Context) (s Standing, err error) {
	err = c.withKeys(ctx, func(ctx context.Context) error {
		s, _, err = c.keys.standing(ctx)
		return err
	})
	return s, err
}

// withKeys calls f with the gate, within the time for a few requests. What the
// homeserver answers becomes an error for people.
func (c *Client) withKeys(ctx context.Context, f func(context.Context) error) error {
	ctx, end, err := c.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	leave, err := c.keys.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	limited, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err = f(limited)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case limited.Err() != nil:
		return offline(limited.Err())
	case loggedOut(err):
		return ErrLoggedOut
	case isRequest(err) && unreachable(err):
		return offline(err)
	case isRequest(err):
		return fmt.Errorf("the homeserver refuses: %s", cause(err))
	}
	return err
}

// identity is the public part of a user's cross-signing keys. The master key
// has signed the others.
type identity struct{ master, selfSigning, userSigning id.Ed25519 }

// errNoIdentity: a user has no cross-signing keys.
var errNoIdentity = errors.New("there is no identity")

// identity gives what the store knows of a user. The caller has the gate.
func (k *keyring) identity(ctx context.Context, user id.UserID) (i identity, err error) {
	keys, err := k.store.GetCrossSigningKeys(ctx, user)
	if err != nil {
		return i, err
	}
	i = identity{keys[id.XSUsageMaster].Key, keys[id.XSUsageSelfSigning].Key, keys[id.XSUsageUserSigning].Key}
	if i.master == "" {
		return i, errNoIdentity
	}
	for _, sub := range []*id.Ed25519{&i.selfSigning, &i.userSigning} {
		signed, err := k.store.IsKeySignedBy(ctx, user, *sub, user, i.master)
		if err != nil {
			return i, err
		}
		if !signed {
			*sub = "" // anybody could have put it there
		}
	}
	return i, nil
}

// ask makes sure that the keys of a user are what the homeserver has now. The
// caller has the gate.
func (k *keyring) ask(ctx context.Context, user id.UserID) error {
	got, err := k.mach.FetchKeys(ctx, []id.UserID{user}, true)
	if err == nil && got[user] == nil {
		err = fmt.Errorf("the homeserver does not give the keys of %s: try again later", user)
	}
	return err
}

// standing tells how this device stands to the account's identity, as the
// homeserver has it now. The caller has the gate.
func (k *keyring) standing(ctx context.Context) (Standing, identity, error) {
	self := id.UserID(k.self.User)
	if err := k.ask(ctx, self); err != nil {
		return 0, identity{}, err
	}
	i, err := k.identity(ctx, self)
	if errors.Is(err, errNoIdentity) {
		return NoIdentity, i, nil
	}
	if err != nil {
		return 0, i, err
	}
	device := k.mach.GetAccount().SigningKey()
	trusted, err := k.store.IsKeySignedBy(ctx, self, i.master, self, device)
	if err != nil {
		return 0, i, err
	}
	vouched, err := k.store.IsKeySignedBy(ctx, self, device, self, i.selfSigning)
	if err != nil || !trusted || !vouched || i.selfSigning == "" || device == i.master || device == i.selfSigning {
		return Unverified, i, err
	}
	if _, err := k.privateKey(ctx, id.SecretXSUserSigning, i.userSigning); err != nil {
		return Verified, i, nil
	}
	return Vouching, i, nil
}

// errNoPrivateKey: this device does not hold the private half of a key.
var errNoPrivateKey = errors.New("this device does not hold the key")

// privateKey gives the private half of one of our cross-signing keys. One that
// was kept from an earlier identity is as good as none.
//
// mautrix would keep them in memory (CrossSigningKeys), and then go on trusting
// the identity they belong to after the account has got another. So they are
// read for each use.
func (k *keyring) privateKey(ctx context.Context, name id.Secret, public id.Ed25519) (olm.PKSigning, error) {
	text, err := k.store.GetSecret(ctx, name)
	if err != nil {
		return nil, err
	}
	key, err := keyFromSeed(text)
	if err != nil || public == "" || key.PublicKey() != public {
		return nil, errNoPrivateKey
	}
	return key, nil
}

// seedSize is the length of a private cross-signing key in bytes.
const seedSize = 32

// keyFromSeed reads a private key as secret sharing sends it.
func keyFromSeed(text string) (olm.PKSigning, error) {
	seed, err := decodeBase64(text)
	if err != nil || len(seed) != seedSize {
		return nil, errNoPrivateKey
	}
	return olm.NewPKSigningFromSeed(seed)
}

// keepKey stores a private key, locked with the key of the store. Our other
// devices may ask for it once they are verified.
func (k *keyring) keepKey(ctx context.Context, name id.Secret, key olm.PKSigning) error {
	return k.store.PutSecret(ctx, name, base64.RawStdEncoding.EncodeToString(key.Seed()))
}

// signer is a key that signs other keys.
type signer struct {
	name   string     // its name in signatures: a device, or the key itself
	public id.Ed25519 // what verifies them
	sign   func(any) (string, error)
}

func (k *keyring) deviceSigner() signer {
	account := k.mach.GetAccount()
	return signer{string(k.self.Device), account.SigningKey(), account.SignJSON}
}

func crossSigner(key olm.PKSigning) signer {
	return signer{key.PublicKey().String(), key.PublicKey(), key.SignJSON}
}

// endorse signs a key of a user, uploads the signature, and remembers it. thing
// is what the homeserver calls the key, and object the signed content.
func (k *keyring) endorse(ctx context.Context, user id.UserID, thing string, key id.Ed25519, object map[string]any, by signer) error {
	delete(object, "signatures")
	delete(object, "unsigned")
	signature, err := by.sign(object)
	if err != nil {
		return err
	}
	self := id.UserID(k.self.User)
	object["signatures"] = signatures.NewSingleSignature(self, id.KeyAlgorithmEd25519, by.name, signature)
	var answer struct {
		Failures map[string]map[string]any `json:"failures"`
	}
	url := k.mach.Client.BuildClientURL("v3", "keys", "signatures", "upload")
	request := map[id.UserID]map[string]any{user: {thing: object}}
	if _, err := k.mach.Client.MakeRequest(ctx, "POST", url, request, &answer); err != nil {
		return err
	}
	if len(answer.Failures) > 0 {
		return errors.New("the homeserver does not take the signature: try again")
	}
	return k.store.PutSignature(ctx, user, key, self, by.public, signature)
}

// endorseMaster signs a user's master key.
func (k *keyring) endorseMaster(ctx context.Context, user id.UserID, master id.Ed25519, by signer) error {
	return k.endorse(ctx, user, string(master), master, map[string]any{
		"user_id": user,
		"usage":   []id.CrossSigningUsage{id.XSUsageMaster},
		"keys":    map[id.KeyID]id.Ed25519{id.NewKeyID(id.KeyAlgorithmEd25519, string(master)): master},
	}, by)
}

// endorseDevice signs one of our own devices, whose key is the one given, with
// the self-signing key.
func (k *keyring) endorseDevice(ctx context.Context, device transfer.DeviceID, key id.Ed25519, by signer) error {
	self, name := id.UserID(k.self.User), id.DeviceID(device)
	var answer struct {
		Keys map[id.UserID]map[id.DeviceID]map[string]any `json:"device_keys"`
	}
	url := k.mach.Client.BuildClientURL("v3", "keys", "query")
	request := map[string]any{"device_keys": map[id.UserID][]id.DeviceID{self: {name}}}
	if _, err := k.mach.Client.MakeRequest(ctx, "POST", url, request, &answer); err != nil {
		return err
	}
	object := answer.Keys[self][name]
	// Only what the device itself has signed, and as the store has it.
	known, err := k.store.GetDevice(ctx, self, name)
	switch {
	case err != nil:
		return err
	case known == nil || object == nil:
		return fmt.Errorf("the device %s is gone", device)
	case known.SigningKey != key:
		return errBanned
	}
	if ok, err := signatures.VerifySignatureJSON(object, self, string(device), key); err != nil || !ok {
		return errBanned
	}
	if !sameDevice(object, known) {
		return errBanned
	}
	return k.endorse(ctx, self, string(device), key, object, by)
}

// sameDevice reports whether an object that describes a device has the keys
// that are known.
func sameDevice(object map[string]any, known *id.Device) bool {
	text, err := json.Marshal(object["keys"])
	var keys map[id.KeyID]string
	if err != nil || json.Unmarshal(text, &keys) != nil {
		return false
	}
	name := string(known.DeviceID)
	return object["user_id"] == string(known.UserID) && object["device_id"] == name &&
		keys[id.NewKeyID(id.KeyAlgorithmEd25519, name)] == string(known.SigningKey) &&
		keys[id.NewKeyID(id.KeyAlgorithmCurve25519, name)] == string(known.IdentityKey)
}

// decodeBase64 reads base64 with or without padding.
func decodeBase64(text string) ([]byte, error) {
	for len(text) > 0 && text[len(text)-1] == '=' {
		text = text[:len(text)-1]
	}
	return base64.RawStdEncoding.DecodeString(text)
}
