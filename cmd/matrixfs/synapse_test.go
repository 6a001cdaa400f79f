//go:build synapse

package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/matrixfs/matrixfs/matrix/matrixtest"
	"github.com/matrixfs/matrixfs/transfer"
)

// With the limit on events that Synapse has by default (10 at once, then one in
// 5 seconds), three transfers in a row succeed, in rooms of both kinds, and
// each side of one needs six events at most, redactions included.
func TestSynapseMessageLimit(t *testing.T) {
	h := *home(t)
	server, err := matrixtest.RunSynapse(t.Context(), t.TempDir(), os.Stderr, matrixtest.WithMessageLimit())
	if err != nil {
		t.Fatalf("this test needs Synapse: %v", err)
	}
	t.Cleanup(func() { _ = server.Close() })
	h.server = server
	for name, options := range map[string][]matrixtest.RoomOption{"plain": nil, "encrypted": {matrixtest.Encrypted()}} {
		t.Run(name, func(t *testing.T) {
			const transfers = 3
			ann, ben := h.person(t), h.person(t)
			room := h.makeRoom(t, ann, []person{ben}, options...)
			alice, bob := h.login(t, ann).mount(), h.login(t, ben).mount()
			h.inRoom(t, room, alice, bob)
			for i := range transfers {
				file := fmt.Sprintf("file%d", i)
				source := sample(t, file, 100_000)
				cp := start(t, "cp", source, alice.room(room))
				copied := filepath.Join(t.TempDir(), "copied")
				shell(t, `cat "$1" > "$2"`, bob.awaits(t, file), copied).succeeds()
				cp.succeeds()
				sameBytes(t, copied, source)
			}
			of := map[transfer.UserID]int{}
			within(t, 3*patience, "all of it is redacted", func() bool {
				events, err := bob.who.History(t.Context(), transfer.RoomID(room))
				if err != nil {
					t.Fatal(err)
				}
				clear(of)
				left := 0
				for _, evt := range events {
					of[evt.Sender]++
					if evt.Type != "m.room.redaction" && !evt.Empty {
						left++
					}
				}
				return left == 0
			})
			for user, n := range of {
				t.Logf("%s sent %d events for %d transfers", user, n, transfers)
				if n > 6*transfers {
					t.Errorf("%s sent %d events", user, n)
				}
			}
		})
	}
}
