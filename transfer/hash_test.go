package transfer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

const (
	emptyHash = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU" // of no bytes, FIPS 180-4
	invited   = `"transfer_id":"1","offer":{"sdp":"x"}`
)

func TestDecodeHash(t *testing.T) {
	decode := func(size, ext string) (*Invite, error) {
		m, err := DecodeMessage(EventInvite, []byte(`{`+invited+`,"info":{`+size+`},"dev.matrixfs.d2d":{"version":1,"device_id":"D",`+ext+`}}`))
		if err != nil {
			return nil, err
		}
		return m.(*Invite), nil
	}
	in, err := decode(`"size":0`, `"sha256":"`+emptyHash+`"`)
	if err != nil || in.Ext == nil || in.Ext.SHA256 == nil || *in.Ext.SHA256 != sha256.Sum256(nil) {
		t.Fatalf("the hash of nothing: %+v, %v", in, err)
	}
	raw, err := json.Marshal(in)
	if again, err2 := DecodeMessage(EventInvite, raw); err != nil || err2 != nil || *again.(*Invite).Ext.SHA256 != *in.Ext.SHA256 {
		t.Errorf("%s reads back as %+v; %v, %v", raw, again, err, err2)
	}
	if in, err := decode(`"size":0`, `"other":1`); err != nil || in.Ext.SHA256 != nil {
		t.Errorf("without a hash: %+v, %v", in, err)
	}
	for _, c := range []struct{ size, hash string }{
		{``, `"` + emptyHash + `"`}, // no size
		{`"size":-1`, `"` + emptyHash + `"`},
		{`"size":0`, `""`},
		{`"size":0`, `"` + emptyHash + `="`},
		{`"size":0`, `"` + emptyHash[1:] + `"`},
		{`"size":0`, `"` + emptyHash[:42] + `V"`}, // bits beyond the last byte
		{`"size":0`, `"` + strings.Replace(emptyHash, "+", "-", 1) + `"`},
		{`"size":0`, `"` + emptyHash[:42] + `\n"`},
		{`"size":0`, `"` + strings.Repeat("A", 10_000) + `"`},
		{`"size":0`, `"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"`},
		{`"size":0`, `null`},
		{`"size":0`, `5`},
		{`"size":0`, `["` + emptyHash + `"]`},
	} {
		if in, err := decode(c.size, `"sha256":`+c.hash); !errors.Is(err, ErrMessage) {
			t.Errorf("%s, %.60s: %+v, %v", c.size, c.hash, in, err)
		}
	}
	// Beside the messages that offer a file it means nothing.
	if _, err := DecodeMessage(EventCancel, []byte(`{"transfer_id":"1","dev.matrixfs.d2d":{"version":1,"sha256":5}}`)); err != nil {
		t.Error(err)
	}
}

// TestChecker: the last bytes stay back until the whole is right, whatever the
// messages.
func TestChecker(t *testing.T) {
	ctx := context.Background()
	for _, right := range []bool{true, false} {
		for _, messages := range [][]string{{}, {"a"}, {"ab", "c"}, {"", "a", "", "bc", ""}} {
			all := strings.Join(messages, "")
			want := Hash(sha256.Sum256([]byte(all)))
			if !right {
				want[31] ^= 1
			}
			s := testCache(t, 1<<20).newSpool()
			c := newChecker(s, &want)
			buf := make([]byte, 10) // the caller uses it again
			for _, m := range messages {
				if err := c.add(ctx, buf[:copy(buf, m)]); err != nil {
					t.Fatal(err)
				}
				if s.end == int64(len(all)) && len(all) > 0 {
					t.Errorf("%q: all is released before it is checked", messages)
				}
			}
			err := c.finish(ctx)
			if right != (err == nil) || !right && !errors.Is(err, ErrHash) {
				t.Errorf("%q: %v", messages, err)
			}
			if right == (s.end < int64(len(all))) && len(all) > 0 {
				t.Errorf("%q: %d bytes are released", messages, s.end)
			}
			if right && len(all) > 0 {
				got := make([]byte, len(all))
				m := s.enter()
				if _, err := s.readAt(ctx, m, got, 0); err != nil || !bytes.Equal(got, []byte(all)) {
					t.Errorf("%q: %q, %v", messages, got, err)
				}
				s.leave(m)
			}
			s.drop()
		}
	}
}
