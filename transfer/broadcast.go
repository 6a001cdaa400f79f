package transfer

// broadcast wakes every waiter at once. It has no lock of its own: the mutex
// that guards what is waited for guards it too. A waiter takes the channel
// under that mutex, lets go of the mutex, waits, and looks again.
type broadcast struct{ ch chan struct{} }

// wait gives the channel that the next wake closes.
func (b *broadcast) wait() <-chan struct{} {
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

func (b *broadcast) wake() {
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
}
