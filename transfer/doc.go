// Package transfer hands files from device to device as MSC2354 describes: an
// offer goes out as a message to a room, the first device that answers gets
// the file over a WebRTC data channel.
//
//	offerer                                   answerer
//	   | m.d2dfile.invite (SDP, no candidates)   |
//	   |---------------------------------------->|
//	   |                 m.d2dfile.answer (SDP)  |  Accept, or the first ReadAt
//	   |<----------------------------------------|
//	   | m.d2dfile.candidates (who won)          |
//	   |---------------------------------------->|
//	   |            data channel: the bytes      |
//	   |========================================>|
//
// An Exchange holds all live transfers of one device and routes messages to
// them. An Outgoing is a file that this device offers, an Incoming one that it
// is offered. The package knows nothing of Matrix, which it asks to carry its
// messages through a Signaller, and nothing of file systems.
//
// # Invariants
//
//   - A State changes only through State.next; the first end is the end.
//   - Finish returns nil exactly if the receiving device has every byte.
//   - A Reader gives io.EOF only at the end of a file that is complete.
//   - What comes from the network is bounded: message.go has the limits of an
//     event, exchange.go those of the number of offers, the window and the
//     spool those of bytes.
//
// # Goroutines and locks
//
// Each transfer has one goroutine, which the Exchange waits for in Close, and
// which waits for those it starts. The locks are, in the order in which they
// may be taken: Reader.mu, Incoming.accepting, Exchange.mu, transfer.mu, spool.mu,
// cache.mu, call.mu. None is held while something is sent or waited for.
//
// # Limitations
//
// The data channel carries the plain stream of MSC2354 only: a connection that
// is lost can't be resumed, and the file has no hash.
package transfer
