// Package fstest helps to test what is built on fs.
package fstest

import (
	"slices"
	"sync"

	"github.com/matrixfs/matrixfs/fs"
)

// Rooms is a list of rooms in memory. Its zero value is empty. It is safe for
// concurrent use.
type Rooms struct {
	mu       sync.Mutex // guards all below
	list     []fs.Room
	watchers map[chan struct{}]bool
}

var _ fs.Rooms = (*Rooms)(nil)

// Set replaces the list, and tells those who subscribed.
func (r *Rooms) Set(list ...fs.Room) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = slices.Clone(list)
	for w := range r.watchers {
		select {
		case w <- struct{}{}:
		default:
		}
	}
}

// Rooms implements fs.Rooms.
func (r *Rooms) Rooms() []fs.Room {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.list)
}

// Subscribe implements fs.Rooms.
func (r *Rooms) Subscribe() (<-chan struct{}, func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.watchers == nil {
		r.watchers = map[chan struct{}]bool{}
	}
	w := make(chan struct{}, 1)
	r.watchers[w] = true
	return w, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.watchers, w)
	}
}
