package fs

import (
	"path/filepath"

	"github.com/matrixfs/matrixfs/transfer"
)

// PathOf gives the path of an offer in the mount, or nothing if it is not
// listed. It accepts nothing and never waits.
func (m *Mounted) PathOf(in *transfer.Incoming) string {
	f := m.root.inbox.fileOf(in)
	if f == nil {
		return ""
	}
	return filepath.Join(m.point, incomingName, f.name)
}

// Accept accepts an offer by hand: the file comes in whoever reads it, and if
// nobody does. It never waits. The error says why the offer is over.
func (m *Mounted) Accept(in *transfer.Incoming) error {
	if f := m.root.inbox.fileOf(in); f != nil {
		return f.keep()
	}
	return in.Accept()
}

// fileOf gives the entry of an offer, or nil.
func (b *inbox) fileOf(in *transfer.Incoming) *inbound {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refresh()
	return b.files[in]
}

// NumberedName gives the n-th name for things that would all be called name,
// which must be safe (see SafeName): "a.doc", "a (2).doc", "a (3).doc".
func NumberedName(name string, n int) string { return numbered(name, n) }
