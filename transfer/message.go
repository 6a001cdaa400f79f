package transfer

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"
	"unicode/utf8"
)

// The event types of MSC2354.
const (
	EventInvite     = "m.d2dfile.invite"
	EventCandidates = "m.d2dfile.candidates"
	EventAnswer     = "m.d2dfile.answer"
	EventCancel     = "m.d2dfile.cancel"
)

// EventTypes lists the event types of MSC2354, all of which DecodeMessage
// knows.
var EventTypes = []string{EventInvite, EventCandidates, EventAnswer, EventCancel}

// Limits on what an event may hold. They are wider than anything a real
// client sends, and narrow enough that a flood costs little.
const (
	// maxContent is the size in bytes of an event's content: a whole event
	// has at most 65,536 (client-server API, "Size limits").
	maxContent = 65536
	// maxID bounds a transfer_id; browsers use UUIDs or numbers.
	maxID = 255
	// maxSDP bounds a session description. One data channel with forty
	// candidates takes 6 KiB.
	maxSDP = 32 << 10
	// maxCandidates bounds the candidates of one event.
	maxCandidates = 128
	// maxCandidate bounds one candidate line (RFC 8839 section 5.1); real
	// ones stay under 200 bytes.
	maxCandidate = 1024
	// maxFilename bounds the filename as sent. It is made safe, and cut to
	// 255 bytes, where it is shown.
	maxFilename = 4096
	// maxMIMEType bounds a MIME type (RFC 6838 section 4.2: 127 each side).
	maxMIMEType = 255
	// MaxLifetime bounds the lifetime of an offer.
	MaxLifetime = 24 * time.Hour
	// DefaultLifetime is how long an offer waits for an answer where nobody
	// says otherwise.
	DefaultLifetime = 10 * time.Minute
)

// ErrMessage says that the content of an event is not what MSC2354 asks for.
var ErrMessage = errors.New("malformed event")

// Message is one of *Invite, *Candidates, *Answer and *Cancel.
type Message interface {
	// EventType is the Matrix event type that carries the message.
	EventType() string
	// Transfer is the transfer that the message belongs to.
	Transfer() ID
	// extension gives the part of the message that only matrixfs knows.
	extension() *Extension
}

// Extension is what matrixfs adds to each message under "dev.matrixfs.d2d". A
// peer without it gets plain MSC2354. Nothing in it is proof of anything: in
// an unencrypted room it says whatever the sender likes.
type Extension struct {
	// Version is 1.
	Version int `json:"version"`
	// Device is the device that sent the message.
	Device DeviceID `json:"device_id"`
	// Reason, in a cancel, says why.
	Reason string `json:"reason,omitempty"`
	// Chosen, in the offerer's candidates, is the device whose answer won.
	Chosen *Chosen `json:"chosen,omitempty"`
	// SHA256, in an invite, is that of the whole file, where the offerer knows
	// it by then. There is a size then, too.
	SHA256 *Hash `json:"sha256,omitempty"`
}

// Chosen names the answer that won.
type Chosen struct {
	User   UserID   `json:"user_id"`
	Device DeviceID `json:"device_id,omitempty"`
	Event  EventID  `json:"event_id,omitempty"`
}

// Invite offers a file ("m.d2dfile.invite").
type Invite struct {
	ID       ID
	Lifetime time.Duration
	File     FileInfo
	SDP      string
	Ext      *Extension
}

// FileInfo describes a file on offer.
type FileInfo struct {
	// Name is the name as its owner has it; untrusted when it was received.
	Name string
	// Size is in bytes, or negative where it is not known.
	Size int64
	// MIMEType may be empty.
	MIMEType string
}

// Candidates carries ICE candidates ("m.d2dfile.candidates").
type Candidates struct {
	ID         ID
	Candidates []Candidate
	Ext        *Extension
}

// Candidate is one ICE candidate as WebRTC writes it (RTCIceCandidateInit).
type Candidate struct {
	Candidate     string  `json:"candidate"`
	SDPMid        *string `json:"sdpMid,omitempty"`
	SDPMLineIndex *uint16 `json:"sdpMLineIndex,omitempty"`
}

// Answer accepts an offer ("m.d2dfile.answer").
type Answer struct {
	ID       ID
	Lifetime time.Duration
	SDP      string
	Ext      *Extension
}

// Cancel rejects an offer or ends a transfer ("m.d2dfile.cancel").
type Cancel struct {
	ID  ID
	Ext *Extension
}

var (
	_ Message = (*Invite)(nil)
	_ Message = (*Candidates)(nil)
	_ Message = (*Answer)(nil)
	_ Message = (*Cancel)(nil)
)

// EventType implements Message.
func (*Invite) EventType() string { return EventInvite }

// EventType implements Message.
func (*Candidates) EventType() string { return EventCandidates }

// EventType implements Message.
func (*Answer) EventType() string { return EventAnswer }

// EventType implements Message.
func (*Cancel) EventType() string { return EventCancel }

// Transfer implements Message.
func (m *Invite) Transfer() ID { return m.ID }

// Transfer implements Message.
func (m *Candidates) Transfer() ID { return m.ID }

// Transfer implements Message.
func (m *Answer) Transfer() ID { return m.ID }

// Transfer implements Message.
func (m *Cancel) Transfer() ID { return m.ID }

func (m *Invite) extension() *Extension     { return m.Ext }
func (m *Candidates) extension() *Extension { return m.Ext }
func (m *Answer) extension() *Extension     { return m.Ext }
func (m *Cancel) extension() *Extension     { return m.Ext }

// content is the union of the contents of the four events, read leniently.
type content struct {
	ID         ID              `json:"transfer_id"`
	Lifetime   json.RawMessage `json:"lifetime"`
	Filename   string          `json:"filename"`
	Info       json.RawMessage `json:"info"`
	Offer      *description    `json:"offer"`
	Answer     *description    `json:"answer"`
	Candidates []Candidate     `json:"candidates"`
	Ext        json.RawMessage `json:"dev.matrixfs.d2d"`
}

// description is a session description as WebRTC writes it.
type description struct {
	SDP  string `json:"sdp"`
	Type string `json:"type"`
}

// DecodeMessage reads the content of an event of one of the EventTypes. It is
// lenient in what does not matter (unknown keys, numbers that are not whole, a
// missing version) and refuses, with an error that is ErrMessage, what is too
// large or lacks what it is for.
func DecodeMessage(eventType string, raw []byte) (Message, error) {
	if len(raw) > maxContent {
		return nil, fmt.Errorf("%w: %d bytes of content", ErrMessage, len(raw))
	}
	var c content
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrMessage, err)
	}
	if c.ID == "" || len(c.ID) > maxID || !utf8.ValidString(string(c.ID)) {
		return nil, fmt.Errorf("%w: transfer_id missing or too long", ErrMessage)
	}
	ext := decodeExtension(c.Ext)
	switch eventType {
	case EventInvite:
		return c.invite(ext)
	case EventCandidates:
		return c.candidates(ext)
	case EventAnswer:
		if err := c.Answer.check("answer"); err != nil {
			return nil, err
		}
		return &Answer{ID: c.ID, Lifetime: decodeLifetime(c.Lifetime), SDP: c.Answer.SDP, Ext: ext}, nil
	case EventCancel:
		return &Cancel{ID: c.ID, Ext: ext}, nil
	}
	return nil, fmt.Errorf("%w: type %q", ErrMessage, eventType)
}

func (c *content) invite(ext *Extension) (Message, error) {
	if err := c.Offer.check("offer"); err != nil {
		return nil, err
	}
	if len(c.Filename) > maxFilename {
		return nil, fmt.Errorf("%w: filename of %d bytes", ErrMessage, len(c.Filename))
	}
	m := &Invite{ID: c.ID, Lifetime: decodeLifetime(c.Lifetime), SDP: c.Offer.SDP, Ext: ext}
	m.File = FileInfo{Name: c.Filename, Size: -1}
	var info struct{ MIMEType, Size any }
	// A float64 is exact up to 2^53 bytes, the largest whole number that
	// Matrix allows in an event (appendices, "Canonical JSON").
	if len(c.Info) > 0 && json.Unmarshal(c.Info, &info) == nil {
		if n, ok := info.Size.(float64); ok && n >= 0 && n <= 1<<53-1 && n == math.Trunc(n) {
			m.File.Size = int64(n)
		}
		if s, ok := info.MIMEType.(string); ok && len(s) <= maxMIMEType {
			m.File.MIMEType = s
		}
	}
	if err := checkHash(c.Ext, m.File.Size); err != nil {
		return nil, err
	}
	return m, nil
}

func (c *content) candidates(ext *Extension) (Message, error) {
	if len(c.Candidates) > maxCandidates {
		return nil, fmt.Errorf("%w: %d candidates", ErrMessage, len(c.Candidates))
	}
	for _, k := range c.Candidates {
		if len(k.Candidate) > maxCandidate {
			return nil, fmt.Errorf("%w: candidate of %d bytes", ErrMessage, len(k.Candidate))
		}
	}
	return &Candidates{ID: c.ID, Candidates: c.Candidates, Ext: ext}, nil
}

// check asks for a session description of a sensible size. The "type" beside
// it says nothing that the event's type does not, so it is not read.
func (d *description) check(key string) error {
	if d == nil || d.SDP == "" {
		return fmt.Errorf("%w: no %s", ErrMessage, key)
	}
	if len(d.SDP) > maxSDP {
		return fmt.Errorf("%w: %s of %d bytes", ErrMessage, key, len(d.SDP))
	}
	return nil
}

// decodeLifetime reads a lifetime in milliseconds. What makes no sense counts
// as the default, what is too long as MaxLifetime.
func decodeLifetime(raw json.RawMessage) time.Duration {
	var ms float64
	if len(raw) == 0 || json.Unmarshal(raw, &ms) != nil || !(ms > 0) {
		return DefaultLifetime
	}
	if ms > float64(MaxLifetime/time.Millisecond) {
		return MaxLifetime
	}
	return time.Duration(ms * float64(time.Millisecond))
}

// decodeExtension reads the key of matrixfs. What it can't read it takes for
// a peer that has none.
func decodeExtension(raw json.RawMessage) *Extension {
	if len(raw) == 0 {
		return nil
	}
	var e Extension
	if json.Unmarshal(raw, &e) != nil || e.Version < 1 || len(e.Device) > maxID || len(e.Reason) > maxID {
		return nil
	}
	return &e
}

// MarshalJSON writes the content of the event.
func (m *Invite) MarshalJSON() ([]byte, error) {
	info := map[string]any{}
	if m.File.MIMEType != "" {
		info["mimetype"] = m.File.MIMEType
	}
	if m.File.Size >= 0 {
		info["size"] = m.File.Size
	}
	return marshalContent(m, map[string]any{
		"lifetime": m.Lifetime.Milliseconds(),
		"filename": m.File.Name,
		"info":     info,
		"offer":    description{SDP: m.SDP, Type: "offer"},
	})
}

// MarshalJSON writes the content of the event.
func (m *Candidates) MarshalJSON() ([]byte, error) {
	list := m.Candidates
	if list == nil {
		list = []Candidate{}
	}
	return marshalContent(m, map[string]any{"candidates": list})
}

// MarshalJSON writes the content of the event.
func (m *Answer) MarshalJSON() ([]byte, error) {
	return marshalContent(m, map[string]any{
		"lifetime": m.Lifetime.Milliseconds(),
		"answer":   description{SDP: m.SDP, Type: "answer"},
	})
}

// MarshalJSON writes the content of the event.
func (m *Cancel) MarshalJSON() ([]byte, error) { return marshalContent(m, map[string]any{}) }

// marshalContent adds what all four contents have.
func marshalContent(m Message, c map[string]any) ([]byte, error) {
	c["transfer_id"] = m.Transfer()
	c["version"] = 0
	if e := m.extension(); e != nil {
		c["dev.matrixfs.d2d"] = e
	}
	return json.Marshal(c)
}

// Received is a message with what is known of its way here.
type Received struct {
	Room RoomID
	// From is who sent it. The user is what the homeserver vouches for; the
	// device is set only where encryption proves it.
	From Peer
	// Trust is how sure it is that From sent it.
	Trust Trust
	// Event is the event that carried the message.
	Event EventID
	// Age is how long ago the sender's homeserver got the message, never
	// negative.
	Age     time.Duration
	Message Message
}
