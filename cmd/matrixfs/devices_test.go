package main_test

import (
	"path/filepath"
	"slices"
	"testing"
)

// Two devices of one person send to each other.
func TestOwnDevicesSendToEachOther(t *testing.T) {
	t.Parallel()
	h := home(t)
	who := h.person(t)
	room := h.room(t, who)
	laptop, phone := h.login(t, who).mount(), h.login(t, who).mount()
	h.inRoom(t, room, laptop, phone)
	for _, c := range []struct {
		name     string
		from, to *device
	}{{"there", laptop, phone}, {"back", phone, laptop}} {
		source := sample(t, c.name, 100_000)
		cp := start(t, "cp", source, c.from.room(room))
		copied := filepath.Join(t.TempDir(), "copied")
		shell(t, `cat "$1" > "$2"`, c.to.awaits(t, c.name), copied).succeeds()
		cp.succeeds()
		sameBytes(t, copied, source)
		if own := c.from.offers(t); slices.Contains(own, c.name) {
			t.Errorf("the sender was offered its own file: %v", own)
		}
	}
}

// Two devices of the receiver answer at once: one gets the file, the other
// learns that it was answered elsewhere.
func TestTwoDevicesAnswerAtOnce(t *testing.T) {
	t.Parallel()
	h := home(t)
	ann, ben := h.person(t), h.person(t)
	room := h.room(t, ann, ben)
	alice, laptop, phone := h.login(t, ann).mount(), h.login(t, ben).mount(), h.login(t, ben).mount()
	h.inRoom(t, room, alice, laptop, phone)
	source := sample(t, "contested", 5<<20)
	cp := start(t, "cp", source, alice.room(room))
	// Both have the file open before either reads: reading is what answers.
	const reader = `exec 3< "$1" && echo ready && read && cat <&3 > "$2"`
	type contender struct {
		device  *device
		cat     *program
		copied  string
		release func()
	}
	var contenders []contender
	for _, d := range []*device{laptop, phone} {
		copied := filepath.Join(t.TempDir(), "copied")
		cat, release := startHeld(t, reader, d.awaits(t, "contested"), copied)
		contenders = append(contenders, contender{d, cat, copied, release})
	}
	for _, c := range contenders {
		c.release()
	}
	winners := 0
	for _, c := range contenders {
		if c.cat.wait() == 0 {
			winners++
			sameBytes(t, c.copied, source)
			continue
		}
		c.cat.fails("Device or resource busy")
		lost := c.device.reaches(t, "contested", "elsewhere", 0)
		if lost.Error != "answered elsewhere" {
			t.Errorf("status says %q", lost.Error)
		}
		c.device.awaitsNone(t)
	}
	if winners != 1 {
		t.Errorf("%d devices got the file, want one", winners)
	}
	cp.succeeds()
}

// An offer made while the receiver was away, and still alive, is there when
// it comes back.
func TestOfferMadeWhileAway(t *testing.T) {
	t.Parallel()
	alice, bob, room := home(t).pair(t)
	bob.stop()
	source := sample(t, "patient", 3<<20)
	cp := start(t, "cp", source, alice.room(room))
	alice.reaches(t, "patient", "offered", 0)
	bob.mount()
	copied := filepath.Join(t.TempDir(), "copied")
	shell(t, `cat "$1" > "$2"`, bob.awaits(t, "patient"), copied).succeeds()
	cp.succeeds()
	sameBytes(t, copied, source)
}

// The same for a device that has never been mounted before.
func TestOfferMadeBeforeFirstMount(t *testing.T) {
	t.Parallel()
	h := home(t)
	ann, ben := h.person(t), h.person(t)
	room := h.room(t, ann, ben)
	alice, bob := h.login(t, ann).mount(), h.login(t, ben)
	h.inRoom(t, room, alice)
	source := sample(t, "early", 3<<20)
	cp := start(t, "cp", source, alice.room(room))
	alice.reaches(t, "early", "offered", 0)
	bob.mount()
	copied := filepath.Join(t.TempDir(), "copied")
	shell(t, `cat "$1" > "$2"`, bob.awaits(t, "early"), copied).succeeds()
	cp.succeeds()
	sameBytes(t, copied, source)
}
