package transfer_test

import (
	"bytes"
	"testing"

	"github.com/matrixfs/matrixfs/transfer"
)

// TestWrongSize: a size that turns out wrong never delivers a wrong file.
func TestWrongSize(t *testing.T) {
	for _, c := range []struct {
		name      string
		announced int64
	}{{"too small", 999_999}, {"too large", 1_000_001}} {
		t.Run(c.name, func(t *testing.T) {
			h := newHouse(t, nil)
			o, err := h.alice.Exchange.Offer(h.Room, "a.bin")
			if err != nil {
				t.Fatal(err)
			}
			o.SetSize(c.announced)
			p := content(1_000_000)
			if err := write(h.ctx, o, p[:500_000]); err != nil {
				t.Fatal(err)
			}
			o.Invite()
			in := awaitOffer(t, h.bob.Exchange)
			if in.Status().Size != c.announced {
				t.Fatalf("offered with size %d", in.Status().Size)
			}
			if err := in.Accept(); err != nil {
				t.Fatal(err)
			}
			err = write(h.ctx, o, p[500_000:])
			if err == nil {
				err = o.Finish(h.ctx)
			}
			wantErr(t, "the writer", err, transfer.ErrSize)
			if got, err := readAll(h.ctx, in); err == nil {
				t.Errorf("a wrong file of %d bytes was delivered", len(got))
			}
		})
	}
}

// TestLastByteWaits: a peer can't take a file for whole before its end is sure.
func TestLastByteWaits(t *testing.T) {
	h := newHouse(t, nil)
	o, err := h.alice.Exchange.Offer(h.Room, "a.bin")
	if err != nil {
		t.Fatal(err)
	}
	p := content(1_000_000)
	o.SetSize(int64(len(p)))
	if err := write(h.ctx, o, p); err != nil {
		t.Fatal(err)
	}
	in := awaitOffer(t, h.bob.Exchange)
	if err := in.Accept(); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "Sync", o.Sync(h.ctx), nil)
	if s := in.Status(); s.State.Ended() || s.Bytes >= int64(len(p)) {
		t.Errorf("%v with %d bytes", s.State, s.Bytes)
	}
	wantErr(t, "Finish", o.Finish(h.ctx), nil)
	if got, err := readAll(h.ctx, in); err != nil || !bytes.Equal(got, p) {
		t.Errorf("%d bytes (%v)", len(got), err)
	}
}

// TestSizeKnownAtTheEnd: a file that is closed before its invite goes out is
// offered with its true size, whatever was announced before.
func TestSizeKnownAtTheEnd(t *testing.T) {
	h := newHouse(t, nil)
	_, done := h.offer(t, content(1000))
	in := awaitOffer(t, h.bob.Exchange)
	if in.Status().Size != 1000 {
		t.Errorf("offered with size %d", in.Status().Size)
	}
	if _, err := readAll(h.ctx, in); err != nil {
		t.Error(err)
	}
	wantErr(t, "Finish", <-done, nil)
}

// TestHintDropped: a hint that is wrong before anybody was told of it is left
// out of the invite.
func TestHintDropped(t *testing.T) {
	h := newHouse(t, nil)
	o, err := h.alice.Exchange.Offer(h.Room, "a.bin")
	if err != nil {
		t.Fatal(err)
	}
	o.SetSize(10)
	if err := write(h.ctx, o, content(1000)); err != nil {
		t.Fatal(err)
	}
	in := awaitOffer(t, h.bob.Exchange)
	if in.Status().Size != -1 {
		t.Errorf("offered with size %d", in.Status().Size)
	}
	o.Cancel()
}

func TestMIMEType(t *testing.T) {
	png := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"), make([]byte, 30)...)
	for _, c := range []struct {
		name string
		head []byte
		want string
	}{{"a.png", []byte("text"), "image/png"}, {"picture", png, "image/png"}, {"notes", []byte("hello\n"), "text/plain"}} {
		h := newHouse(t, nil)
		o, err := h.alice.Exchange.Offer(h.Room, c.name)
		if err != nil {
			t.Fatal(err)
		}
		if err := write(h.ctx, o, c.head); err != nil {
			t.Fatal(err)
		}
		if got := awaitOffer(t, h.bob.Exchange).Status().MIMEType; got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		o.Cancel()
	}
}

// TestSync: a flush in the middle waits until the peer has what was written.
func TestSync(t *testing.T) {
	h := newHouse(t, nil)
	o, err := h.alice.Exchange.Offer(h.Room, "a.bin")
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Sync(h.ctx); err != nil {
		t.Errorf("nothing to wait for, and yet: %v", err)
	}
	want := content(3_000_000)
	go func() { awaitOffer(t, h.bob.Exchange).Accept() }()
	for _, part := range [][]byte{want[:1_000_000], want[1_000_000:1_000_001], want[1_000_001:]} {
		if err := write(h.ctx, o, part); err != nil {
			t.Fatal(err)
		}
		if err := o.Sync(h.ctx); err != nil {
			t.Fatal(err)
		}
		if s := o.Status(); s.Bytes != o.Written() {
			t.Errorf("Sync returned at %d of %d bytes", s.Bytes, o.Written())
		}
	}
	if err := o.Finish(h.ctx); err != nil {
		t.Error(err)
	}
	got, err := readAll(h.ctx, awaitOffer(t, h.bob.Exchange))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}
