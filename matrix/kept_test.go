package matrix_test

import (
	"testing"
	"time"

	"github.com/matrixfs/matrixfs/transfer"
)

// An offer that one run has seen, and that is alive, is there again for the
// next run, with all that belongs to it; one that is over is not.
func TestOffersSurviveRestart(t *testing.T) {
	p, dir := sender(t) // alice runs; bob's account sends
	p.reopen(t, dir)
	sdp := map[string]any{"sdp": "v=0", "type": "offer"}
	post := func(kind string, content map[string]any) {
		t.Helper()
		if _, err := p.bob.SendEvent(t.Context(), p.room, kind, content); err != nil {
			t.Fatal(err)
		}
		p.abox.next()
	}
	for _, id := range []string{"alive", "over", "short"} {
		lifetime := 60_000
		if id == "short" {
			lifetime = 1
		}
		post(transfer.EventInvite, map[string]any{"transfer_id": id, "lifetime": lifetime, "offer": sdp, "filename": "a.doc",
			"info": map[string]any{"size": 5}})
		post(transfer.EventCandidates, map[string]any{"transfer_id": id, "candidates": []any{}})
	}
	post(transfer.EventCancel, map[string]any{"transfer_id": "unknown"})
	send(t, p.ac, p.room, &transfer.Invite{ID: "mine", Lifetime: time.Minute, SDP: "v=0"})
	p.abox.next()
	p.ac.Retire(p.room, "over")
	if err := p.ac.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // not only once
		p.reopen(t, dir)
		first, second := p.abox.next(), p.abox.next()
		in, ok := first.Message.(*transfer.Invite)
		if !ok || in.ID != "alive" || in.File != (transfer.FileInfo{Name: "a.doc", Size: 5}) || in.SDP != "v=0" ||
			first.From.User != p.bob.ID() || first.Room != p.room || first.Age <= 0 || first.Age > soon {
			t.Errorf("first: %+v %+v", first, first.Message)
		}
		if _, ok := second.Message.(*transfer.Candidates); !ok || second.Message.Transfer() != "alive" {
			t.Errorf("second: %+v", second)
		}
		// Something new is next: nothing else was repeated.
		post2, err := p.bob.SendEvent(t.Context(), p.room, transfer.EventCancel, map[string]any{"transfer_id": "new"})
		if err != nil {
			t.Fatal(err)
		}
		if r := p.abox.next(); r.Event != post2 {
			t.Errorf("then: %+v", r)
		}
		if err := p.ac.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
