package fs

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matrixfs/matrixfs/transfer"
)

// slow is a body that the peer takes for a while, a byte a second, and then no
// more.
type slow struct {
	body
	state transfer.State
	began time.Time
	takes time.Duration
}

func (s *slow) finish(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func (s *slow) status() transfer.Status {
	return transfer.Status{State: s.state, Bytes: int64(min(time.Since(s.began), s.takes) / time.Second)}
}

// TestOutlive: a process that can't be killed stays while the peer gets
// something.
func TestOutlive(t *testing.T) {
	for _, c := range []struct {
		name         string
		state        transfer.State
		takes, stays time.Duration
	}{
		{"nobody answers", transfer.Offered, 0, exitPatience},
		{"the peer stops at once", transfer.Streaming, 0, 2 * exitPatience},
		{"the peer takes a while", transfer.Streaming, 95 * time.Second, 11 * exitPatience},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := &Mounted{}
			m.closing, m.shut = context.WithCancel(t.Context())
			s := &slow{state: c.state, began: time.Now(), takes: c.takes}
			h := &sender{file: &outbound{node: node{m: m}}}
			if errno := h.outlive(s); errno != 0 || time.Since(s.began) != c.stays {
				t.Errorf("%s: it stays for %v, and gets %v", c.name, time.Since(s.began), errno)
			}
			m.shut()
			m.background.Wait()
		})
	}
}
