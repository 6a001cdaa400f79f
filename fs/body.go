package fs

import (
	"context"

	"github.com/matrixfs/matrixfs/transfer"
)

// body is the content of a file being sent, and what becomes of it. There are
// two kinds: a stream leaves while it is being written, and a spooled is
// written to disk first. Only write, sync and finish wait; with the context's
// error if that ends first.
type body interface {
	content
	offering
	// sync waits until what has been written is as safe as it can be before
	// the end: with the peer, or on disk.
	sync(ctx context.Context) error
	// conclude ends the file: there will be no writes any more.
	conclude()
	// finish does that too, and waits until the file is delivered. It may be
	// called again.
	finish(ctx context.Context) error
	// isEnded reports whether there will be no writes any more, and
	// isFinishing whether that is because the file is on its way to a good
	// end, or there.
	isEnded() bool
	isFinishing() bool
	// release says that no program has the file open for writing any more.
	release()
}

// content is the bytes of a body.
type content interface {
	// write accepts bytes of p at off, and returns how many.
	write(ctx context.Context, p []byte, off int64) (int, error)
	// read gives what was written at off, as far as the file goes, or
	// transfer.ErrBehind where that is not here any more.
	read(p []byte, off int64) (int, error)
	// resize makes the file n bytes long, and erase makes n bytes at off
	// zeros, as far as the file goes.
	resize(n int64) error
	erase(off, n int64) error
	// extent is how long the file is; isAhead reports whether nothing has been
	// written at off and behind it.
	extent() int64
	isAhead(off int64) bool
	// nudge makes a write that waits give way, soon.
	nudge()
}

// offering is what a body is to the room.
type offering interface {
	// err is why the file was not and will not be delivered.
	err() error
	// cancel ends it, and forgets the bytes.
	cancel()
	// rename sets the name that the peer will see, if it is not too late.
	rename(name string)
	// hint says how long the file is going to be, and announce that it is
	// worth telling the room of.
	hint(size int64)
	announce()
	status() transfer.Status
}

var (
	_ body = (*stream)(nil)
	_ body = (*spooled)(nil)
)

// offer is the offering of a body to a room.
type offer struct{ out *transfer.Outgoing }

func (f offer) err() error              { return f.out.Err() }
func (f offer) cancel()                 { f.out.Cancel() }
func (f offer) rename(name string)      { f.out.SetName(offeredName(name)) }
func (f offer) hint(size int64)         { f.out.SetSize(size) }
func (f offer) announce()               { f.out.Invite() }
func (f offer) status() transfer.Status { return f.out.Status() }
