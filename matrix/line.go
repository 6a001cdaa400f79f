package matrix

import (
	"context"
	"sync"
	"time"

	"github.com/matrixfs/matrixfs/transfer"
)

// staleAfter is how old the last sync may be before what it said is doubted. A
// sync on a quiet account returns after pollTimeout. Time is that of the wall
// clock, so that a laptop that slept counts.
const staleAfter = pollTimeout + 20*time.Second

// line says whether the homeserver can be reached, as the sync loop sees it,
// and lets those who wait for it hurry that loop.
type line struct {
	// mu guards what follows.
	mu      sync.Mutex
	ok      bool
	why     error         // of the last failure; nil before the first sync
	last    time.Time     // of the last sync that worked, by the wall clock
	outcome chan struct{} // closed at the next outcome of a sync
	hurry   chan struct{} // capacity 1: cuts short the loop's wait
	cut     func()        // ends a long poll under way; nil while there is none
}

func newLine() *line {
	return &line{outcome: make(chan struct{}), hurry: make(chan struct{}, 1)}
}

// up reports whether the last sync worked and was not too long ago.
func (l *line) up() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.isUp()
}

func (l *line) isUp() bool { return l.ok && time.Now().Round(0).Sub(l.last) < staleAfter }

// report tells how a sync went.
func (l *line) report(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ok, l.why = err == nil, err
	if err == nil {
		l.last = time.Now().Round(0)
	}
	close(l.outcome)
	l.outcome = make(chan struct{})
}

// polling notes that a long poll has begun, which cut would end.
func (l *line) polling(cut func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = cut
}

// doubt says that a request has failed: the last sync counts no more.
func (l *line) doubt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ok = false
}

// wait returns once a sync has worked lately. If none has it makes the sync
// loop try now and again. It gives up, with an error that is ErrOffline, at the
// deadline; or with that of ctx.
func (l *line) wait(ctx context.Context, deadline time.Time) error {
	for {
		l.mu.Lock()
		if l.isUp() {
			l.mu.Unlock()
			return nil
		}
		outcome, why := l.outcome, l.why
		l.mu.Unlock()
		if loggedOut(why) {
			return ErrLoggedOut
		}
		l.nudge()
		timer := time.NewTimer(time.Until(deadline))
		select {
		case <-outcome:
			timer.Stop()
		case <-timer.C:
			if why != nil {
				return offline(why)
			}
			return transfer.ErrOffline
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		// A loop that fails at once must not be made to spin.
		if !l.up() {
			if err := pause(ctx, hurryPause); err != nil {
				return err
			}
		}
	}
}

// hurryPause is the pace at which those who wait make the sync loop try.
const hurryPause = 400 * time.Millisecond

// nudge makes the sync loop look now.
func (l *line) nudge() {
	l.mu.Lock()
	if l.cut != nil {
		l.cut()
	}
	l.mu.Unlock()
	select {
	case l.hurry <- struct{}{}:
	default:
	}
}
