package matrix

import (
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	"maunium.net/go/mautrix/crypto/canonicaljson"

	"github.com/matrixfs/matrixfs/transfer"
)

// The one way of verifying that is offered and taken (client-server API, "Short
// Authentication String (SAS) verification"). The older key agreement and the
// older MAC are left out: all clients have had these for years.
const (
	sasMethod     = "m.sas.v1"
	sasAgreement  = "curve25519-hkdf-sha256"
	sasHash       = "sha256"
	sasMAC        = "hkdf-hmac-sha256.v2"
	sasCode       = "emoji"
	sasCodeNumber = "decimal"
)

// errBadKey: a public key is not one.
var errBadKey = errors.New("not a Curve25519 key")

// sas is the arithmetic of one verification.
type sas struct {
	private *ecdh.PrivateKey
	secret  []byte // shared; nil until agree
	theirs  string // their public key, as they have sent it
}

func newSAS() *sas {
	private, _ := ecdh.X25519().GenerateKey(rand.Reader) // never fails
	return &sas{private: private}
}

// public gives our public key as it is sent.
func (s *sas) public() string {
	return base64.RawStdEncoding.EncodeToString(s.private.PublicKey().Bytes())
}

// agree takes the other side's public key. One that makes the secret known to
// everybody is refused.
func (s *sas) agree(theirs string) error {
	raw, err := decodeBase64(theirs)
	if err != nil {
		return errBadKey
	}
	public, err := ecdh.X25519().NewPublicKey(raw)
	if err != nil {
		return errBadKey
	}
	s.secret, err = s.private.ECDH(public)
	if err != nil {
		return errBadKey
	}
	s.theirs = theirs
	return nil
}

// commitment is what whoever accepts says of its public key before it has seen
// the other one, so that it can't choose a key that gives the same code.
func commitment(public string, start json.RawMessage) (string, error) {
	canonical := slices.Clone(start)
	if err := canonicaljson.Canonicalize(&canonical); err != nil {
		return "", err
	}
	h := sha256.New()
	h.Write([]byte(public))
	h.Write(canonical)
	return base64.RawStdEncoding.EncodeToString(h.Sum(nil)), nil
}

// party is one of the two, with its public key.
type party struct {
	transfer.Peer
	public string
}

// code derives what the people compare. starter has sent the start event.
func (s *sas) code(starter, accepter party, txn string) ShortCode {
	info := strings.Join([]string{
		"MATRIX_KEY_VERIFICATION_SAS",
		string(starter.User), string(starter.Device), starter.public,
		string(accepter.User), string(accepter.Device), accepter.public, txn,
	}, "|")
	return newShortCode([shortCodeSize]byte(s.derive(info, shortCodeSize)))
}

// derive is HKDF-SHA256 of the shared secret, without salt.
func (s *sas) derive(info string, size int) []byte {
	out, err := hkdf.Key(sha256.New, s.secret, nil, info, size)
	if err != nil {
		panic(err) // it asks for less than 8 KiB
	}
	return out
}

// mac authenticates a text that from sends to the other. what is the id of the
// key that it is, or "KEY_IDS".
func (s *sas) mac(from, to transfer.Peer, txn, what, text string) string {
	info := "MATRIX_KEY_VERIFICATION_MAC" + string(from.User) + string(from.Device) + string(to.User) + string(to.Device) + txn + what
	h := hmac.New(sha256.New, s.derive(info, sha256.Size))
	h.Write([]byte(text))
	return base64.RawStdEncoding.EncodeToString(h.Sum(nil))
}

// macs authenticates keys, by their ids, and the list of the ids.
func (s *sas) macs(from, to transfer.Peer, txn string, keys map[string]string) (each map[string]string, list string) {
	each = make(map[string]string, len(keys))
	for name, key := range keys {
		each[name] = s.mac(from, to, txn, name, key)
	}
	return each, s.mac(from, to, txn, "KEY_IDS", keyList(keys))
}

// keyList is the sorted ids of keys, as they are authenticated.
func keyList(keys map[string]string) string {
	return strings.Join(slices.Sorted(maps.Keys(keys)), ",")
}

// sameMAC compares in constant time, padded or not.
func sameMAC(a, b string) bool {
	x, errX := decodeBase64(a)
	y, errY := decodeBase64(b)
	return errX == nil && errY == nil && len(x) == sha256.Size && hmac.Equal(x, y)
}
