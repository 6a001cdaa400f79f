package transfer

import "testing"

// TestTransitions goes through every state and every event: edges holds all
// that may happen, and nothing else may.
func TestTransitions(t *testing.T) {
	edges := map[State]map[event]State{
		Preparing:  {evInvite: Offered, evCancel: Cancelled, evFail: Failed},
		Offered:    {evAnswer: Connecting, evReject: Rejected, evExpire: Expired, evElsewhere: Elsewhere, evCancel: Cancelled, evFail: Failed},
		Connecting: {evRetract: Offered, evOpen: Streaming, evElsewhere: Elsewhere, evCancel: Cancelled, evFail: Failed},
		Streaming:  {evComplete: Delivered, evCancel: Cancelled, evFail: Failed},
	}
	for s := State(0); s < numStates; s++ {
		for e := event(0); e < numEvents; e++ {
			want, allowed := edges[s][e]
			if !allowed {
				want = s
			}
			got, ok := s.next(e)
			if got != want || ok != allowed {
				t.Errorf("%v.next(%v) = %v, %v; want %v, %v", s, e, got, ok, want, allowed)
			}
		}
	}
}

// TestEveryReasonEnds checks that whatever goes wrong, in whatever state,
// leads to an end.
func TestEveryReasonEnds(t *testing.T) {
	reasons := []error{ErrRejected, ErrExpired, ErrCancelled, ErrAborted, ErrElsewhere, ErrLost, ErrOffline,
		ErrNotAllowed, ErrShort, ErrTooLong, ErrHash, ErrSize, ErrPassed, ErrCache, ErrTooMany, ErrClosed}
	for s := Preparing; !s.Ended(); s++ {
		for _, why := range reasons {
			x, err := New(Config{Self: Peer{"@a:test", "A"}, Signaller: noSignaller{}, CacheDir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			var tr transfer
			tr.init(x, Out, "!r", "id")
			tr.state = s
			if !tr.end(why) || !tr.state.Ended() || tr.Err() != why {
				t.Errorf("%v: %v leads to %v, %v", s, why, tr.state, tr.Err())
			}
			if tr.end(ErrAborted) || tr.Err() != why {
				t.Errorf("%v: a second end changed the first", s)
			}
			x.Close()
		}
	}
}

func TestStateText(t *testing.T) {
	for s := State(0); s < numStates; s++ {
		text, _ := s.MarshalText()
		var back State
		if err := back.UnmarshalText(text); err != nil || back != s {
			t.Errorf("%q reads back as %v, %v", text, back, err)
		}
	}
	if new(State).UnmarshalText([]byte("asleep")) == nil {
		t.Error("a state that does not exist was read")
	}
	if State(99).String() != "state 99" {
		t.Error("no text for a state that does not exist")
	}
}
