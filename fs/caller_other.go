//go:build !linux

package fs

// Only Linux tells about other processes in a way that is used here. Elsewhere
// the first close with data is the end of a file, a writer that was killed is
// not seen, and a file goes out without its size.

func (c caller) program() string { return "" }

func (c caller) command(int) (args []string, whole bool) { return nil, false }

func (c caller) process() int { return int(c) }

func (c caller) ending() ending { return ending{} }

// condemned: an interrupted thread counts as one that is about to die.
func (c caller) condemned() bool { return true }

func (m *Mounted) held(identity, caller) bool { return false }

func (m *Mounted) sourceSize(caller, identity, int64) (size int64, ok bool) { return 0, false }
