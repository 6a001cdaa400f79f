package fs

import (
	"context"
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// kernelSide stands between the kernel and go-fuse. It keeps what go-fuse does
// not pass on: whether a READ is made for the page cache. Those come from
// splice, sendfile and mmap, and from read where a file is complete. They
// carry no owner of locks; read(2) of a file that is opened with direct_io does.
type kernelSide struct {
	fuse.RawFileSystem
	// paged has the READs for the page cache that are under way. The key is
	// what tells that one is interrupted: it is also in the context.
	paged sync.Map // <-chan struct{} → struct{}
}

// Read implements fuse.RawFileSystem.
func (k *kernelSide) Read(cancel <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	if in.ReadFlags&fuse.READ_LOCKOWNER == 0 {
		k.paged.Store(cancel, struct{}{})
		defer k.paged.Delete(cancel)
	}
	return k.RawFileSystem.Read(cancel, in, buf)
}

// isPaged reports whether the READ that op is for is made for the page cache.
func (k *kernelSide) isPaged(op context.Context) bool {
	_, ok := k.paged.Load(op.Done())
	return ok
}
