package main

import (
	"github.com/matrixfs/matrixfs/fs"
	"github.com/matrixfs/matrixfs/matrix"
)

// rooms shows the rooms of a client to the mount.
type rooms struct{ *matrix.Client }

var _ fs.Rooms = rooms{}

// Rooms gives the joined rooms, from memory.
func (r rooms) Rooms() []fs.Room {
	joined := r.Client.Rooms()
	shown := make([]fs.Room, len(joined))
	for i, room := range joined {
		shown[i] = fs.Room(room)
	}
	return shown
}
