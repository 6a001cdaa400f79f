package fs

import (
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// TestUnseenWriters: a mount that is not root's can't see how the programs of
// other users end. They may not send.
func TestUnseenWriters(t *testing.T) {
	for _, c := range []struct {
		mine, its uint32
		forAll    bool
		unseen    bool
	}{
		{1000, 1001, true, true}, {1000, 0, true, true}, {1000, 1000, true, false}, {0, 1000, true, false}, {1000, 0, false, false},
	} {
		m := &Mounted{uid: c.mine, options: Options{AllowOther: c.forAll}}
		op := fuse.NewContext(t.Context(), &fuse.Caller{Owner: fuse.Owner{Uid: c.its}})
		if m.isUnseen(op) != c.unseen {
			t.Errorf("%+v", c)
		}
		if !c.unseen {
			continue
		}
		r := &room{directory: directory{node: node{m: m}}}
		if _, _, _, errno := r.Create(op, "a", unix.O_WRONLY, 0o600, &fuse.EntryOut{}); errno != syscall.EACCES {
			t.Errorf("%+v: creating gives %v", c, errno)
		}
		o := &outbound{node: node{m: m}, room: r}
		if _, _, errno := o.Open(op, unix.O_WRONLY); errno != syscall.EACCES {
			t.Errorf("%+v: opening gives %v", c, errno)
		}
	}
}
