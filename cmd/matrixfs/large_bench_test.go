package main_test

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/matrixfs/matrixfs/matrix/matrixtest"
	"github.com/matrixfs/matrixfs/transfer"
)

// The account of BenchmarkLargeAccount.
const (
	manyRooms  = 2000
	manyOffers = 200
)

// BenchmarkLargeAccount starts the program, from a stored state, with an
// account in many rooms with many live offers. It tells how long that takes until the mount
// can be used, how long ls takes then (the best of ten: as a whole process), and the most
// memory that the daemon took. Making the rooms takes minutes.
func BenchmarkLargeAccount(b *testing.B) {
	h := home(b)
	ann, ben := h.person(b), h.person(b)
	var busy string
	for i := range manyRooms {
		options := []matrixtest.RoomOption{matrixtest.Named(fmt.Sprintf("Room %d", i)), matrixtest.Aliased(fmt.Sprintf("room%d", i))}
		if i == 0 {
			busy = h.makeRoom(b, ann, []person{ben}, options...)
			continue
		}
		h.makeRoom(b, ann, nil, options...)
	}
	d := h.login(b, ann)
	d.measured = true
	complete := func() {
		within(b, 5*time.Minute, "all rooms and offers are there", func() bool {
			rooms, err := os.ReadDir(d.mountpoint)
			return err == nil && len(rooms) == 3*manyRooms+1 && len(d.offers(b)) == manyOffers
		})
	}
	d.mount()
	h.inRoom(b, busy, d)
	for i := range manyOffers {
		_, err := ben.SendEvent(b.Context(), transfer.RoomID(busy), "m.d2dfile.invite", &transfer.Invite{
			ID: transfer.ID(fmt.Sprintf("offer%d", i)), Lifetime: transfer.MaxLifetime, SDP: deadAnswer,
			File: transfer.FileInfo{Name: fmt.Sprintf("file %d.txt", i), Size: 1000, MIMEType: "text/plain"},
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	complete()
	d.stop()
	var peak int64
	var root, incoming []time.Duration
	for b.Loop() {
		d.mount()
		b.StopTimer()
		complete()
		for range 10 {
			root = append(root, timed(b, "ls", d.mountpoint))
			incoming = append(incoming, timed(b, "ls", d.incoming("")))
		}
		peak = max(peak, peakMemory(b, d))
		d.stop()
		b.StartTimer()
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/start")
	b.ReportMetric(float64(slices.Min(root))/1e6, "ms/ls-root")
	b.ReportMetric(float64(slices.Min(incoming))/1e6, "ms/ls-incoming")
	b.ReportMetric(float64(peak)/(1<<20), "MiB")
}

// timed gives how long a program runs.
func timed(t testing.TB, name string, args ...string) time.Duration {
	began := time.Now()
	start(t, name, args...).succeeds()
	return time.Since(began)
}
