package matrix

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"maunium.net/go/mautrix/event"

	"github.com/matrixfs/matrixfs/transfer"
)

// The events of a verification, without the prefix of their types.
const (
	verifyPrefix  = "m.key.verification."
	verifyRequest = "request"
	verifyReady   = "ready"
	verifyStart   = "start"
	verifyAccept  = "accept"
	verifyKey     = "key"
	verifyMAC     = "mac"
	verifyDone    = "done"
	verifyCancel  = "cancel"
)

// verifyKinds are all of them.
var verifyKinds = []string{
	verifyRequest, verifyReady, verifyStart, verifyAccept, verifyKey, verifyMAC, verifyDone, verifyCancel,
}

// Limits on the content of the events.
const (
	// maxMethods bounds each list of names. Clients send up to five.
	maxMethods = 32
	// maxMACs bounds the keys that a MAC event is about. Clients send two.
	maxMACs = 32
	// maxVerifyAge is how old a request may be, and how long a verification may
	// take; maxVerifyAhead is how far the clock of whoever asks may be ahead
	// ("Key verification framework": 10 and 5 minutes).
	maxVerifyAge   = 10 * time.Minute
	maxVerifyAhead = 5 * time.Minute
)

// verifyEvent is one event of a verification.
type verifyEvent struct {
	kind string
	txn  string          // which verification
	room transfer.RoomID // empty: sent to this device alone
	// from is the sender. Its device is what was proven (in encrypted rooms),
	// else what is claimed, else empty.
	from transfer.Peer
	sent time.Time // of a request, by its sender's clock
	verifyContent
	raw json.RawMessage // the content
}

// verifyContent is the content of all kinds.
type verifyContent struct {
	Txn    string           `json:"transaction_id"`
	Device string           `json:"from_device"`
	To     string           `json:"to"`        // request in a room
	Type   string           `json:"msgtype"`   // request in a room
	Time   int64            `json:"timestamp"` // request to a device
	About  *verifyReference `json:"m.relates_to"`

	Methods    []string `json:"methods"` // request, ready
	Method     string   `json:"method"`  // start
	Agreements []string `json:"key_agreement_protocols"`
	Hashes     []string `json:"hashes"`
	MACs       []string `json:"message_authentication_codes"`
	// Codes is in start and in accept.
	Codes []string `json:"short_authentication_string"`

	Agreement  string `json:"key_agreement_protocol"` // accept
	Hash       string `json:"hash"`
	MACMethod  string `json:"message_authentication_code"`
	Commitment string `json:"commitment"`

	Key string `json:"key"` // key

	MAC  map[string]string `json:"mac"` // mac
	Keys string            `json:"keys"`

	Code string `json:"code"` // cancel
}

// verifyReference names the event that an event in a room belongs to.
type verifyReference struct {
	Type  string `json:"rel_type"`
	Event string `json:"event_id"`
}

// errNotVerification: an event is none of a verification, or makes no sense.
var errNotVerification = errors.New("not an event of a verification")

// parseVerify reads an event. Type and content come from anybody.
func parseVerify(kind string, raw json.RawMessage) (*verifyEvent, error) {
	e := &verifyEvent{raw: raw}
	if json.Unmarshal(raw, &e.verifyContent) != nil {
		return nil, errNotVerification
	}
	e.kind = strings.TrimPrefix(kind, verifyPrefix)
	if kind == event.EventMessage.Type && e.Type == verifyPrefix+verifyRequest {
		e.kind = verifyRequest
	} else if !strings.HasPrefix(kind, verifyPrefix) || !slices.Contains(verifyKinds, e.kind) {
		return nil, errNotVerification
	}
	if !e.bounded() || !e.complete() {
		return nil, errNotVerification
	}
	return e, nil
}

// bounded reports whether everything has a reasonable size.
func (e *verifyEvent) bounded() bool {
	for _, s := range []string{
		e.Txn, e.Device, e.To, e.Type, e.Method, e.Agreement, e.Hash, e.MACMethod, e.Commitment, e.Key, e.Keys, e.Code,
	} {
		if len(s) > maxLabel {
			return false
		}
	}
	for _, list := range [][]string{e.Methods, e.Agreements, e.Hashes, e.MACs, e.Codes} {
		if len(list) > maxMethods {
			return false
		}
	}
	for name, mac := range e.MAC {
		if len(name) > 2*maxLabel || len(mac) > maxLabel {
			return false
		}
	}
	return len(e.MAC) <= maxMACs && (e.About == nil || len(e.About.Event) <= maxLabel)
}

// complete reports whether the event has what its kind needs.
func (e *verifyEvent) complete() bool {
	switch e.kind {
	case verifyRequest, verifyReady:
		return e.Device != "" && len(e.Methods) > 0
	case verifyStart:
		return e.Device != "" && e.Method != ""
	case verifyAccept:
		return e.Commitment != ""
	case verifyKey:
		return e.Key != ""
	case verifyMAC:
		return e.Keys != "" && len(e.MAC) > 0
	}
	return true
}

// fromDevice reads an event that was sent to this device alone.
func fromDevice(evt *event.Event) (*verifyEvent, error) {
	e, err := parseVerify(evt.Type.Type, evt.Content.VeryRaw)
	if err != nil {
		return nil, err
	}
	if e.txn = e.Txn; e.txn == "" || evt.Type.Type == event.EventMessage.Type {
		return nil, errNotVerification
	}
	e.from = transfer.Peer{User: userID(evt.Sender), Device: transfer.DeviceID(e.Device)}
	e.sent = time.UnixMilli(e.Time)
	return e, nil
}

// fromRoom reads an event of a room. proven is the device that sent it, which
// is known where the room is encrypted.
func fromRoom(evt *event.Event, proven transfer.DeviceID) (*verifyEvent, error) {
	e, err := parseVerify(evt.Type.Type, evt.Content.VeryRaw)
	if err != nil {
		return nil, err
	}
	switch {
	case e.kind == verifyRequest && evt.Type.Type == event.EventMessage.Type:
		e.txn = string(evt.ID)
	case e.kind != verifyRequest && e.About != nil && e.About.Type == string(event.RelReference):
		e.txn = e.About.Event
	}
	if e.txn == "" || len(e.txn) > maxLabel || len(evt.Sender) > maxLabel {
		return nil, errNotVerification
	}
	device := transfer.DeviceID(e.Device)
	if proven != "" {
		if device != "" && device != proven {
			return nil, errNotVerification // speaks for another device
		}
		device = proven
	}
	e.room = transfer.RoomID(evt.RoomID)
	e.from = transfer.Peer{User: userID(evt.Sender), Device: device}
	e.sent = time.Now().Add(-age(evt, time.Now()))
	return e, nil
}

// isVerification reports whether an event may be one of a verification.
func isVerification(evt *event.Event) bool {
	return evt.StateKey == nil && (strings.HasPrefix(evt.Type.Type, verifyPrefix) || evt.Type.Type == event.EventMessage.Type)
}

// fresh reports whether a request may still be answered.
func (e *verifyEvent) fresh(now time.Time) bool {
	return now.Sub(e.sent) < maxVerifyAge && e.sent.Sub(now) < maxVerifyAhead
}
