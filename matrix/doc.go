// Package matrix is the part of matrixfs that talks to a homeserver: login,
// sync, the rooms and who may use them, and the four events of MSC2354. It
// knows neither FUSE nor WebRTC.
//
// # Use
//
// Login makes a device, with a password or in a browser, and stores its login
// in a directory. Open makes a Client of it, and Run keeps that Client in step
// with the homeserver until its context ends:
//
//	homeserver --/sync--> Run --> keyring --> roster (memory) --> Rooms, Members
//	                       |          |  \---> store (SQLite)  --> the next Open
//	                       |          \------> receiver (transfer.Received, in room order)
//	                       <--- Send <-- seal, in encrypted rooms
//
// Recover and MakeIdentity make this device a verified one, and Verify and
// Answer compare emoji with another device or user, while Run runs:
//
//	Run --> verifier --> verification --> wire (a room, or a device)
//	                         |  \-------> notary (the keyring)
//	                         \----------> Judge (the person)
//
// Rooms, Members and Online answer from memory. They never wait for the disk
// or the network.
//
// # Invariants
//
//   - Nothing is sent to a room whose rules are not known to be fresh: Send
//     waits, for a few seconds, until the last sync worked. So a room that
//     became encrypted or public while this program was away is never sent to
//     by mistake.
//   - A room that has ever been seen encrypted stays so. What is not known
//     counts as refused. In an encrypted room nothing is sent in the clear, and
//     what comes in the clear counts as not sent.
//   - The sender of an encrypted message is the device whose session it was
//     encrypted with, whatever the homeserver or the message say. A device that
//     its user's identity does not vouch for, or whose user's identity is not
//     the one that was met first or is verified, is sent nothing it can read,
//     and what it sends counts as not sent (trust.go).
//   - The sync token is stored in the same transaction as what came with it, and
//     only after the receiver has been called. A crash repeats messages; it
//     loses none.
//   - What this device sent for a transfer is redacted once Retire says that it
//     is over: in this run, or in the next (eraser).
//   - The messages of an offer that is alive are given to the receiver again
//     after a restart (keeper).
//   - No token, code, password, recovery key or private key is in an error or in
//     a log line.
//   - A device or a user becomes trusted only by a recovery key, or by codes that
//     a person has said are the same (Recover, Verify, Answer). The private keys
//     that this takes are read for each use: none stays in memory, where it
//     would outlive the identity that it belongs to.
//   - New tokens are stored before their first use; the homeserver keeps the old
//     ones until then (session).
//   - A login that fails or is interrupted leaves no device behind, as far as
//     the homeserver can still be told.
//
// # Locks
//
// keyring.gate may be held while roster.mu, verifier.mu and session.mu are taken.
// Client.mu, roster.mu, line.mu, verifier.mu, pacer.mu, eraser.mu, keeper.mu,
// session.mu and turnCache.gate are leaves: none is held while another is taken.
// The receiver is called with no lock held, from the goroutine of Run.
//
// # Limitations
//
//   - A device whose making was not confirmed, because the connection broke in
//     that moment, stays listed after a login with SSO or a device code: what
//     they are asked for with works once.
//   - Who the members of a room are is the homeserver's word. Somebody it adds
//     gets what is sent there, unless only verified devices count.
//   - In an encrypted room all devices of a member count who has no identity, so
//     their homeserver can add one.
//   - An encrypted message whose key has not come before the program ends is not
//     shown at the next start.
//   - Verifying takes SAS, with emoji or numbers; no QR codes. A request in a
//     room that is not encrypted is seen only if it comes while Answer waits.
//   - A user who had verified another, whose identity was replaced since, would
//     trust the old identity again if the homeserver brought it back, as would
//     any client: what revokes a signature does not exist.
//   - A room with join rule "restricted" is taken for private, although the room
//     whose members may join could be public.
//   - After a gap in a room's timeline, what is older than
//     transfer.MaxLifetime, or more than a few hundred events back, is not
//     fetched.
package matrix
