package transfer

import "time"

// Direction tells an outgoing transfer from an incoming one.
type Direction int

const (
	// Out: this device offers the file.
	Out Direction = iota
	// In: this device was offered the file.
	In
)

// String gives "out" or "in".
func (d Direction) String() string {
	if d == In {
		return "in"
	}
	return "out"
}

// MarshalText writes the direction's name.
func (d Direction) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads the direction's name; all but "in" is Out.
func (d *Direction) UnmarshalText(text []byte) error {
	*d = Out
	if string(text) == "in" {
		*d = In
	}
	return nil
}

// Status is what can be told of a transfer at one moment.
type Status struct {
	ID        ID        `json:"transfer_id"`
	Direction Direction `json:"direction"`
	Room      RoomID    `json:"room"`
	// Peer is the sender of an incoming file, and whoever answered an
	// outgoing one; empty until it is known. Where the room is not encrypted,
	// the device is only what the peer says.
	Peer Peer `json:"peer"`
	// Trust is how sure it is who the peer is.
	Trust Trust `json:"trust"`
	// Name is the name as its owner has it: hostile where it was received.
	Name     string `json:"name"`
	MIMEType string `json:"mimetype"`
	// Size is in bytes, or negative where it is not known.
	Size int64 `json:"size"`
	// SHA256 is that of the whole file in unpadded base64, or empty where the
	// offer does not tell it.
	SHA256 string `json:"sha256,omitempty"`
	// Bytes counts what the receiving device has.
	Bytes int64 `json:"bytes"`
	State State `json:"state"`
	// Err says why the transfer ended, if not well.
	Err string `json:"error,omitempty"`
	// Path is "direct" or "relayed" once connected.
	Path string `json:"path,omitempty"`
	// Rate is in bytes per second, over the last seconds.
	Rate float64 `json:"rate"`
	// Created, Expires (of an offer not yet accepted) and Ended are zero
	// where they do not apply.
	Created time.Time `json:"created,omitzero"`
	Expires time.Time `json:"expires,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
}
