package main

import (
	"os"

	"github.com/matrixfs/matrixfs/fs"
)

// notifyOff is the value of --notify that turns notifications off.
const notifyOff = "off"

// attendants are those who tell the person, or a program, of new offers while
// a mount is there.
type attendants struct {
	notifier *notifier
	command  *offerCommand
}

// startAttendants starts them for a mount of d; place is where it is, without
// symbolic links.
func (d *daemon) startAttendants(mount *fs.Mounted, place string) attendants {
	places := offerPlaces{mountpoint: place, accept: mount.Accept, path: mount.PathOf, rooms: rooms{d.client}.Rooms}
	var a attendants
	if d.options.notify != notifyOff {
		a.notifier = startNotifier(d.exchange, places, func() string { return sessionBus(os.Getenv) }, downloadDir, d.log)
	}
	if d.options.onOffer != "" {
		a.command = startOfferCommand(d.options.onOffer, d.exchange, places, d.options.output, d.log)
	}
	return a
}

// abandon ends what they started, for a program that must end now.
func (a attendants) abandon() {
	if a.command != nil {
		a.command.abandon()
	}
}

// Close ends them. It is called while the mount is still there: commands read
// from it.
func (a attendants) Close() {
	if a.command != nil {
		a.command.Close()
	}
	if a.notifier != nil {
		a.notifier.Close()
	}
}
