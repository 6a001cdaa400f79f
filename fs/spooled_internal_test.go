package fs

import (
	"context"
	"errors"
	"testing"

	"github.com/matrixfs/matrixfs/transfer"
	"github.com/matrixfs/matrixfs/transfer/transfertest"
)

// offerTo makes an offer to the room of a hub.
func offerTo(t *testing.T, hub *transfertest.Hub) *transfer.Outgoing {
	t.Helper()
	out, err := hub.Join(t, "@alice:test", "ALICE", nil).Exchange.Offer(hub.Room, "a")
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestSpooledDiskError: what can't be read back from the disk is cancelled, and
// never passes for delivered.
func TestSpooledDiskError(t *testing.T) {
	t.Parallel()
	disk, err := newStore(t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	hub := transfertest.NewHub(t)
	s := newSpooled(disk, offerTo(t, hub))
	if _, err := s.write(t.Context(), []byte("hello"), 0); err != nil {
		t.Fatal(err)
	}
	if err := s.file.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.finish(t.Context()); !errors.Is(err, transfer.ErrCache) {
		t.Errorf("it ends with %v", err)
	}
	for range 2 {
		if err := s.finish(t.Context()); !errors.Is(err, transfer.ErrAborted) {
			t.Errorf("then with %v", err)
		}
	}
	if n := len(hub.Log()); n != 0 {
		t.Errorf("the room has seen %d messages", n)
	}
	disk.wait()
}

// TestSpooledGone: bytes that are gone, and were not handed on, are missed.
func TestSpooledGone(t *testing.T) {
	t.Parallel()
	disk, err := newStore(t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	s := newSpooled(disk, offerTo(t, transfertest.NewHub(t)))
	if _, err := s.write(t.Context(), []byte("hello"), 0); err != nil {
		t.Fatal(err)
	}
	s.discard()
	if err := s.finish(t.Context()); !errors.Is(err, transfer.ErrAborted) {
		t.Errorf("it ends with %v", err)
	}
	disk.wait()
}

// TestOverwriteGivesWay: a write to what is here already, that has to give way,
// is not taken for interrupted.
func TestOverwriteGivesWay(t *testing.T) {
	t.Parallel()
	s := newStream(offerTo(t, transfertest.NewHub(t)))
	defer s.cancel()
	if _, err := s.write(t.Context(), []byte("hello"), 0); err != nil {
		t.Fatal(err)
	}
	s.turn <- struct{}{} // somebody waits for the peer
	s.nudge()
	if n, err := s.write(t.Context(), []byte("j"), 0); n != 0 || !errors.Is(err, transfer.ErrBehind) {
		t.Errorf("giving way: %d, %v", n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if n, err := s.write(ctx, []byte("j"), 0); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %d, %v", n, err)
	}
}
