package main

import (
	"github.com/matrixfs/matrixfs/fs"
	"github.com/matrixfs/matrixfs/transfer"
)

// report is what a running mount tells of itself on its control socket, and
// what "status --json" prints. Programs depend on it: fields are added, never
// changed.
type report struct {
	Version string `json:"version"`
	PID     int    `json:"pid"`
	User    string `json:"user_id"`
	Device  string `json:"device_id"`
	// Homeserver is its URL.
	Homeserver string `json:"homeserver"`
	Mountpoint string `json:"mountpoint"`
	// Online tells whether the homeserver answered lately.
	Online bool `json:"online"`
	// Standing tells how this device stands to the identity of its account
	// (matrix.Standing); it is left out while that is not known.
	Standing string `json:"standing,omitempty"`
	// Transfers are the live ones and the last that ended, oldest first.
	// Everything in them is safe to print.
	Transfers []transfer.Status `json:"transfers"`
}

// safeStatus makes the strings of a transfer, which others chose, safe for
// terminals and as file names.
func safeStatus(s transfer.Status) transfer.Status {
	s.ID = transfer.ID(safeText(string(s.ID)))
	s.Room = transfer.RoomID(safeText(string(s.Room)))
	s.Peer.User = transfer.UserID(safeText(string(s.Peer.User)))
	s.Peer.Device = transfer.DeviceID(safeText(string(s.Peer.Device)))
	s.Name = fs.SafeName(s.Name)
	s.MIMEType = safeText(s.MIMEType)
	s.Err = safeText(s.Err)
	return s
}
