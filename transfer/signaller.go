package transfer

import "context"

// Signaller carries the messages of this device to the rooms. Its methods are
// safe for concurrent use.
type Signaller interface {
	// Send puts the message into the room as an event of this device. It
	// obeys rate limits and waits for them no longer than ctx lives. Its
	// errors wrap ErrOffline where the homeserver can't be reached and
	// ErrNotAllowed where the room refuses.
	Send(ctx context.Context, room RoomID, m Message) (EventID, error)
	// Retire says that a transfer is over: what was sent of it may be taken
	// back, and what was received forgotten. It never waits for the network.
	// An offer to us that nobody touched before Close is not retired.
	Retire(room RoomID, id ID)
	// Members gives the users joined to the room, this one included. It
	// answers from memory.
	Members(room RoomID) []UserID
	// TURNServers gives the TURN servers of the homeserver, from memory while
	// they are fresh. No servers is no error.
	TURNServers(ctx context.Context) ([]TURNServer, error)
}

// TURNServer is one entry of the homeserver's /voip/turnServer.
type TURNServer struct {
	// URLs are RFC 7065 URIs: "turn:turn.example.org:3478?transport=udp".
	URLs               []string
	Username, Password string
}
