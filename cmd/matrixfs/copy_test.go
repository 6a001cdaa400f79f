package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
)

// Every size: cp on one side, cat on the other, the same bytes, and cp's exit
// status says so.
func TestCopyArrivesWhole(t *testing.T) {
	t.Parallel()
	alice, bob, room := home(t).pair(t)
	for _, size := range []int64{0, 1, 46_144, 20 << 20} {
		name := fmt.Sprintf("size-%d", size)
		t.Run(name, func(t *testing.T) {
			source := sample(t, name+".bin", size)
			cp := start(t, "cp", source, alice.room(room))
			offer := bob.awaits(t, name+".bin")
			if info, err := os.Stat(offer); err != nil || info.Size() != size {
				t.Errorf("the offer's size is %v (%v), want %d", info, err, size)
			}
			if !cp.running() {
				t.Errorf("cp ended before anybody had the file: status %d, %s", cp.wait(), cp.complaint())
			}
			copied := filepath.Join(t.TempDir(), "copied")
			shell(t, `cat "$1" > "$2"`, offer, copied).succeeds()
			cp.succeeds()
			sameBytes(t, copied, source)
			sent := alice.reaches(t, name+".bin", "delivered", size)
			if sent.Direction != "out" || sent.Room != room || sent.Size != size {
				t.Errorf("the sender's status is %+v", sent)
			}
			bob.reaches(t, name+".bin", "delivered", size)
		})
	}
}

// A large file takes no more memory than the limit, and hardly more than one
// a quarter of its size.
func TestGibibyteStaysWithinBounds(t *testing.T) {
	const (
		quarter = 256 << 20
		whole   = 1 << 30
		most    = 150 << 20 // bytes of memory at the peak
		growth  = 24 << 20  // what the garbage collector's timing may add
	)
	alice, bob, room := home(t).measuredPair(t)
	send := func(name string, size int64) (int64, int64) {
		source := sample(t, name, size)
		cp := start(t, "cp", source, alice.room(room))
		offer := bob.awaits(t, name)
		copied := filepath.Join(t.TempDir(), "copied")
		cat := shell(t, `cat "$1" > "$2"`, offer, copied)
		if code := cat.waitFor(10 * patience); code != 0 {
			t.Fatalf("cat: status %d, %s", code, cat.complaint())
		}
		cp.succeeds()
		sameBytes(t, copied, source)
		for _, path := range []string{source, copied} {
			if err := os.Remove(path); err != nil {
				t.Error(err)
			}
		}
		return peakMemory(t, alice), peakMemory(t, bob)
	}
	smallOut, smallIn := send("quarter", quarter)
	largeOut, largeIn := send("whole", whole)
	t.Logf("peak memory: sender %d MiB, then %d; receiver %d MiB, then %d",
		smallOut>>20, largeOut>>20, smallIn>>20, largeIn>>20)
	for _, c := range []struct {
		who          string
		small, large int64
	}{{"sender", smallOut, largeOut}, {"receiver", smallIn, largeIn}} {
		if c.large > most {
			t.Errorf("the %s took %d MiB, more than %d", c.who, c.large>>20, most>>20)
		}
		if c.large > c.small+growth {
			t.Errorf("the %s took %d MiB for a quarter and %d MiB for the whole", c.who, c.small>>20, c.large>>20)
		}
	}
}

// peakMemory is the most memory the daemon of d has had resident, in bytes.
func peakMemory(t testing.TB, d *device) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.daemon.command.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	peak := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	if peak == nil {
		t.Fatal("/proc does not tell the peak memory")
	}
	kilobytes, err := strconv.ParseInt(string(peak[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kilobytes << 10
}
