package fs

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/matrixfs/matrixfs/transfer"
)

const (
	// ours is what the names of our own attributes start with.
	ours = "user.matrix."
	// maxStored bounds what programs may attach to one file, in bytes.
	maxStored = 256 << 10
	// maxValue bounds the value of an attribute of ours, in bytes.
	maxValue = 4096
	// noAttribute has another number on other systems.
	noAttribute = syscall.Errno(fuse.ENOATTR)
)

// attribute is one of ours. Empty ones are there too, so that a program
// finds all it may ask for.
type attribute struct{ name, value string }

// describe gives the attributes of a transfer. sender is who sends the file.
func describe(s transfer.Status, sender, receiver transfer.Peer) []attribute {
	return []attribute{
		{"transfer_id", string(s.ID)},
		{"direction", s.Direction.String()},
		{"room", string(s.Room)},
		{"sender", string(sender.User)},
		{"device", string(sender.Device)},
		{"receiver", string(receiver.User)},
		{"receiver_device", string(receiver.Device)},
		{"trust", trust(s)},
		{"name", SafeName(s.Name)},
		{"mimetype", s.MIMEType},
		{"state", s.State.String()},
		{"bytes", strconv.FormatInt(s.Bytes, 10)},
		{"size", known(s.Size)},
		{"sha256", s.SHA256},
		{"rate", strconv.FormatFloat(s.Rate, 'f', 0, 64)},
		{"path", s.Path},
		{"expiry", date(s.Expires)},
		{"error", s.Err},
	}
}

// trust tells how sure it is who the peer is, once there is one.
func trust(s transfer.Status) string {
	if s.Peer.User == "" {
		return ""
	}
	return s.Trust.String()
}

func known(size int64) string {
	if size < 0 {
		return ""
	}
	return strconv.FormatInt(size, 10)
}

func date(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC3339)
}

// describe gives the attributes of the room.
func (r Room) describe() []attribute {
	encrypted := "no"
	if r.Encrypted {
		encrypted = "yes"
	}
	return []attribute{
		{"room", string(r.ID)}, {"name", r.Name}, {"alias", r.Alias}, {"direct", string(r.Direct)},
		{"encrypted", encrypted}, {"refused", r.Refused}, {"error", r.Refused},
	}
}

// printable makes a value harmless on a terminal, and not too long.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs, unicode.Zl, unicode.Zp) || invisible(r) {
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(cut(s, maxValue), string(unicode.ReplacementChar)))
	return cut(s, maxValue)
}

// xattrs are the attributes that programs attach to a file: cp -a and file
// managers want to keep what the source had. They go nowhere.
type xattrs struct {
	mu     sync.Mutex // guards all below
	values map[string][]byte
	size   int
}

func (x *xattrs) get(name string) ([]byte, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	v, ok := x.values[name]
	return v, ok
}

func (x *xattrs) names() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Sorted(maps.Keys(x.values))
}

// set attaches an attribute. Ours, and access control lists, are accepted and
// forgotten: a copy from incoming/ brings them along.
func (x *xattrs) set(name string, value []byte, flags uint32) syscall.Errno {
	switch {
	case strings.HasPrefix(name, ours), strings.HasPrefix(name, "system.posix_acl_"):
		return 0
	case !strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "security."):
		return syscall.ENOTSUP
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	old, exists := x.values[name]
	size := x.size + len(value) - len(old)
	if !exists {
		size += len(name)
	}
	switch {
	case flags&xattrCreate != 0 && exists:
		return syscall.EEXIST
	case flags&xattrReplace != 0 && !exists:
		return noAttribute
	case size > maxStored:
		return syscall.ENOSPC
	case x.values == nil:
		x.values = map[string][]byte{}
	}
	x.values[name], x.size = slices.Clone(value), size
	return 0
}

func (x *xattrs) remove(name string) syscall.Errno {
	x.mu.Lock()
	defer x.mu.Unlock()
	old, exists := x.values[name]
	switch {
	case strings.HasPrefix(name, ours):
		return syscall.EPERM
	case !exists:
		return noAttribute
	}
	delete(x.values, name)
	x.size -= len(name) + len(old)
	return 0
}

// getxattr answers for one attribute. describe is asked only where it can know.
func getxattr(name string, dest []byte, describe func() []attribute, stored *xattrs) (uint32, syscall.Errno) {
	if rest, ok := strings.CutPrefix(name, ours); ok {
		for _, a := range describe() {
			if a.name == rest {
				return answer(dest, []byte(printable(a.value)))
			}
		}
	} else if stored != nil {
		if v, ok := stored.get(name); ok {
			return answer(dest, v)
		}
	}
	return 0, noAttribute
}

// listxattr lists the names of the attributes.
func listxattr(dest []byte, describe func() []attribute, stored *xattrs) (uint32, syscall.Errno) {
	var list []byte
	for _, a := range describe() {
		list = append(append(append(list, ours...), a.name...), 0)
	}
	if stored != nil {
		for _, name := range stored.names() {
			list = append(append(list, name...), 0)
		}
	}
	return answer(dest, list)
}

// answer copies what fits, as the system calls want it.
func answer(dest, v []byte) (uint32, syscall.Errno) {
	if len(dest) < len(v) {
		return uint32(len(v)), syscall.ERANGE
	}
	return uint32(copy(dest, v)), 0
}

var (
	_ gofs.NodeGetxattrer    = (*outbound)(nil)
	_ gofs.NodeListxattrer   = (*outbound)(nil)
	_ gofs.NodeSetxattrer    = (*outbound)(nil)
	_ gofs.NodeRemovexattrer = (*outbound)(nil)
	_ gofs.NodeGetxattrer    = (*inbound)(nil)
	_ gofs.NodeListxattrer   = (*inbound)(nil)
	_ gofs.NodeSetxattrer    = (*inbound)(nil)
	_ gofs.NodeRemovexattrer = (*inbound)(nil)
	_ gofs.NodeGetxattrer    = (*room)(nil)
	_ gofs.NodeListxattrer   = (*room)(nil)
)

func (o *outbound) describe() []attribute {
	s := o.current().status()
	return describe(s, o.m.options.Self, s.Peer)
}

// Getxattr implements gofs.NodeGetxattrer.
func (o *outbound) Getxattr(_ context.Context, name string, dest []byte) (uint32, syscall.Errno) {
	return getxattr(name, dest, o.describe, &o.xattrs)
}

// Listxattr implements gofs.NodeListxattrer.
func (o *outbound) Listxattr(_ context.Context, dest []byte) (uint32, syscall.Errno) {
	return listxattr(dest, o.describe, &o.xattrs)
}

// Setxattr implements gofs.NodeSetxattrer.
func (o *outbound) Setxattr(_ context.Context, name string, value []byte, flags uint32) syscall.Errno {
	return o.set(name, value, flags)
}

// Removexattr implements gofs.NodeRemovexattrer.
func (o *outbound) Removexattr(_ context.Context, name string) syscall.Errno { return o.remove(name) }

func (f *inbound) describe() []attribute {
	s := f.in.Status()
	f.mu.Lock()
	refused := f.refused
	f.mu.Unlock()
	return append(describe(s, s.Peer, f.m.options.Self), attribute{"refused", refused})
}

// Getxattr implements gofs.NodeGetxattrer.
func (f *inbound) Getxattr(_ context.Context, name string, dest []byte) (uint32, syscall.Errno) {
	return getxattr(name, dest, f.describe, nil)
}

// Listxattr implements gofs.NodeListxattrer.
func (f *inbound) Listxattr(_ context.Context, dest []byte) (uint32, syscall.Errno) {
	return listxattr(dest, f.describe, nil)
}

// Setxattr implements gofs.NodeSetxattrer. Setting user.matrix.accept accepts
// the offer, whatever the value: that is for those whom reading does not let.
func (f *inbound) Setxattr(_ context.Context, name string, _ []byte, _ uint32) syscall.Errno {
	if name != ours+"accept" {
		return syscall.EPERM
	}
	return f.m.errno(f.keep())
}

// Removexattr implements gofs.NodeRemovexattrer.
func (f *inbound) Removexattr(context.Context, string) syscall.Errno { return syscall.EPERM }

// Getxattr implements gofs.NodeGetxattrer.
func (r *room) Getxattr(_ context.Context, name string, dest []byte) (uint32, syscall.Errno) {
	return getxattr(name, dest, r.current().describe, nil)
}

// Listxattr implements gofs.NodeListxattrer.
func (r *room) Listxattr(_ context.Context, dest []byte) (uint32, syscall.Errno) {
	return listxattr(dest, r.current().describe, nil)
}
