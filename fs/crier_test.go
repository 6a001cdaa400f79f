package fs

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

// TestRequest: what goes over the pipe to the crier comes out the same, and
// what is too long or broken does not.
func TestRequest(t *testing.T) {
	t.Parallel()
	var pipe bytes.Buffer
	all := []request{
		{callMknod, "/mnt/a\nb", ""},
		{callSymlink, "/mnt/Team Room", "!room:test"},
		{callRename, strings.Repeat("x", maxRequestPath), strings.Repeat("y", maxRequestPath)},
	}
	for _, r := range all {
		b, err := r.encode()
		if err != nil {
			t.Fatal(err)
		}
		pipe.Write(b)
	}
	for _, want := range all {
		if got, err := readRequest(&pipe); err != nil || got != want {
			t.Errorf("%v came out as %v (%v)", want, got, err)
		}
	}
	if _, err := readRequest(&pipe); !errors.Is(err, io.EOF) || errors.Is(err, errRequest) {
		t.Errorf("the end is %v", err)
	}
	if _, err := (request{callMknod, strings.Repeat("x", maxRequestPath+1), ""}).encode(); err == nil {
		t.Error("a path that is too long was sent")
	}
	for _, bad := range []string{"\x01", "\x01\x00", "\x01\x00\x02a", "\x01\x00\x01a\x00", "\x01\xff\xff" + strings.Repeat("x", 1<<17), "\x01\x00\x00\x00\x00", "\x01\x00\x01\x00\x00\x00"} {
		if r, err := readRequest(strings.NewReader(bad)); !errors.Is(err, errRequest) {
			t.Errorf("%.10q is read as %v (%v)", bad, r, err)
		}
	}
}
