package fs_test

import (
	"fmt"
	"os/exec"
	"testing"

	"github.com/matrixfs/matrixfs/fs"
	"github.com/matrixfs/matrixfs/transfer"
	"github.com/matrixfs/matrixfs/transfer/transfertest"
)

// manyRooms gives n rooms that have all the names a room can have.
func manyRooms(n int) []fs.Room {
	rooms := make([]fs.Room, n)
	for i := range rooms {
		rooms[i] = fs.Room{
			ID:    transfer.RoomID(fmt.Sprintf("!room%d:example.org", i)),
			Name:  fmt.Sprintf("Room number %d", i),
			Alias: fmt.Sprintf("#room%d:example.org", i),
		}
	}
	return rooms
}

// BenchmarkList lists what a busy account has, with real programs. The time is
// that of the whole program, which takes 1 to 3 ms to list nothing.
func BenchmarkList(b *testing.B) {
	hub := transfertest.NewHub(b)
	s := newSide(b, hub, "@alice:test", "ALICE", nil)
	postMany(b, hub, s.member, 200)
	rooms := manyRooms(2000)
	s.rooms.Set(rooms...)
	room := s.point + "/" + string(rooms[0].ID)
	for _, c := range []struct{ name, program, arg, dir string }{
		{"nothing", "ls", "-U", room},
		{"root", "ls", "-U", s.point},
		{"root-sorted", "ls", "-a", s.point},
		{"root-long", "ls", "-l", s.point},
		{"incoming", "ls", "-a", s.incoming},
		{"incoming-long", "ls", "-l", s.incoming},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if out, err := exec.Command(c.program, c.arg, c.dir).CombinedOutput(); err != nil {
					b.Fatalf("%v: %s", err, out)
				}
			}
		})
	}
	// What a change of one room costs the next who looks.
	b.Run("after-a-change", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			rooms[1000].Name = fmt.Sprintf("Changed %d", i)
			s.rooms.Set(rooms...)
			if out, err := exec.Command("stat", room).CombinedOutput(); err != nil {
				b.Fatalf("%v: %s", err, out)
			}
		}
	})
}
