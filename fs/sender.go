package fs

import (
	"context"
	"errors"
	"sync/atomic"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/matrixfs/matrixfs/transfer"
)

// exitPatience is how long a process that ends without closing its file stays
// until somebody answers the offer, and then while the peer gets nothing.
// Nothing can end it in that time, not even SIGKILL: the kernel drops signals for
// a process that is ending.
const exitPatience = 10 * time.Second

// lookAtWriter is how often a writer is looked at for a signal, at most. That
// takes some 30 microseconds.
const lookAtWriter = time.Millisecond

// senderFlags: without direct_io, close would be the first to report errors,
// and writing would be slower.
const senderFlags = fuse.FOPEN_DIRECT_IO

// sender is an open descriptor of a file being sent. Processes share it after
// fork.
type sender struct {
	file *outbound
	// wrote: something was written through it.
	wrote atomic.Bool
	// looked is when a writer was last looked at for signals, in nanoseconds.
	looked atomic.Int64
	// probe: the file is made to see whether that is possible.
	probe bool
}

var (
	_ gofs.FileReader    = (*sender)(nil)
	_ gofs.FileWriter    = (*sender)(nil)
	_ gofs.FileFlusher   = (*sender)(nil)
	_ gofs.FileFsyncer   = (*sender)(nil)
	_ gofs.FileAllocater = (*sender)(nil)
	_ gofs.FileReleaser  = (*sender)(nil)
)

// Read implements gofs.FileReader.
func (h *sender) Read(_ context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	return h.file.readBack(dest, off)
}

// Write implements gofs.FileWriter.
func (h *sender) Write(op context.Context, p []byte, off int64) (uint32, syscall.Errno) {
	o, c := h.file, callerOf(op)
	s := o.current()
	if o.remember(c) {
		if size, ok := o.m.sourceSize(c, o.identity(), int64(len(p))); ok && off == 0 && s.extent() == 0 {
			s.hint(size)
		}
	}
	ctx, cancel := o.m.waiting(op)
	defer cancel()
	h.wrote.Store(true)
	n, err := s.write(ctx, p, off)
	if (op.Err() != nil || h.maySignal()) && c.condemned() {
		// Many programs catch the signal, and close the file in good order. One
		// that waits for a whole sendfile does not see it before.
		s.cancel()
		return 0, syscall.EINTR
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		o.spoil(s)
	}
	return uint32(n), o.m.errno(err)
}

// maySignal reports whether it is time to look for a signal of which the kernel
// has not told, because the WRITE was quick.
func (h *sender) maySignal() bool {
	now, last := time.Now().UnixNano(), h.looked.Load()
	return now-last >= int64(lookAtWriter) && h.looked.CompareAndSwap(last, now)
}

// Fsync implements gofs.FileFsyncer: it sends the invite, and tells of an
// error so far. It does not wait for the peer, because the kernel holds the
// lock of the inode meanwhile; close does. A file whose name is yet to come
// (GLib: FSYNC, then RENAME) is not announced under another.
func (h *sender) Fsync(context.Context, uint32) syscall.Errno { return h.file.fsync() }

func (o *outbound) fsync() syscall.Errno {
	s := o.current()
	if _, known := finalName(o.identity().name); known && s.extent() != 0 {
		s.announce()
	}
	return o.m.errno(s.err())
}

// Allocate implements gofs.FileAllocater. What has not been written is zeros
// anyway; a size beyond the end of what is written is announced.
func (h *sender) Allocate(_ context.Context, off, length uint64, mode uint32) syscall.Errno {
	const understood = fallocKeepSize | fallocPunchHole | fallocZeroRange
	s, end := h.file.current(), int64(off+length)
	switch {
	case mode&^understood != 0:
		return syscall.EOPNOTSUPP
	case end < 0:
		return syscall.EFBIG
	case mode&(fallocPunchHole|fallocZeroRange) != 0 && !s.isAhead(int64(off)):
		return h.file.m.errno(s.erase(int64(off), min(int64(length), s.extent()-int64(off))))
	case mode&fallocKeepSize != 0 || end <= s.extent():
		return h.file.m.errno(s.err())
	}
	return h.file.m.errno(s.resize(end))
}

// Flush implements gofs.FileFlusher: the close of one descriptor. See the
// package's documentation for what it promises.
func (h *sender) Flush(op context.Context) syscall.Errno {
	o, c := h.file, callerOf(op)
	s := o.current()
	end := c.ending()
	held := o.held(c)
	switch {
	case end.executing && (held || !h.wrote.Load() && s.isFinishing()):
		return 0
	case end.executing:
		return h.leave(s)
	case end.failed && (!held || o.wroteBy(c)):
		s.cancel()
		return syscall.EINTR // nobody is there to see it
	case h.probe && !held && s.extent() == 0:
		return 0 // and nobody will hear of it
	case !h.wrote.Load() && (held || s.isFinishing()), held && end.exiting:
		return 0 // a shell has moved its descriptor, touch is done, …
	case held:
		return h.wait(op, s, s.sync)
	case end.exiting:
		return h.outlive(s)
	}
	return h.wait(op, s, s.finish)
}

// wait waits for the peer. If the process is to die first, that cancels the
// offer.
func (h *sender) wait(op context.Context, s body, until func(context.Context) error) syscall.Errno {
	ctx, cancel := h.file.m.patient(op)
	defer cancel()
	err := until(ctx)
	if errors.Is(err, context.Canceled) && h.file.m.closing.Err() == nil {
		s.cancel()
		err = s.err() // dd takes EINTR from close for success
	}
	return h.file.m.errno(err)
}

// leave finishes the file without the process, which becomes another program.
// Nobody can tell it of an error any more, and whoever looks at it waits for as
// long as this takes.
func (h *sender) leave(s body) syscall.Errno {
	m := h.file.m
	s.conclude() // before Release comes, and takes it for abandoned
	m.background.Go(func() { _ = s.finish(m.closing) })
	return 0
}

// outlive finishes the file for a process that is ending, and can't be killed
// any more. It waits for an answer to the offer for a short time only, and then
// for as long as the peer gets something; the file goes on by itself.
func (h *sender) outlive(s body) syscall.Errno {
	m := h.file.m
	done := make(chan error, 1)
	m.background.Go(func() { done <- s.finish(m.closing) })
	look := time.NewTicker(exitPatience)
	defer look.Stop()
	for had := int64(-1); ; {
		select {
		case err := <-done:
			return m.errno(err)
		case <-look.C:
		}
		status := s.status()
		if status.State == transfer.Preparing || status.State == transfer.Offered || status.Bytes <= had {
			return 0
		}
		had = status.Bytes
	}
}

// Release implements gofs.FileReleaser: nobody has the descriptor any more.
func (h *sender) Release(context.Context) syscall.Errno {
	h.file.release()
	return 0
}
