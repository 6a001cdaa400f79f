// Package fs shows rooms and files on offer as a file system, through FUSE.
//
// # The tree
//
//	!xyz:example.org/          a joined room: a file created in it is offered to the room
//	#team:example.org   ->     its canonical alias
//	@bob:example.org    ->     a direct chat
//	Team Room           ->     its name, made safe and unique
//	incoming/                  the files that others offer, one each
//
// # How a file goes out
//
// CREATE makes an outbound (a directory entry) with a stream (a
// transfer.Outgoing and how far it has been written). WRITE appends to the
// stream, and waits while the window of the transfer is full. It may also go
// back, as far as the bytes have not left (goback.go). FLUSH, which
// close(2) sends, waits until the peer has acknowledged everything, and
// returns the truth: so cp succeeds exactly if the file arrived. The end of
// the file is the FLUSH after which nobody holds it (closer_linux.go). A writer that
// was killed or failed cancels the offer.
//
// Where the mount has a SpoolDir, the outbound has a spooled instead of the
// stream: a file on disk, which is handed to the transfer at the end. Files that
// vim and SQLite make beside the one they work on, and remove again (.x.swp,
// x-journal), are never offered: a spooled without a transfer. Nobody else may
// make or write such a file: it would look sent.
//
// # How a file comes in
//
// An entry of incoming/ is an inbound around a transfer.Incoming. The first
// READ accepts the offer, if the policy lets that program (policy.go): not one
// that reads unasked. LOOKUP, GETATTR, OPEN accept nothing. Until the file is
// here it is opened with direct_io: so READs tell whether a file manager copies
// it or only looks into it (paged.go).
//
// # How watchers hear of it
//
// What changes without a system call raises no event (inotify), and file
// managers that are open would not see it; what FUSE calls notifications
// raises none either. So the announcer compares what it has told with what
// there is, and has each difference made by a system call: mknod, mkdir and
// symlink for what has come, unlink and rmdir for what has gone, rename for a
// link with another name, utimensat for what looks different. The calls are made
// by the crier, a child process that runs Announce. They are granted, and have
// no effect; to the crier alone, which is known by its number, and only for the
// one call that it is being asked for. To the crier, what it announces to have
// come is not there until that is granted, and what it announces to have gone
// still is. To everybody else the tree is always what it is.
//
// The crier walks into the mount through a directory whose name only the two
// know. So its calls come to nothing if the mount is gone, or another lies on
// top of it, or the kernel does not tell who calls (pid namespaces).
//
// # Invariants
//
//   - Only READ, WRITE and FLUSH wait for the network. All else is answered
//     from memory.
//   - WRITE gives way when somebody looks the file up (see slice in stream.go):
//     the kernel holds the lock of the inode for as long as it takes; rm of that
//     file, and with it the whole directory, would hang otherwise. FSYNC is sent
//     under the same lock, so it does not wait at all.
//   - An operation that is interrupted has consumed nothing. FLUSH ends early
//     only for a process that is about to die. It never waits for one within
//     execve, nor looks at its links (see executing in caller_linux.go).
//   - This process opens nothing in its own mount: killed while it waits for
//     itself, it could not die. The crier does, and holds nothing open there.
//   - The crier changes nothing: what it asks for is granted without effect, or
//     refused.
//   - The kernel caches neither names nor attributes (all timeouts are zero),
//     so what this package says is always what a person sees.
//   - Who may use the mount at all is up to the kernel: its user alone, or
//     everybody (Options.AllowOther). Modes say what can be done, not by whom.
//     But whose programs can't be seen under /proc, where this process is not
//     root, may not send: see isUnseen.
//   - EPIPE is never returned: tee and pv hide it.
//
// # Lock order
//
// root.mu, then room.mu or inbox.mu, then outbound.mu, then stream.mu or
// spooled.mu, then store.mu. The locks of announcer, inbound, receiver, policy
// and xattrs are held alone. Locks of package transfer, and of what implements
// Rooms, come last. No lock of this package is held while anything waits for the
// network or for the crier. The turn of a stream or a spooled is not a lock but a place in a queue, waited for with a
// context.
//
// # Limitations
//
//   - A file descriptor that is under way in a unix socket, or registered with
//     io_uring, is not seen as a holder of a file; neither is one of a process
//     whose /proc/PID/fd the user may not read.
//   - A process that leaves the closing of its file to its own end (exit)
//     can't be killed any more while the kernel closes for it. So such a close
//     waits for an answer to the offer for a short time only (exitPatience), and
//     then for as long as the peer gets something; after that the file goes on by
//     itself.
//   - A WRITE that gives way is queued whole, up to 8 MiB for each file
//     (maxQueue). Beyond that write(2) is cut short, which some programs, tar
//     among them, take for an error: somebody must look the file up again and
//     again for minutes, while its writer waits.
//   - A program that failed after it closed its file, or upstream of a pipe,
//     is not seen to have failed. Nor is one that is asked to end between two
//     writes (Ctrl-C), catches that, and closes what it has written: such a
//     signal is seen only where it interrupts a WRITE or FLUSH.
//   - A file that is closed because its writer becomes another program (execve)
//     goes on by itself: nobody is left to be told whether it arrived.
//   - A program that is not known for it accepts what it reads unasked. So does a
//     file manager that looks into a file by mmap.
//   - The kernel does not tell of signals to a reader through the page cache
//     (sendfile, splice, mmap). One that will end it is seen; Ctrl-Z stops such a
//     reader when the bytes are there that it waits for. A signal that a program
//     catches does not end its wait for a mapped page.
//   - On macOS and FreeBSD the program builds, and what needs /proc is missing
//     (caller_other.go, mountpoint_other.go).
//   - While something is being announced, the mount is in use for as long as a
//     system call takes: unmounting from outside can find it busy, once.
//   - What was sent can't be changed or read back. A program that tries to
//     change it loses the whole offer, because what it writes is not what it
//     wants to send. With SpoolDir, what a program writes through a mapping after
//     it has closed its last descriptor is lost.
//   - With SpoolDir, a close that leaves another writer says nothing of the
//     peer; the last one does.
//
// # POSIX
//
// A room is not a place to keep files. Of the tests that go-fuse has for POSIX
// (package posixtest) these do not apply, each for the reason in front:
//
//   - it reads back what was sent: AppendWrite, DirectIO, FallocateKeepSize,
//     FdLeak, FileBasic, FileLarge, FstatDeleted, LseekEnxioCheck,
//     LseekHoleSeeksToEOF, NlinkZero, Tmpfile
//   - it changes what was sent: TruncateFile, TruncateNoFile
//   - it makes a directory: DirSeek, MkdirRmdir, OpenAt, RenameOpenDir,
//     RenameOverwriteDestExist, RenameOverwriteDestNoExist
//   - it wants a lock to keep out its own process: FcntlFlockLocksFile
//   - it makes a link: Link, LinkUnlinkRename, OpenSymlinkRace, SetattrSymlink,
//     SymlinkReadlink
package fs
