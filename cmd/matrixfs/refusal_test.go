package main_test

import (
	"testing"
	"time"
)

// rm of an offer: cp on the other side fails within a second.
func TestRemovedOfferIsRefused(t *testing.T) {
	alice, bob, room := home(t).measuredPair(t)
	best := time.Hour // the machine may be busy with other things
	for range 3 {
		cp := start(t, "cp", sample(t, "unwanted", 3<<20), alice.room(room))
		offer := bob.awaits(t, "unwanted")
		start(t, "rm", offer).succeeds()
		removed := time.Now()
		cp.fails("Connection refused")
		best = min(best, cp.endedAt.Sub(removed))
		bob.awaitsNone(t)
		start(t, "rm", "-f", alice.room(room)+"/unwanted").succeeds()
	}
	if best > time.Second {
		t.Errorf("cp failed %v after the refusal, want within a second", best)
	}
}

// Nobody answers: cp fails when the lifetime is over, and not much later.
func TestOfferNobodyAnswersTimesOut(t *testing.T) {
	t.Parallel()
	h := home(t)
	ann, ben := h.person(t), h.person(t)
	room := h.room(t, ann, ben)
	alice, bob := h.login(t, ann).mount("--lifetime", "10s"), h.login(t, ben).mount()
	h.inRoom(t, room, alice, bob)
	begun := time.Now()
	cp := start(t, "cp", sample(t, "ignored", 3<<20), alice.room(room))
	bob.awaits(t, "ignored")
	cp.fails("Connection timed out")
	if took := cp.endedAt.Sub(begun); took < 9500*time.Millisecond || took > patience {
		t.Errorf("cp failed after %v, want about 10 s", took)
	}
	bob.awaitsNone(t)
}
