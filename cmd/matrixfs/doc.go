// Command matrixfs mounts the rooms of a Matrix account as directories.
// Copying a file into a room offers it to the devices there; reading a file
// in incoming/ accepts an offer. The bytes go from device to device.
//
// This package joins the three that do the work: matrix (the account), fs
// (the mount) and transfer (the files on their way). It adds the command
// line, the control socket, and the order in which things start and stop.
//
// # One program per state directory
//
// All that an account needs is in one state directory. A running mount holds
// a lock in it (taken by matrix.Open) and answers questions on a socket
// beside it, which is how "status" and a second "mount" learn of the first.
//
// # Order
//
// A mount must never be there without somebody who serves it. So the account,
// the exchange and the control socket exist before the mount does. At the end
// the exchange closes first: that ends every blocked read and write and tells
// the peers. Then the mount goes, then the account. What tells of new offers
// (notifications, the command of --on-offer) needs them all: it starts last,
// and ends before them.
//
// # Starting by itself
//
// systemd is told when the mount can be used (notify.go); "matrixfs unit"
// prints the unit. Called by mount(8), under the name of one of its helpers,
// the program starts itself again in the background (helper.go, background.go).
//
// # Output
//
// Errors are one line on standard error, which says what to do. The exit
// status is 0, 1, or 2 for a wrong command line. Whatever came from the
// network is made safe before it reaches a terminal.
package main
