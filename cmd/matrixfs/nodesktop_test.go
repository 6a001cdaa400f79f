package main

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/matrixfs/matrixfs/transfer"
)

// Without a desktop, what waits to be shown has a limit, and goes when it is
// over.
func TestPopupsThatWait(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	n := newNotifier(d.bob.Exchange, offerPlaces{}, func() string { return "" }, nil, slog.New(slog.DiscardHandler))
	defer n.watch.stop()
	d.invites("1", transfer.FileInfo{Name: "a"})
	eventually(t, "the offer comes", func() bool { return len(d.bob.Exchange.Incoming()) == 1 })
	n.look()
	if len(n.waiting) != 1 {
		t.Errorf("%d offers wait, want 1", len(n.waiting))
	}
	d.bob.Exchange.Incoming()[0].Remove()
	n.look()
	if len(n.waiting) != 0 {
		t.Errorf("%d offers wait, want none", len(n.waiting))
	}
	many := make([]transfer.Incoming, maxWaiting+44)
	for i := range many {
		n.enqueue(&many[i])
	}
	if len(n.waiting) != maxWaiting || len(n.rest.offers) != 44 {
		t.Errorf("%d offers wait, and %d are counted", len(n.waiting), len(n.rest.offers))
	}
	for i := range many {
		n.withdraw(&many[i])
	}
	if len(n.waiting) != 0 || len(n.rest.offers) != 0 {
		t.Errorf("%d offers wait, and %d are counted, after the end of all", len(n.waiting), len(n.rest.offers))
	}
}

// Without a bus, or with one that nobody shows notifications on, nothing
// happens; with one that comes later, it does.
func TestNoBus(t *testing.T) {
	t.Parallel()
	b := newBus(t, "")
	d := newDesk(t, b)
	addresses := make(chan string)
	d.notify(func(n *notifier) {
		n.pauseFor = time.Millisecond
		n.address = func() string {
			if address, ok := <-addresses; ok {
				return address
			}
			return b.address
		}
	})
	d.invites("1", transfer.FileInfo{Name: "a", Size: 1})
	for range 3 {
		addresses <- ""
		addresses <- "unix:path=" + filepath.Join(t.TempDir(), "none")
	}
	close(addresses)
	newPopupServer(t, b.address, 0, allAbilities...).await(t, "A file is offered")
}
