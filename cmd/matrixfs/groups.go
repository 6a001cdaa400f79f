package main

import (
	"errors"
	"sync"
	"syscall"
	"time"
)

// processGroups are the process groups of commands, for as long as anything is
// left in them: a command may end before its children do.
type processGroups struct {
	mu  sync.Mutex // guards ids
	ids map[int]bool
}

// add is to be called while the leader of the group has not been waited for.
func (g *processGroups) add(id int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ids == nil {
		g.ids = map[int]bool{}
	}
	g.ids[id] = true
}

// left forgets the groups that are empty, whose ids others may get, and gives
// the number of the rest.
func (g *processGroups) left() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	for id := range g.ids {
		if errors.Is(syscall.Kill(-id, 0), syscall.ESRCH) {
			delete(g.ids, id)
		}
	}
	return len(g.ids)
}

// signal reaches all that is left in them.
func (g *processGroups) signal(s syscall.Signal) {
	if g.left() == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for id := range g.ids {
		_ = syscall.Kill(-id, s)
	}
}

// end ends them: with SIGKILL if SIGTERM does not do. Who started them waits
// for the leaders meanwhile.
func (g *processGroups) end() {
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		g.signal(s)
		for start := time.Now(); g.left() > 0 && time.Since(start) < commandGrace; {
			<-look.C
		}
	}
}
