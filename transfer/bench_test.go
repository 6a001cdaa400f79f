package transfer_test

import (
	"io"
	"testing"

	"github.com/matrixfs/matrixfs/transfer/transfertest"
)

// BenchmarkDelivery moves 64 MiB from one exchange to another over loopback,
// both in this process, through window, data channel and spool.
func BenchmarkDelivery(b *testing.B) {
	const size = 64 << 20
	h := transfertest.NewHub(b)
	alice := h.Join(b, "@alice:test", "ALICE", nil)
	bob := h.Join(b, "@bob:test", "BOB", nil)
	piece := make([]byte, 1<<20)
	b.SetBytes(size)
	for b.Loop() {
		o, err := alice.Exchange.Offer(h.Room, "a.bin")
		if err != nil {
			b.Fatal(err)
		}
		o.SetSize(size)
		done := make(chan error, 1)
		go func() {
			for range size / len(piece) {
				if _, err := o.Write(b.Context(), piece); err != nil {
					done <- err
					return
				}
			}
			done <- o.Finish(b.Context())
		}()
		changes, stop := bob.Exchange.Subscribe()
		for len(bob.Exchange.Incoming()) == 0 {
			<-changes
		}
		stop()
		in := bob.Exchange.Incoming()[0]
		r := in.Open()
		buf := make([]byte, 1<<20)
		for off := int64(0); ; {
			n, err := r.ReadAt(b.Context(), buf, off)
			if off += int64(n); err == io.EOF || off == size {
				break
			}
			if err != nil {
				b.Fatal(err)
			}
		}
		r.Close()
		if err := <-done; err != nil {
			b.Fatal(err)
		}
		in.Remove()
	}
}
