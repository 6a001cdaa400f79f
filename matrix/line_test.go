package matrix

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"maunium.net/go/mautrix"

	"github.com/matrixfs/matrixfs/transfer"
)

func TestLine(t *testing.T) {
	failure := mautrix.HTTPError{WrappedError: syscall.ECONNREFUSED}
	t.Run("stale after a sleep", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l := newLine()
			if l.up() {
				t.Fatal("up before the first sync")
			}
			l.report(nil)
			time.Sleep(staleAfter - time.Second)
			if !l.up() {
				t.Fatal("not up after a sync")
			}
			time.Sleep(time.Second)
			if l.up() {
				t.Fatal("up long after a sync")
			}
		})
	})
	t.Run("gives up", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l := newLine()
			l.report(failure)
			begun := time.Now()
			err := l.wait(t.Context(), begun.Add(patience))
			if !errors.Is(err, transfer.ErrOffline) || time.Since(begun) != patience {
				t.Fatalf("%v after %v", err, time.Since(begun))
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := l.wait(ctx, time.Now().Add(patience)); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
		})
	})
	t.Run("hurries the loop without spinning", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l := newLine()
			var tries atomic.Int32
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() { // a sync loop whose homeserver comes back at the fifth try
				for {
					select {
					case <-l.hurry:
					case <-ctx.Done():
						return
					}
					if tries.Add(1) < 5 {
						l.report(failure)
					} else {
						l.report(nil)
					}
				}
			}()
			begun := time.Now()
			if err := l.wait(ctx, begun.Add(patience)); err != nil {
				t.Fatal(err)
			}
			if n, took := tries.Load(), time.Since(begun); n != 5 || took != 4*hurryPause {
				t.Fatalf("%d tries in %v", n, took)
			}
		})
	})
	t.Run("cuts a long poll that is in doubt", func(t *testing.T) {
		l := newLine()
		l.report(nil)
		cuts := 0
		l.polling(func() { cuts++ })
		if err := l.wait(t.Context(), time.Now()); err != nil || cuts != 0 {
			t.Fatalf("%v, %d cuts", err, cuts)
		}
		l.doubt()
		if err := l.wait(t.Context(), time.Now()); !errors.Is(err, transfer.ErrOffline) || cuts != 1 {
			t.Fatalf("%v, %d cuts", err, cuts)
		}
	})
	t.Run("logged out", func(t *testing.T) {
		l := newLine()
		l.report(mautrix.HTTPError{RespError: &mautrix.RespError{ErrCode: "M_UNKNOWN_TOKEN"}})
		if err := l.wait(t.Context(), time.Now().Add(time.Hour)); !errors.Is(err, ErrLoggedOut) {
			t.Fatal(err)
		}
	})
}

// Whoever can't wait makes the loop try at once, and does not make the next
// wait longer; nor does each try get a line in the log.
func TestHurryKeepsBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c := &Client{line: newLine(), log: slog.New(slog.NewTextHandler(&log, nil))}
		s := &syncer{c: c}
		failure := mautrix.HTTPError{WrappedError: syscall.ECONNREFUSED}
		began := time.Now()
		for range 50 {
			c.line.hurry <- struct{}{}
			s.failed(t.Context(), failure)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("waited %v", took)
		}
		s.failed(t.Context(), failure)
		if took := time.Since(began); took > firstBackoff {
			t.Errorf("then waited %v", took)
		}
		s.failed(t.Context(), failure)
		if took := time.Since(began); took < firstBackoff || took > 3*firstBackoff {
			t.Errorf("then waited %v in all", took)
		}
		if n := strings.Count(log.String(), "sync failed"); n != 2 {
			t.Errorf("%d lines in the log", n)
		}
	})
}
