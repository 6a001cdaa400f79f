package transfer

import "fmt"

// State is where a transfer stands. It changes only through State.next.
type State int

const (
	// Preparing: an outgoing offer that nobody has been told of yet.
	Preparing State = iota
	// Offered: the invite is out; nobody has accepted.
	Offered
	// Connecting: an answer was sent or taken; the data channel is not open yet.
	Connecting
	// Streaming: the data channel is open; bytes flow.
	Streaming
	// Delivered: the receiving device has every byte. The end.
	Delivered
	// Rejected: the other side declined the offer. The end.
	Rejected
	// Expired: nobody answered within the lifetime. The end.
	Expired
	// Elsewhere: another device got the file. The end.
	Elsewhere
	// Cancelled: one side gave up on purpose. The end.
	Cancelled
	// Failed: the connection was lost, or a side broke the protocol. The end.
	Failed
	numStates
)

var stateNames = [numStates]string{
	"preparing", "offered", "connecting", "streaming", "delivered",
	"rejected", "expired", "elsewhere", "cancelled", "failed",
}

// String gives the state's name as it appears in attributes and in status.
func (s State) String() string {
	if s < 0 || s >= numStates {
		return fmt.Sprintf("state %d", int(s))
	}
	return stateNames[s]
}

// MarshalText writes the name of the state.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the name of a state.
func (s *State) UnmarshalText(text []byte) error {
	for i, name := range stateNames {
		if name == string(text) {
			*s = State(i)
			return nil
		}
	}
	return fmt.Errorf("no such state: %q", text)
}

// Ended reports whether nothing more will happen to the transfer.
func (s State) Ended() bool { return s >= Delivered }

// event is what can happen to a transfer.
type event int

const (
	evInvite    event = iota // the invite was sent
	evAnswer                 // an answer was sent (incoming) or taken (outgoing)
	evRetract                // our answer could not be sent (incoming)
	evOpen                   // the data channel opened
	evComplete               // the receiving device has every byte
	evReject                 // the other side declined
	evExpire                 // the lifetime ran out
	evElsewhere              // another device's answer won
	evCancel                 // either side gave up on purpose
	evFail                   // the connection was lost, or the protocol broken
	numEvents
)

var eventNames = [numEvents]string{
	"invite", "answer", "retract", "open", "complete", "reject", "expire", "elsewhere", "cancel", "fail",
}

func (e event) String() string { return eventNames[e] }

// next gives the state after e, and whether e may happen in s at all. An
// event that may not happen changes nothing: that is how a late answer, a
// second cancel or a race between two ends comes out right.
func (s State) next(e event) (State, bool) {
	if s.Ended() {
		return s, false // the first end is the end
	}
	switch e {
	case evInvite:
		if s == Preparing {
			return Offered, true // the room has been told
		}
	case evAnswer:
		if s == Offered {
			return Connecting, true // the first valid answer; a later one finds Connecting
		}
	case evRetract:
		if s == Connecting {
			return Offered, true // nobody knows that we accepted: the offer stands
		}
	case evOpen:
		if s == Connecting {
			return Streaming, true
		}
	case evComplete:
		if s == Streaming {
			return Delivered, true
		}
	case evReject:
		if s == Offered {
			return Rejected, true // once accepted, a refusal is a cancel
		}
	case evExpire:
		if s == Offered {
			return Expired, true // an answer in time stops the clock
		}
	case evElsewhere:
		if s == Offered || s == Connecting {
			return Elsewhere, true // seen before our answer, or ours came too late
		}
	case evCancel:
		return Cancelled, true // either side, at every stage
	case evFail:
		return Failed, true // also before the invite: it could not be sent
	}
	return s, false
}
