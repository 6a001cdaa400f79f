package transfer_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/matrixfs/matrixfs/transfer"
	"github.com/matrixfs/matrixfs/transfer/transfertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testContext bounds what a test waits for.
func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// content makes a file of n bytes that are all different enough.
func content(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(n)})
	r.Read(b)
	return b
}

// await waits until ok, which is asked again at every change of x.
func await(t *testing.T, x *transfer.Exchange, what string, ok func() bool) {
	t.Helper()
	changes, stop := x.Subscribe()
	defer stop()
	deadline := time.After(time.Minute)
	for !ok() {
		select {
		case <-changes:
		case <-deadline:
			t.Fatalf("still waiting: %s", what)
		}
	}
}

// awaitOffer waits for the one offer made to x.
func awaitOffer(t *testing.T, x *transfer.Exchange) *transfer.Incoming {
	t.Helper()
	await(t, x, "an offer", func() bool { return len(x.Incoming()) > 0 })
	return x.Incoming()[0]
}

func awaitState(t *testing.T, x *transfer.Exchange, in interface{ Status() transfer.Status }, s transfer.State) {
	t.Helper()
	await(t, x, s.String(), func() bool { return in.Status().State == s })
}

// write writes all of p and nothing more.
func write(ctx context.Context, o *transfer.Outgoing, p []byte) error {
	for len(p) > 0 {
		n, err := o.Write(ctx, p[:min(len(p), 128<<10)])
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// readAll reads the file to its end.
func readAll(ctx context.Context, in *transfer.Incoming) ([]byte, error) {
	r := in.Open()
	defer r.Close()
	var all bytes.Buffer
	buf := make([]byte, 128<<10)
	for {
		n, err := r.ReadAt(ctx, buf, int64(all.Len()))
		all.Write(buf[:n])
		if err == io.EOF {
			return all.Bytes(), nil
		}
		if err != nil {
			return all.Bytes(), err
		}
	}
}

func TestDelivery(t *testing.T) {
	for _, known := range []bool{true, false} {
		for _, size := range []int{0, 1, 46144, 20 << 20} {
			for _, plain := range []bool{false, true} {
				t.Run(fmt.Sprintf("size=%d,known=%v,plain=%v", size, known, plain), func(t *testing.T) {
					deliver(t, size, known, plain)
				})
			}
		}
	}
}

func deliver(t *testing.T, size int, known, plain bool) {
	ctx := testContext(t)
	h := transfertest.NewHub(t)
	alice := h.Join(t, "@alice:test", "ALICE", nil)
	bob := h.Join(t, "@bob:test", "BOB", nil)
	alice.Plain, bob.Plain = plain, plain
	want := content(size)
	o, err := alice.Exchange.Offer(h.Room, "a.bin")
	if err != nil {
		t.Fatal(err)
	}
	if known {
		o.SetSize(int64(size))
	}
	sent := make(chan error, 1)
	go func() {
		if !known {
			o.Invite() // before the size is known
			<-accepted(bob.Exchange)
		}
		if err := write(ctx, o, want); err != nil {
			sent <- err
			return
		}
		sent <- o.Finish(ctx)
	}()
	in := awaitOffer(t, bob.Exchange)
	s := in.Status()
	if known && s.Size != int64(size) || !known && s.Size >= 0 {
		t.Errorf("offered size %d", s.Size)
	}
	if s.Name != "a.bin" || s.State != transfer.Offered || s.Peer.User != "@alice:test" {
		t.Errorf("offered as %+v", s)
	}
	got, err := readAll(ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	if sha256.Sum256(got) != sha256.Sum256(want) {
		t.Errorf("received %d bytes, not the %d that were sent", len(got), size)
	}
	if err := <-sent; err != nil {
		t.Errorf("Finish: %v", err)
	}
	awaitState(t, bob.Exchange, in, transfer.Delivered)
	// A small file may have arrived before it is known which way it took.
	s = in.Status()
	if s.Size != int64(size) || s.Bytes != int64(size) || s.Path != "direct" && (size > 1<<20 || s.Path != "") {
		t.Errorf("at the end: %+v", s)
	}
	again, err := readAll(ctx, in)
	if err != nil || !bytes.Equal(again, want) {
		t.Errorf("second reading: %d bytes, %v", len(again), err)
	}
}

// accepted gives a channel that is closed when x has accepted its offer.
func accepted(x *transfer.Exchange) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		changes, stop := x.Subscribe()
		defer stop()
		for {
			if list := x.Incoming(); len(list) > 0 && list[0].Status().State != transfer.Offered {
				return
			}
			<-changes
		}
	}()
	return done
}
