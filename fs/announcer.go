package fs

import (
	"crypto/rand"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// gather is how long changes are collected before they are announced. A
	// person does not notice, and a storm becomes one round.
	gather = 20 * time.Millisecond
	// maxGather bounds the time that is given to collecting when announcing
	// takes long: it takes at most half of the time, up to this.
	maxGather = time.Second
	// growth is how often the file manager hears of one file that is coming in.
	growth = time.Second
	// maxStarts bounds how often the crier is started in a period.
	maxStarts, startPeriod = 3, time.Minute
	// maxStrange is how many calls in a row may come to nothing here before the
	// announcer gives up.
	maxStrange = 3
	// moment is how long the crier gets to end by itself.
	moment = 200 * time.Millisecond
)

// announcer tells watchers (inotify) of what appears, changes and vanishes: it
// compares what it has told with what there is, and has the crier make a
// system call for each difference. The crier is a process of its own, because
// this one must not call into its own mount.
type announcer struct {
	m        *Mounted
	rooms    <-chan struct{}
	exchange <-chan struct{}
	stop     func() // ends both subscriptions
	gateName string
	gate     *gate

	pid atomic.Int64 // of the crier; 0: there is none

	mu      sync.Mutex    // guards current
	current *announcement // what the crier is about to announce

	// Only the goroutine that runs uses what is below.
	crier   *crier
	starts  []time.Time
	strange int
	mute    bool // nothing can be announced, for good
	warned  bool
}

func newAnnouncer(m *Mounted) *announcer {
	return &announcer{m: m, gateName: ".announce-" + rand.Text(), gate: &gate{directory{node: node{m: m}}}}
}

// begin takes what is there now as told, and starts to tell of what changes.
// It is called before the first operation is answered.
func (a *announcer) begin() {
	var stopRooms, stopExchange func()
	a.rooms, stopRooms = a.m.options.Rooms.Subscribe()
	a.exchange, stopExchange = a.m.options.Exchange.Subscribe()
	a.stop = func() { stopRooms(); stopExchange() }
	a.m.adopt(a.gate, unix.S_IFDIR)
	a.m.root.baseline()
	a.m.background.Go(a.run)
}

// run announces until the mount closes. The crier dies with the thread that
// started it, so this goroutine keeps its thread.
func (a *announcer) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer a.stop()
	defer a.dismiss()
	timer := time.NewTimer(maxGather)
	timer.Stop()
	pause := gather
	for {
		select {
		case <-a.rooms:
		case <-a.exchange:
		case <-timer.C:
		case <-a.m.closing.Done():
			return
		}
		select {
		case <-time.After(pause):
		case <-a.m.closing.Done():
			return
		}
		drain(a.rooms)
		drain(a.exchange)
		began := time.Now()
		if next := a.round(); !next.IsZero() {
			timer.Reset(time.Until(next))
		}
		pause = min(max(gather, time.Since(began)), maxGather)
	}
}

func drain(c <-chan struct{}) {
	select {
	case <-c:
	default:
	}
}

// round announces all that has changed, and gives when to look again if
// nothing happens, or zero.
func (a *announcer) round() (next time.Time) {
	list, next := a.m.root.news()
	for _, c := range list {
		if a.m.closing.Err() != nil {
			return time.Time{}
		}
		if !c.stands() {
			continue
		}
		if a.mute {
			c.told()
			continue
		}
		if again := a.announce(c); !again.IsZero() {
			return again
		}
	}
	return next
}

// announce has the crier make a call. If that can't be done now, it gives when
// it may be tried again.
func (a *announcer) announce(c *announcement) (again time.Time) {
	if again := a.ensureCrier(); !again.IsZero() {
		return again
	}
	a.mu.Lock()
	a.current = c
	a.mu.Unlock()
	errno, err := a.crier.ask(c.request(a.m.point + "/" + a.gateName + "/.."))
	a.mu.Lock()
	a.current = nil
	a.mu.Unlock()
	switch {
	case err != nil:
		if a.m.closing.Err() == nil {
			a.m.log.Info("the process that announces changes has ended", "error", err)
		}
		a.dismiss()
		return time.Now()
	case !c.reached.Load():
		return a.estranged(errno)
	}
	a.strange = 0
	if !c.answered.Load() && c.stands() {
		a.m.log.Debug("a change was not announced", "name", c.name, "error", errno)
		c.told()
	}
	return time.Time{}
}

// estranged deals with a call that came to nothing here: the mount is about to
// go, or the kernel does not tell who calls, or something lies on top.
func (a *announcer) estranged(errno syscall.Errno) (again time.Time) {
	if a.strange++; a.strange >= maxStrange {
		a.warn(errno)
		a.mute = true
		a.dismiss()
	}
	return time.Now().Add(growth)
}

func (a *announcer) warn(err error) {
	if !a.warned {
		a.m.log.Warn("file managers that are open do not see changes by themselves", "error", err)
	}
	a.warned = true
}

// ensureCrier starts the crier if there is none. If it may not be started now,
// it gives when it may.
func (a *announcer) ensureCrier() (again time.Time) {
	if a.crier != nil {
		return time.Time{}
	}
	now := time.Now()
	for len(a.starts) > 0 && now.Sub(a.starts[0]) >= startPeriod {
		a.starts = a.starts[1:]
	}
	if len(a.starts) >= maxStarts {
		a.warn(errors.New("the process that announces them ends again and again"))
		return a.starts[0].Add(startPeriod)
	}
	a.starts = append(a.starts, now)
	c, err := startCrier(a.m.options.Announce(), a.m.closing)
	if err != nil {
		a.warn(err)
		return now.Add(growth)
	}
	a.crier = c
	a.pid.Store(int64(c.pid()))
	return time.Time{}
}

// dismiss ends the crier, if there is one. It is known until it has ended: what
// it asks for last must not be taken for the wish of a person.
func (a *announcer) dismiss() {
	if a.crier != nil {
		a.crier.dismiss(func() { a.pid.Store(0) })
		a.crier = nil
	}
}
