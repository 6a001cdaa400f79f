package matrix_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/matrixfs/matrixfs/matrix"
	"github.com/matrixfs/matrixfs/matrix/matrixtest"
	"github.com/matrixfs/matrixfs/transfer"
)

func wantStanding(t testing.TB, c *matrix.Client, want matrix.Standing) {
	t.Helper()
	if got, err := c.Standing(t.Context()); err != nil || got != want {
		t.Fatalf("standing is %v (%v), want %v", got, err, want)
	}
}

// setUp gives an account an identity, and its recovery key.
func setUp(t testing.TB, c *matrix.Client, of *matrixtest.User) string {
	t.Helper()
	key, err := c.MakeIdentity(t.Context(), of.Password)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// An identity is made once. Its recovery key, and nothing else, makes other
// devices verified, and they stay so.
func TestRecovery(t *testing.T) {
	server := matrixtest.Start(t)
	alice := server.NewUser("alice")
	first := matrixtest.Open(t, matrixtest.Login(t, alice, server.URL()))
	wantStanding(t, first, matrix.NoIdentity)
	wantError(t, first.Recover(t.Context(), "EsTc"), matrix.ErrNoIdentity)
	key := setUp(t, first, alice)
	wantStanding(t, first, matrix.Vouching)
	_, err := first.MakeIdentity(t.Context(), alice.Password)
	wantError(t, err, matrix.ErrIdentity)

	dir := matrixtest.Login(t, alice, server.URL())
	second := matrixtest.Open(t, dir)
	wantStanding(t, second, matrix.Unverified)
	_, err = second.MakeIdentity(t.Context(), alice.Password)
	wantError(t, err, matrix.ErrIdentity)
	other := strings.Map(func(r rune) rune { return map[rune]rune{'E': 'F'}[r] }, key)
	for _, wrong := range []string{"", " ", "nonsense", other, key[:len(key)-1], strings.Repeat("x", 1<<16)} {
		wantError(t, second.Recover(t.Context(), wrong), matrix.ErrRecoveryKey)
	}
	wantStanding(t, second, matrix.Unverified)
	if err := second.Recover(t.Context(), " "+key+"\n"); err != nil {
		t.Fatal(err)
	}
	wantStanding(t, second, matrix.Vouching)
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	wantStanding(t, matrixtest.Open(t, dir), matrix.Vouching)
	wantStanding(t, first, matrix.Vouching)
}

// Without a recovery key there is an error that says so. A recovery key of an
// identity that was replaced is refused, and the replacement ends the trust.
func TestRecoveryOfAnotherIdentity(t *testing.T) {
	server := matrixtest.Start(t)
	alice := server.NewUser("alice")
	first := matrixtest.Open(t, matrixtest.Login(t, alice, server.URL()))
	if err := first.ResetIdentity(t.Context(), alice.Password); err != nil {
		t.Fatal(err)
	}
	second := matrixtest.Open(t, matrixtest.Login(t, alice, server.URL()))
	wantError(t, second.Recover(t.Context(), "EsTc"), matrix.ErrNoRecovery)
	// The homeserver asks for the password from the second time on.
	wantError(t, second.ResetIdentity(t.Context(), "wrong"), matrix.ErrPassword)
	wantStanding(t, first, matrix.Vouching)
	key := setUp(t, first, alice) // goes on with the identity that it holds
	if err := second.Recover(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	wantStanding(t, second, matrix.Vouching)
	if err := first.ResetIdentity(t.Context(), alice.Password); err != nil {
		t.Fatal(err)
	}
	wantStanding(t, first, matrix.Vouching)
	wantStanding(t, second, matrix.Unverified)
	wantError(t, second.Recover(t.Context(), key), matrix.ErrOldRecovery)
	wantStanding(t, second, matrix.Unverified)
}

// What others think of a device follows: nobody while its user's identity does
// not vouch for it, then a device of that identity.
func TestRecoveryRaisesTrust(t *testing.T) {
	p := encryptedPair(t)
	laptop := matrixtest.Open(t, matrixtest.Login(t, p.alice, p.server.URL()))
	start(t, laptop)
	key := setUp(t, laptop, p.alice)
	// The room is told: what is not from a verified device is not received.
	matrixtest.Eventually(t, soon, "alice's old device counts as nobody", func() bool {
		send(t, p.bc, p.room, cancelOf("sync")) // bob's own echo marks the end
		send(t, p.ac, p.room, cancelOf("from alice"))
		end := send(t, p.bc, p.room, cancelOf("sync"))
		heard := false
		for got := p.bbox.next(); got.Event != end; got = p.bbox.next() {
			heard = heard || got.From.User == p.alice.ID()
		}
		return !heard
	})
	if err := p.ac.Recover(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	matrixtest.Eventually(t, soon, "alice's old device is one of her identity", func() bool {
		sent := send(t, p.ac, p.room, cancelOf("from alice"))
		end := send(t, p.bc, p.room, cancelOf("sync"))
		trust := transfer.TrustNone
		for got := p.bbox.next(); got.Event != end; got = p.bbox.next() {
			if got.Event == sent {
				trust = got.Trust
			}
		}
		return trust == transfer.TrustIdentity
	})
}

// Neither the recovery key nor a passphrase nor a password is in the log, or in
// an error.
func TestRecoveryLeavesNoTrace(t *testing.T) {
	server := matrixtest.Start(t)
	alice := server.NewUser("alice")
	var log bytes.Buffer
	open := func() *matrix.Client {
		c, err := matrix.Open(t.Context(), matrixtest.Login(t, alice, server.URL()),
			slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
		return c
	}
	key := setUp(t, open(), alice)
	second := open()
	for _, wrong := range []string{"my secret passphrase", key[:len(key)-1]} {
		if err := second.Recover(t.Context(), wrong); err == nil || strings.Contains(err.Error(), wrong) {
			t.Errorf("the error is %v", err)
		}
	}
	if err := second.Recover(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{key, key[:9], "secret passphrase", alice.Password} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
	if !strings.Contains(log.String(), "/keys/query") {
		t.Error("the log is not at the level of debugging")
	}
}
