package fs

import (
	"context"
	"errors"
	"io"
	"sync"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/matrixfs/matrixfs/transfer"
)

// inbound is a file that somebody offers, or that has come in: an entry of the
// inbox.
type inbound struct {
	node
	name string
	in   *transfer.Incoming

	mu   sync.Mutex // guards all below
	open int        // descriptors
}

var (
	_ gofs.NodeGetattrer = (*inbound)(nil)
	_ gofs.NodeSetattrer = (*inbound)(nil)
	_ gofs.NodeOpener    = (*inbound)(nil)
)

func newInbound(m *Mounted, name string, in *transfer.Incoming) *inbound {
	f := &inbound{node: node{m: m}, name: name, in: in}
	m.adopt(f, unix.S_IFREG)
	return f
}

// Getattr implements gofs.NodeGetattrer.
func (f *inbound) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	f.attr(&out.Attr)
	return 0
}

func (f *inbound) attr(a *fuse.Attr) {
	s := f.in.Status()
	a.Ino = f.StableAttr().Ino
	// The mode allows writing although Open does not, so that rm does not ask.
	a.Mode = unix.S_IFREG | 0o600
	a.Uid, a.Gid = f.m.uid, f.m.gid
	a.Nlink = 1
	a.Size = uint64(max(0, sizeOf(s)))
	a.Blocks = (a.Size + 511) / 512
	a.Blksize = maxWrite
	a.SetTimes(&s.Created, &s.Created, &s.Created)
}

// sizeOf gives the size of the file, or a negative number.
func sizeOf(s transfer.Status) int64 {
	if s.State == transfer.Delivered {
		return s.Bytes
	}
	return s.Size
}

// Setattr implements gofs.NodeSetattrer. chmod and touch are let be and do
// nothing.
func (f *inbound) Setattr(_ context.Context, _ gofs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if _, ok := in.GetSize(); ok {
		return syscall.EACCES
	}
	f.attr(&out.Attr)
	return 0
}

// Open implements gofs.NodeOpener. It accepts nothing.
func (f *inbound) Open(_ context.Context, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	if flags&unix.O_ACCMODE != unix.O_RDONLY || flags&unix.O_TRUNC != 0 {
		return nil, 0, syscall.EACCES
	}
	f.mu.Lock()
	f.open++
	f.mu.Unlock()
	h := &receiver{file: f, reader: f.in.Open()}
	s := f.in.Status()
	switch {
	case s.State == transfer.Delivered:
		return h, fuse.FOPEN_KEEP_CACHE, 0
	case s.Size < 0:
		// Programs believe a size of 0, except of what can't seek.
		return h, fuse.FOPEN_DIRECT_IO | fuse.FOPEN_NONSEEKABLE, 0
	}
	return h, fuse.FOPEN_DIRECT_IO, 0
}

// release counts one descriptor less, and reports whether it was the last.
func (f *inbound) release() (last bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open--
	return f.open == 0
}

// receiver is an open descriptor of a file coming in.
type receiver struct {
	file   *inbound
	reader *transfer.Reader

	mu sync.Mutex // guards all below
	// interrupted: the last read ended by a signal.
	interrupted bool
	// killed: a process that had it open was killed.
	killed bool
}

var (
	_ gofs.FileReader   = (*receiver)(nil)
	_ gofs.FileFlusher  = (*receiver)(nil)
	_ gofs.FileReleaser = (*receiver)(nil)
)

// Read implements gofs.FileReader: the first one accepts the offer. It fills
// dest, except at the end of the whole file: programs take a short read for
// the end.
func (h *receiver) Read(op context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	ctx, cancel := h.file.m.waiting(op)
	defer cancel()
	n, err := h.reader.ReadAt(ctx, dest, off)
	if err != nil && !errors.Is(err, io.EOF) {
		h.note(op.Err() != nil)
		return nil, h.file.m.errno(err)
	}
	h.note(false)
	return fuse.ReadResultData(dest[:n]), 0
}

func (h *receiver) note(interrupted bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.interrupted = interrupted
}

// Flush implements gofs.FileFlusher: it sees who closes.
func (h *receiver) Flush(op context.Context) syscall.Errno {
	switch callerOf(op).ending().signal {
	// Not SIGPIPE: head has what it wanted, and cat in front of it ends so.
	case syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL, syscall.SIGHUP, syscall.SIGQUIT:
		h.mu.Lock()
		h.killed = true
		h.mu.Unlock()
	}
	return 0
}

// Release implements gofs.FileReleaser. A reader that gave up, the last one,
// cancels the transfer; one that just stops reading does not.
func (h *receiver) Release(context.Context) syscall.Errno {
	h.reader.Close()
	h.mu.Lock()
	gaveUp := h.killed || h.interrupted
	h.mu.Unlock()
	if h.file.release() && gaveUp {
		h.file.in.Cancel()
	}
	return 0
}
