package matrix

// phase is how far a verification has come (client-server API, "Key verification
// framework" and "SAS verification").
type phase int

// The phases. Those from phaseDone on are final.
const (
	phaseAsked     phase = iota // we have asked; the other side has not said yes
	phaseInvited                // it has asked; our person has not said yes
	phaseReady                  // our person has; the other side starts
	phaseStarted                // we have started; it has not accepted
	phaseAccepted               // it has started and we have accepted; its key comes next
	phaseKeyed                  // it has accepted and we have sent our key; its key comes next
	phaseComparing              // our person compares the codes
	phaseSure                   // our person says they match, which our MAC says too; theirs comes next
	phaseAhead                  // their MAC has come, and our person still compares
	phaseProven                 // both MACs are right; their "done" comes next
	phaseDone
	phaseEnded
)

// stimulus is what moves a verification on: an event of the other side, an
// answer of our person, or the clock.
type stimulus int

// The stimuli.
const (
	gotReady stimulus = iota
	gotStart
	gotAccept
	gotKey
	gotMAC
	gotDone
	gotCancel
	saidYes
	saidNo
	tookLong
)

// steps are all edges but those that every phase has, see next.
var steps = map[phase]map[stimulus]phase{
	phaseAsked: {
		gotReady: phaseStarted, // whoever asked starts
	},
	phaseInvited: {
		saidYes: phaseReady,
	},
	phaseReady: {
		gotStart: phaseAccepted,
	},
	phaseStarted: {
		gotAccept: phaseKeyed,
		gotStart:  phaseAccepted, // both have started, and theirs counts
	},
	phaseAccepted: {
		gotKey: phaseComparing,
	},
	phaseKeyed: {
		gotKey: phaseComparing,
	},
	phaseComparing: {
		saidYes: phaseSure,
		gotMAC:  phaseAhead,
	},
	phaseSure: {
		gotMAC: phaseProven,
	},
	phaseAhead: {
		saidYes: phaseProven,
	},
	phaseProven: {
		gotDone:  phaseDone,
		tookLong: phaseDone, // all is proven; "done" is good manners
	},
}

// next gives the phase after a stimulus. What is not expected in a phase ends
// the verification.
func (p phase) next(s stimulus) phase {
	if p >= phaseDone {
		return p
	}
	if to, ok := steps[p][s]; ok {
		return to
	}
	return phaseEnded
}
