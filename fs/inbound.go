package fs

import (
	"context"
	"sync"
	"syscall"
	"time"

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

	mu sync.Mutex // guards all below
	// open counts the descriptors, but for those that were refused to read.
	open int
	// kept: it was accepted by hand, so it comes whoever reads it, or stops.
	kept bool
	// refused is the program that was refused last.
	refused string

	// Guarded by inbox.mu: what watchers know, and since when.
	told   visible
	toldAt time.Time
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
	a.Mode = unix.S_IFREG | f.m.permissions(0o600)
	a.Uid, a.Gid = f.m.uid, f.m.gid
	a.Nlink = 1
	a.Size = uint64(max(0, sizeOf(s)))
	a.Blocks = blocksOf(s)
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

// blocksOf tells, in blocks of 512 bytes, how much of the file is here: du and
// ls -s show it. It is never 0 where there will be something, because tar -S
// takes that for a file of zeros.
func blocksOf(s transfer.Status) uint64 {
	n := s.Bytes
	if s.State != transfer.Delivered && s.Size != 0 {
		n = max(n, 1)
	}
	return uint64(n+511) / 512
}

// Setattr implements gofs.NodeSetattrer. chmod and touch are let be and do
// nothing.
func (f *inbound) Setattr(op context.Context, _ gofs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	f.m.announcer.alter(op)
	if _, ok := in.GetSize(); ok {
		return syscall.EACCES
	}
	f.attr(&out.Attr)
	return 0
}

// Open implements gofs.NodeOpener. It accepts nothing.
func (f *inbound) Open(op context.Context, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	if flags&unix.O_ACCMODE != unix.O_RDONLY || flags&unix.O_TRUNC != 0 {
		return nil, 0, syscall.EACCES
	}
	s, c := f.in.Status(), callerOf(op)
	h := &receiver{file: f, opener: c.process()}
	if s.State != transfer.Delivered {
		h.who = c.who()
		if f.refuses(f.mayOpen(h.who, flags, s)) {
			return nil, 0, syscall.EACCES
		}
	}
	f.count(1)
	h.reader = f.in.Open()
	switch {
	case s.State == transfer.Delivered:
		return h, fuse.FOPEN_KEEP_CACHE, 0
	case s.Size < 0:
		// Programs believe a size of 0, except of what can't seek.
		return h, fuse.FOPEN_DIRECT_IO | fuse.FOPEN_NONSEEKABLE, 0
	}
	return h, fuse.FOPEN_DIRECT_IO, 0
}

// mayOpen asks the policy about who opens the file, which is not complete.
func (f *inbound) mayOpen(who program, flags uint32, s transfer.Status) refusal {
	if !f.isKept(s.State) {
		if no := f.m.policy.mayOpen(who, flags); no.reason != "" {
			return no
		}
	}
	if s.Size < 0 {
		return f.m.policy.mayGuess(who)
	}
	return refusal{}
}

// mayRead asks the policy about a first read.
func (f *inbound) mayRead(who func() program, n int, paged bool) refusal {
	if state := f.in.Status().State; state == transfer.Delivered || f.isKept(state) {
		return refusal{}
	}
	return f.m.policy.mayRead(who(), n, paged)
}

// refuses keeps who was refused, and reports whether it was.
func (f *inbound) refuses(no refusal) bool {
	if no.reason == "" {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refused = no.program
	return true
}

// isKept reports whether the file was accepted by hand, and still is: an answer
// that could not be sent is taken back.
func (f *inbound) isKept(s transfer.State) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.kept && s != transfer.Offered
}

// keep accepts the file by hand.
func (f *inbound) keep() error {
	f.mu.Lock()
	f.kept = true // before a reader that ends just now can cancel it
	f.mu.Unlock()
	return f.in.Accept()
}

// count counts descriptors, and reports whether none is left.
func (f *inbound) count(change int) (none bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open += change
	return f.open == 0
}
