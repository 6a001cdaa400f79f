package main

import (
	"fmt"
	"strings"

	"github.com/matrixfs/matrixfs/fs"
	"github.com/matrixfs/matrixfs/transfer"
)

// The buttons of an offer's notification, as the desktop names them to us.
const (
	buttonAccept = "accept"
	buttonSave   = "save"
	buttonReject = "reject"
)

// offerNote tells of an offer: who makes it where, name, type, and size. All
// that others say is in the body: some desktops read markup in the summary too,
// where nothing says whether to escape it.
func (n *notifier) offerNote(in *transfer.Incoming) note {
	s := safeStatus(in.Status())
	size := "size not known"
	if s.Size >= 0 {
		size = sizeText(s.Size)
	}
	kind := s.MIMEType
	if kind == "" {
		kind = "type not known"
	}
	lines := []string{
		string(s.Peer.User),
		s.Name,
		kind + ", " + size,
		fmt.Sprintf("in %s, %s", n.places.roomName(in.Status().Room), s.Trust),
	}
	about := note{summary: "A file is offered", stays: true}
	if n.desktop.actions {
		about.buttons = []string{buttonAccept, "Accept", buttonSave, "Save to Downloads", buttonReject, "Reject"}
	} else {
		lines = append(lines, "Read it to accept: "+safeText(n.places.path(in)))
	}
	about.body = strings.Join(lines, "\n")
	return about
}

// restNote counts the offers that get no notification of their own.
func restNote(count int) note {
	about := note{summary: fmt.Sprintf("%d more offers", count), body: "They are in incoming, and in matrixfs status.", stays: true}
	if count == 1 {
		about.summary, about.body = "1 more offer", "It is in incoming, and in matrixfs status."
	}
	return about
}

// savedNote tells that a file is there.
func savedNote(in *transfer.Incoming, path string) note {
	return note{summary: "File saved", body: fs.SafeName(in.Status().Name) + "\nis " + safeText(path)}
}

// failureNote tells why a button did not do what it says.
func failureNote(in *transfer.Incoming, what string, err error) note {
	return note{summary: "File " + what, body: fs.SafeName(in.Status().Name) + "\n" + safeText(err.Error())}
}
