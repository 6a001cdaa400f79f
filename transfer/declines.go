package transfer

// declines are the users who have declined an offer of this user. It belongs to
// the goroutine of its transfer.
type declines map[UserID]bool

// add counts one more, and reports whether that settles it. In a room of two it
// is a refusal; in a larger one the offer stands until everybody has declined.
// A device of our own that is not interested decides only where there is nobody
// else.
func (d declines) add(x *Exchange, room RoomID, user UserID) bool {
	self := x.cfg.Self.User
	d[user] = true
	others := 0
	for _, member := range x.cfg.Signaller.Members(room) {
		if member == self {
			continue
		}
		others++
		if !d[member] {
			return false
		}
	}
	return others == 0 || user != self
}
