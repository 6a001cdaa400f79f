package matrix

import "testing"

// Every phase and every stimulus: what is not listed ends the verification, and
// what has ended stays so.
func TestPhases(t *testing.T) {
	want := map[phase]map[stimulus]phase{
		phaseAsked:     {gotReady: phaseStarted},
		phaseInvited:   {saidYes: phaseReady},
		phaseReady:     {gotStart: phaseAccepted},
		phaseStarted:   {gotAccept: phaseKeyed, gotStart: phaseAccepted},
		phaseAccepted:  {gotKey: phaseComparing},
		phaseKeyed:     {gotKey: phaseComparing},
		phaseComparing: {saidYes: phaseSure, gotMAC: phaseAhead},
		phaseSure:      {gotMAC: phaseProven},
		phaseAhead:     {saidYes: phaseProven},
		phaseProven:    {gotDone: phaseDone, tookLong: phaseDone},
	}
	for p := phaseAsked; p <= phaseEnded; p++ {
		for s := gotReady; s <= tookLong; s++ {
			expected, ok := want[p][s]
			switch {
			case p >= phaseDone:
				expected = p
			case !ok:
				expected = phaseEnded
			}
			if got := p.next(s); got != expected {
				t.Errorf("phase %d, stimulus %d: %d, want %d", p, s, got, expected)
			}
		}
	}
}
