package matrix_test

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/matrixfs/matrixfs/matrix"
	"github.com/matrixfs/matrixfs/matrix/matrixtest"
	"github.com/matrixfs/matrixfs/transfer"
)

// human answers as a test wants it to.
type human struct {
	t       testing.TB
	asked   chan transfer.Peer    // who wants to verify
	shown   chan matrix.ShortCode // the code to compare
	answers chan answer           // to both questions
	told    chan string           // what is going on
	outcome chan error            // of the verification
}

type answer struct {
	yes bool
	err error
}

var _ matrix.Judge = (*human)(nil)

func newHuman(t testing.TB) *human {
	return &human{t, make(chan transfer.Peer, 9), make(chan matrix.ShortCode, 9), make(chan answer, 9), make(chan string, 99), make(chan error, 1)}
}

func (h *human) Accept(ctx context.Context, from transfer.Peer) (bool, error) {
	h.asked <- from
	return h.answer(ctx)
}

func (h *human) Match(ctx context.Context, _ transfer.Peer, code matrix.ShortCode) (bool, error) {
	h.shown <- code
	return h.answer(ctx)
}

func (h *human) Tell(text string) { h.told <- text }

func (h *human) answer(ctx context.Context) (bool, error) {
	select {
	case a := <-h.answers:
		return a.yes, a.err
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// verify starts a verification in which the human takes part, until the test is
// over.
func (h *human) verify(c *matrix.Client, with transfer.UserID) *human {
	ctx, cancel := context.WithCancel(context.WithoutCancel(h.t.Context()))
	h.t.Cleanup(cancel)
	go func() { h.outcome <- c.Verify(ctx, with, h) }()
	return h
}

// wait starts to wait for a request.
func (h *human) wait(c *matrix.Client) *human {
	ctx, cancel := context.WithCancel(context.WithoutCancel(h.t.Context()))
	h.t.Cleanup(cancel)
	go func() {
		_, err := c.Answer(ctx, h)
		h.outcome <- err
	}()
	return h
}

func receive[T any](t testing.TB, what string, from <-chan T) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	select {
	case v := <-from:
		return v
	case <-ctx.Done():
		t.Fatalf("not within %v: %s", soon, what)
		panic("not reached")
	}
}

// accepts says yes to the request.
func (h *human) accepts(from transfer.UserID) {
	h.t.Helper()
	if got := receive(h.t, "a request", h.asked); got.User != from || got.Device == "" {
		h.t.Fatalf("asked by %v, want %s", got, from)
	}
	h.answers <- answer{yes: true}
}

// code waits for the code.
func (h *human) code() matrix.ShortCode {
	h.t.Helper()
	return receive(h.t, "a code", h.shown)
}

func (h *human) says(yes bool) { h.answers <- answer{yes: yes} }

func (h *human) ends(want error) {
	h.t.Helper()
	if got := receive(h.t, "the end of the verification", h.outcome); !errors.Is(got, want) || want == nil && got != nil {
		h.t.Fatalf("the verification ended with %v, want %v", got, want)
	}
}

// compare lets two people compare, and says yes in one of the two orders.
func compare(t testing.TB, first, second *human) {
	t.Helper()
	if a, b := first.code(), second.code(); a != b || a == (matrix.ShortCode{}) {
		t.Fatalf("the codes are %v and %v", a, b)
	}
	first.says(true)
	receive(t, "the first waits", waitsFor(first))
	second.says(true)
}

// waitsFor gives a channel of those lines that say that the other side is
// waited for.
func waitsFor(h *human) <-chan string {
	lines := make(chan string, 1)
	go func() {
		for {
			select {
			case line := <-h.told:
				if line == "Waiting for the other side to confirm." {
					lines <- line
					return
				}
			case <-h.t.Context().Done():
				return
			}
		}
	}()
	return lines
}

// twoDevices is a person with a verified device and one that is not, both
// running.
func twoDevices(t testing.TB) (alice *matrixtest.User, old, fresh *matrix.Client) {
	t.Helper()
	server := matrixtest.Start(t)
	alice = server.NewUser("alice")
	old = matrixtest.Open(t, matrixtest.Login(t, alice, server.URL()))
	setUp(t, old, alice)
	fresh = matrixtest.Open(t, matrixtest.Login(t, alice, server.URL()))
	start(t, old)
	start(t, fresh)
	return alice, old, fresh
}

// Two devices of a person verify each other, whoever begins and whoever says
// yes first. The new one then holds the keys.
func TestVerifyDevices(t *testing.T) {
	for name, c := range map[string]struct{ newAsks, newFirst bool }{
		"new asks, new first": {true, true},
		"new asks, old first": {true, false},
		"old asks, new first": {false, true},
		"old asks, old first": {false, false},
	} {
		t.Run(name, func(t *testing.T) {
			alice, old, fresh := twoDevices(t)
			wantStanding(t, fresh, matrix.Unverified)
			a, b := newHuman(t), newHuman(t) // of the old device, and of the new one
			if c.newAsks {
				b.verify(fresh, "")
				receive(t, "the request is sent", b.told)
				a.wait(old).accepts(alice.ID())
			} else {
				b.wait(fresh)
				a.verify(old, alice.ID())
				b.accepts(alice.ID())
			}
			if c.newFirst {
				compare(t, b, a)
			} else {
				compare(t, a, b)
			}
			a.ends(nil)
			b.ends(nil)
			wantStanding(t, fresh, matrix.Vouching)
			wantStanding(t, old, matrix.Vouching)
		})
	}
}

// Nothing is verified where somebody says no, goes away, or declines.
func TestVerifyNot(t *testing.T) {
	alice, old, fresh := twoDevices(t)
	t.Run("no match", func(t *testing.T) {
		a, b := newHuman(t).wait(old), newHuman(t).verify(fresh, "")
		a.accepts(alice.ID())
		a.code()
		b.code()
		a.says(true)
		b.says(false)
		b.ends(matrix.ErrMismatch)
		a.ends(matrix.ErrMismatch)
	})
	t.Run("no answer", func(t *testing.T) {
		a, b := newHuman(t).wait(old), newHuman(t).verify(fresh, "")
		a.accepts(alice.ID())
		a.code()
		b.code()
		a.answers <- answer{err: io.EOF}
		a.ends(io.EOF)
		b.ends(matrix.ErrCancelled)
	})
	t.Run("declined", func(t *testing.T) {
		a, b := newHuman(t).wait(old), newHuman(t).verify(fresh, "")
		receive(t, "a request", a.asked)
		a.says(false)
		a.ends(matrix.ErrDeclined)
		b.ends(matrix.ErrCancelled)
	})
	t.Run("busy", func(t *testing.T) {
		a, b := newHuman(t).wait(old), newHuman(t).verify(fresh, "")
		a.accepts(alice.ID())
		a.code()
		b.code()
		wantError(t, old.Verify(t.Context(), "", a), matrix.ErrBusy)
		a.says(false)
		a.ends(matrix.ErrMismatch)
		b.ends(matrix.ErrMismatch)
	})
	wantStanding(t, fresh, matrix.Unverified)
	wantError(t, fresh.Verify(t.Context(), "@bob:localhost", newHuman(t)), matrix.ErrUnverified)
	wantError(t, old.Verify(t.Context(), "@nobody:localhost", newHuman(t)), matrix.ErrNoRoom)
}
