package transfer

import "fmt"

// Trust says how sure it is that a message comes from the device that it
// names. It grows with the number.
type Trust int

const (
	// TrustNone: the room is not encrypted. Only the homeservers vouch for the
	// user, and nobody for the device.
	TrustNone Trust = iota
	// TrustDevice: encryption proves the device; nobody vouches that it is
	// the user's.
	TrustDevice
	// TrustIdentity: the device is signed by the identity that the user has
	// had for as long as we know them (cross-signing, trust on first use).
	TrustIdentity
	// TrustVerified: the same, and this person has verified that identity.
	TrustVerified
	numTrusts
)

var trustNames = [numTrusts]string{"unencrypted", "unverified", "cross-signed", "verified"}

// String gives the name as it appears in attributes and in status.
func (t Trust) String() string {
	if t < 0 || t >= numTrusts {
		return fmt.Sprintf("trust %d", int(t))
	}
	return trustNames[t]
}

// MarshalText writes the name.
func (t Trust) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads the name.
func (t *Trust) UnmarshalText(text []byte) error {
	for i, name := range trustNames {
		if name == string(text) {
			*t = Trust(i)
			return nil
		}
	}
	return fmt.Errorf("no such trust: %q", text)
}
