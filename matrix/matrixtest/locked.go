package matrixtest

import (
	"context"
	"strings"
	"time"
)

// How often what a locked database has refused is tried, and how long apart.
const (
	lockedTries = 20
	lockedPause = 50 * time.Millisecond
)

// isLocked reports whether Dendrite has refused a request because two wrote to
// its database at once (SQLITE_BUSY_SNAPSHOT): one of them has to begin anew,
// and Dendrite leaves that to whoever asked.
func isLocked(err error) bool { return err != nil && Locked(err.Error()) }

// Locked is the same for what a program has printed. The code is all that may be
// left of such an answer.
func Locked(text string) bool {
	return strings.Contains(text, "database is locked") || strings.Contains(text, "M_UNKNOWN")
}

// unlocked calls f until the database is not locked.
func unlocked(ctx context.Context, f func() error) error {
	for try := 1; ; try++ {
		err := f()
		if !isLocked(err) || try == lockedTries {
			return err
		}
		select {
		case <-time.After(lockedPause):
		case <-ctx.Done():
			return err
		}
	}
}
