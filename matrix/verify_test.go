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

// verifiers is a pair that can verify each other, in a room of theirs.
func verifiers(t testing.TB, opts ...matrixtest.RoomOption) *pair {
	t.Helper()
	p := newPair(t)
	setUp(t, p.ac, p.alice)
	setUp(t, p.bc, p.bob)
	p.room = p.server.NewRoom(p.alice, []*matrixtest.User{p.bob}, append(opts, matrixtest.Direct())...)
	for _, err := range []error{p.alice.MarkDirect(t.Context(), p.bob, p.room), p.bob.MarkDirect(t.Context(), p.alice, p.room)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	direct := func(r matrix.Room) bool { return r.Direct != "" }
	awaitMembers(t, p, 2, p.ac, p.bc)
	awaitRoom(t, p.ac, p.room, "alice knows the direct chat", direct)
	awaitRoom(t, p.bc, p.room, "bob knows the direct chat", direct)
	return p
}

// verified lets alice ask bob, and both say yes.
func (p *pair) verified(t testing.TB, aliceFirst bool) {
	t.Helper()
	a, b := newHuman(t), newHuman(t)
	b.wait(p.bc)
	a.verify(p.ac, p.bob.ID())
	b.accepts(p.alice.ID())
	if aliceFirst {
		compare(t, a, b)
	} else {
		compare(t, b, a)
	}
	a.ends(nil)
	b.ends(nil)
}

// trust gives how far to believes a message of from.
func (p *pair) trust(t testing.TB, from *matrix.Client, to *box) transfer.Trust {
	t.Helper()
	sent := send(t, from, p.room, invite("t1"))
	for got := to.next(); ; got = to.next() {
		if got.Event == sent {
			return got.Trust
		}
	}
}

// Two people verify each other in a room, in the order they like, and from then
// on each believes that the other's device is the other's.
func TestVerifyUser(t *testing.T) {
	for name, first := range map[string]bool{"who asks is first": true, "who answers is first": false} {
		t.Run(name, func(t *testing.T) {
			p := verifiers(t, matrixtest.Encrypted())
			if got := p.trust(t, p.ac, p.bbox); got != transfer.TrustIdentity {
				t.Fatalf("trust is %v before", got)
			}
			p.verified(t, first)
			for name, got := range map[string]transfer.Trust{"bob": p.trust(t, p.ac, p.bbox), "alice": p.trust(t, p.bc, p.abox)} {
				if got != transfer.TrustVerified {
					t.Errorf("%s's trust is %v after", name, got)
				}
			}
		})
	}
}

// It works in a room that is not encrypted, too.
func TestVerifyUserInPlainRoom(t *testing.T) {
	p := verifiers(t)
	p.verified(t, true)
	p.room = p.server.NewRoom(p.alice, []*matrixtest.User{p.bob}, matrixtest.Encrypted())
	awaitMembers(t, p, 2, p.ac, p.bc)
	if got := p.trust(t, p.ac, p.bbox); got != transfer.TrustVerified {
		t.Errorf("trust is %v after", got)
	}
}

// When a user gets another identity, who had verified the old one believes the
// new one nothing, until it is verified as well.
func TestVerifyAgainAfterReset(t *testing.T) {
	p := verifiers(t, matrixtest.Encrypted())
	p.verified(t, true)
	if got := p.trust(t, p.ac, p.bbox); got != transfer.TrustVerified {
		t.Fatalf("trust is %v after the verification", got)
	}
	if err := p.ac.ResetIdentity(t.Context(), p.alice.Password); err != nil {
		t.Fatal(err)
	}
	matrixtest.Eventually(t, soon, "bob believes alice nothing", func() bool {
		sent := send(t, p.ac, p.room, invite("t2"))
		end := send(t, p.bc, p.room, cancelOf("sync"))
		heard := false
		for got := p.bbox.next(); got.Event != end; got = p.bbox.next() {
			heard = heard || got.Event == sent
		}
		return !heard
	})
	p.verified(t, false)
	if got := p.trust(t, p.ac, p.bbox); got != transfer.TrustVerified {
		t.Errorf("trust is %v after the second verification", got)
	}
}

// Whoever lets only verified devices count can verify them all the same, and
// gets their offers from then on.
func TestVerifyUserWhereThatIsRequired(t *testing.T) {
	p := verifiers(t, matrixtest.Encrypted())
	strict := matrixtest.Open(t, matrixtest.Login(t, p.alice, p.server.URL()), matrix.RequireVerified())
	sbox := start(t, strict)
	a, b := newHuman(t).wait(p.ac), newHuman(t).verify(strict, "")
	a.accepts(p.alice.ID())
	compare(t, a, b)
	a.ends(nil)
	b.ends(nil)
	wantStanding(t, strict, matrix.Vouching)
	a, b = newHuman(t).verify(strict, p.bob.ID()), newHuman(t).wait(p.bc)
	b.accepts(p.alice.ID())
	compare(t, b, a)
	a.ends(nil)
	b.ends(nil)
	if got := p.trust(t, p.bc, sbox); got != transfer.TrustVerified {
		t.Errorf("trust is %v after", got)
	}
}
