package main

import (
	"github.com/matrixfs/matrixfs/fs"
	"github.com/matrixfs/matrixfs/transfer"
)

// offerWatch tells which offers are new, and which are over, to one goroutine
// that looks whenever changes has a value, and once before.
type offerWatch struct {
	exchange *transfer.Exchange
	changes  <-chan struct{}
	stop     func()
	open     map[*transfer.Incoming]bool // of each offer told of: nobody has taken it yet
}

func watchOffers(x *transfer.Exchange) *offerWatch {
	w := &offerWatch{exchange: x, open: map[*transfer.Incoming]bool{}}
	w.changes, w.stop = x.Subscribe()
	return w
}

// look gives the offers that are new, oldest first, and those it gave before
// that are over: accepted, declined, or gone. Each is given once for each: an
// offer is not new again because the answer to it could not be sent.
func (w *offerWatch) look() (arrived, over []*transfer.Incoming) {
	before := w.open
	w.open = make(map[*transfer.Incoming]bool, len(before))
	for _, in := range w.exchange.Incoming() {
		wasOpen, known := before[in]
		isOpen := in.Status().State == transfer.Offered
		switch {
		case isOpen && !known:
			arrived = append(arrived, in)
		case !isOpen && wasOpen:
			over = append(over, in)
		}
		w.open[in] = isOpen && (wasOpen || !known)
	}
	for in, wasOpen := range before {
		if _, listed := w.open[in]; !listed && wasOpen {
			over = append(over, in)
		}
	}
	return arrived, over
}

// offerPlaces tells where the things of an offer are found.
type offerPlaces struct {
	// mountpoint is where the mount is, without symbolic links.
	mountpoint string
	// accept accepts an offer by hand.
	accept func(*transfer.Incoming) error
	// path gives the path of an offer in the mount, or nothing.
	path func(*transfer.Incoming) string
	// rooms gives the rooms, which have names.
	rooms func() []fs.Room
}

// roomName is what a person calls a room, safe to print.
func (p offerPlaces) roomName(id transfer.RoomID) string {
	for _, room := range p.rooms() {
		if room.ID == id && room.Name != "" {
			return safeText(room.Name)
		}
	}
	return safeText(string(id))
}
