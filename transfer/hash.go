package transfer

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash"
)

// Hash is the SHA-256 of a whole file.
type Hash [sha256.Size]byte

// hashText is how Matrix writes a hash (client-server API, "Extensions to
// m.room.message msgtypes").
var hashText = base64.RawStdEncoding.Strict()

// String gives the hash in unpadded base64.
func (h Hash) String() string { return hashText.EncodeToString(h[:]) }

// MarshalText writes the hash in unpadded base64.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads a hash in unpadded base64, and nothing else.
func (h *Hash) UnmarshalText(text []byte) error {
	var b [sha256.Size]byte
	// The length comes first: the decoder skips newlines, and needs room.
	if len(text) != hashText.EncodedLen(len(b)) {
		return fmt.Errorf("%w: a SHA-256 of %d characters", ErrMessage, len(text))
	}
	if n, err := hashText.Decode(b[:], text); err != nil || n != len(b) {
		return fmt.Errorf("%w: the SHA-256 is no unpadded base64", ErrMessage)
	}
	*h = b
	return nil
}

// checkHash looks at the hash of an invite. One that can't be read makes the
// offer void: its sender wants the file to be checked, and it can't be. So does
// one without a size, by which the last byte is known.
func checkHash(raw json.RawMessage, size int64) error {
	var e struct {
		SHA256 json.RawMessage `json:"sha256"`
	}
	if json.Unmarshal(raw, &e) != nil || e.SHA256 == nil {
		return nil
	}
	var text string
	if err := json.Unmarshal(e.SHA256, &text); err != nil {
		return fmt.Errorf("%w: the SHA-256 is no string", ErrMessage)
	}
	if size < 0 {
		return fmt.Errorf("%w: a SHA-256 without a size", ErrMessage)
	}
	return new(Hash).UnmarshalText([]byte(text))
}

// checker puts what is received into a spool. Where the offer has a hash, it
// holds the last message back until the whole file is known to be right.
type checker struct {
	spool *spool
	want  *Hash // nil where there is nothing to check
	sum   hash.Hash
	held  []byte
}

func newChecker(s *spool, want *Hash) *checker {
	return &checker{spool: s, want: want, sum: sha256.New()}
}

// add takes the next bytes. It waits as spool.append does.
func (c *checker) add(ctx context.Context, p []byte) error {
	switch {
	case c.want == nil:
		return c.spool.append(ctx, p)
	case len(p) == 0:
		return nil // else it would take the place of the last bytes
	}
	c.sum.Write(p)
	if err := c.spool.append(ctx, c.held); err != nil {
		return err
	}
	c.held = append(c.held[:0], p...)
	return nil
}

// finish checks the whole, and lets the last bytes go.
func (c *checker) finish(ctx context.Context) error {
	if c.want == nil {
		return nil
	}
	if [sha256.Size]byte(c.sum.Sum(nil)) != *c.want {
		return ErrHash
	}
	return c.spool.append(ctx, c.held)
}

// why gives the reason that a peer has to end a transfer.
func (m *Cancel) why() error {
	if m.Ext != nil && m.Ext.Reason == reasonHash {
		return fmt.Errorf("%w: the other device says so", ErrHash)
	}
	return ErrCancelled
}
