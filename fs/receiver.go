package fs

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/matrixfs/matrixfs/transfer"
)

// receiver is an open descriptor of a file coming in.
type receiver struct {
	file   *inbound
	reader *transfer.Reader
	opener int     // the process that opened it
	who    program // what that is; empty where the file was complete

	mu sync.Mutex // guards all below
	// admitted: it may read, and has begun to.
	admitted bool
	// refused: it was not let read when it last tried.
	refused bool
	// interrupted: a signal has ended a READ, and none has got any further since.
	// interruptedAt is how far that one would have got, or more.
	interrupted   bool
	interruptedAt int64
	// killed: a process that had it open was killed.
	killed bool
}

var (
	_ gofs.FileReader   = (*receiver)(nil)
	_ gofs.FileFlusher  = (*receiver)(nil)
	_ gofs.FileReleaser = (*receiver)(nil)
)

// Read implements gofs.FileReader: the first one accepts the offer, if the
// policy lets it. It fills dest, except at the end of the whole file: programs
// take a short read for the end.
func (h *receiver) Read(op context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	m := h.file.m
	paged := m.kernel.isPaged(op)
	if !h.admit(callerOf(op), len(dest), paged) {
		return nil, syscall.EACCES
	}
	wait := m.waiting
	if paged {
		wait = m.watching
	}
	ctx, cancel := wait(op)
	defer cancel()
	n, err := h.reader.ReadAt(ctx, dest, off)
	if err != nil && !errors.Is(err, io.EOF) {
		if errors.Is(err, context.Canceled) && m.closing.Err() == nil && !callerOf(op).gone() {
			h.interrupt(off + int64(len(dest)))
		}
		return nil, m.errno(err)
	}
	if err == nil { // there is nothing to cancel at the end
		h.goOn(off + int64(n))
	}
	return fuse.ReadResultData(dest[:n]), 0
}

// admit asks, until the first READ that may be, whether one may.
func (h *receiver) admit(c caller, n int, paged bool) bool {
	h.mu.Lock()
	admitted := h.admitted
	h.mu.Unlock()
	if admitted {
		return true
	}
	refused := h.file.refuses(h.file.mayRead(func() program { return h.reads(c, paged) }, n, paged))
	h.mu.Lock()
	if h.admitted {
		refused = false // another thread was let
	}
	before := h.refused
	h.admitted, h.refused = !refused, refused
	h.mu.Unlock()
	switch {
	case refused && !before:
		h.file.count(-1)
	case before && !refused:
		h.file.count(1)
	}
	return !refused
}

// reads tells what program reads, which need not be the one that opened the
// file. The command line of one that may have the file in its memory is not
// asked for anew: that could wait for this very READ.
func (h *receiver) reads(c caller, paged bool) program {
	if len(h.who.names) == 0 || !paged && c.process() != h.opener {
		return c.who()
	}
	who := program{names: slices.Clone(h.who.names)}
	who.add(c.program())
	return who
}

func (h *receiver) interrupt(end int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.interrupted, h.interruptedAt = true, max(h.interruptedAt, end)
}

// goOn notes that a READ got what is before end. If that is as much as the one
// that was interrupted had wanted, the program goes on in spite of the signal.
// Less says nothing: the kernel may try the same once more, page by page, when
// the program has long given up.
func (h *receiver) goOn(end int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if end >= h.interruptedAt {
		h.interrupted = false
	}
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
	refused := h.refused
	gaveUp := h.admitted && (h.killed || h.interrupted)
	h.mu.Unlock()
	if refused {
		return 0
	}
	if h.file.count(-1) && gaveUp && !h.file.isKept(h.file.in.Status().State) {
		h.file.in.Cancel()
	}
	return 0
}

// watching gives a context for a READ that the kernel does not interrupt, or
// interrupts for any signal although it can't be done again (a page fault): it
// ends when the thread that it is for is condemned, or has ended. It also ends
// with that of the mount. cancel must be called, and leaves no goroutine
// behind.
func (m *Mounted) watching(op context.Context) (ctx context.Context, cancel context.CancelFunc) {
	c := callerOf(op)
	if c == 0 {
		return m.waiting(op)
	}
	ctx, stop := context.WithCancel(m.closing)
	done := make(chan struct{})
	go func() {
		defer close(done)
		look := time.NewTicker(lookAgain)
		defer look.Stop()
		for interrupted := op.Done(); ; {
			select {
			case <-interrupted:
				interrupted = nil
			case <-look.C:
			case <-ctx.Done():
				return
			}
			if c.condemned() || c.gone() {
				stop()
				return
			}
		}
	}()
	return ctx, func() { stop(); <-done }
}
