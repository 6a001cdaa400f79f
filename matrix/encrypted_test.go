package matrix_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/id"

	"github.com/matrixfs/matrixfs/matrix"
	"github.com/matrixfs/matrixfs/matrix/matrixtest"
	"github.com/matrixfs/matrixfs/transfer"
)

// encryptedPair is a pair in an encrypted room.
func encryptedPair(t testing.TB) *pair {
	t.Helper()
	p := newPair(t)
	p.room = p.server.NewRoom(p.alice, []*matrixtest.User{p.bob}, matrixtest.Encrypted())
	awaitMembers(t, p, 2, p.ac, p.bc)
	return p
}

func invite(id transfer.ID) *transfer.Invite {
	return &transfer.Invite{ID: id, Lifetime: time.Minute, SDP: "v=0\r\n" + strings.Repeat("a=x\r\n", 100),
		File: transfer.FileInfo{Name: "secret name", Size: 7}}
}

// What is sent to an encrypted room arrives, names the device that sent it, and
// is nothing but ciphertext for the homeserver.
func TestEncrypted(t *testing.T) {
	p := encryptedPair(t)
	device := p.ac.Account().Device
	messages := []transfer.Message{
		invite("transfer-1"),
		&transfer.Candidates{ID: "transfer-1", Candidates: []transfer.Candidate{{Candidate: "candidate:1 1 udp 1 127.0.0.1 9 typ host"}}},
		&transfer.Answer{ID: "transfer-1", Lifetime: time.Minute, SDP: "v=0"},
		// A device that is claimed means nothing.
		&transfer.Cancel{ID: "transfer-1", Ext: &transfer.Extension{Version: 1, Device: "MADEUP"}},
	}
	for _, m := range messages {
		sent := send(t, p.ac, p.room, m)
		for name, b := range map[string]*box{"alice": p.abox, "bob": p.bbox} {
			trust := transfer.TrustDevice
			if name == "alice" {
				trust = transfer.TrustVerified // it is her own
			}
			got := b.next()
			got.Age = 0
			want := transfer.Received{Room: p.room, Event: sent, Message: m, Trust: trust,
				From: transfer.Peer{User: p.alice.ID(), Device: device}}
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("%s received %+v, want %+v", name, got, want)
			}
		}
		evt, err := p.bob.API.GetEvent(t.Context(), id.RoomID(p.room), id.EventID(sent))
		if err != nil {
			t.Fatal(err)
		}
		if text := string(evt.Content.VeryRaw); evt.Type.Type != "m.room.encrypted" || strings.Contains(text, "secret name") || strings.Contains(text, "transfer-1") {
			t.Errorf("the homeserver has %s: %s", evt.Type.Type, text)
		}
	}
}

// A device that logged in a moment ago can read the next offer, many times in
// a row.
func TestNewDeviceGetsKeys(t *testing.T) {
	p := encryptedPair(t)
	for range 12 {
		c := matrixtest.Open(t, matrixtest.Login(t, p.bob, p.server.URL()))
		sent := send(t, p.ac, p.room, invite("t"))
		b := run(t, c)
		for got := b.next(); got.Event != sent; got = b.next() {
			t.Fatalf("received %+v", got)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Whoever logs in or joins while an offer stands is a reason to repeat it, and
// can read it then; nobody else is.
func TestRepeat(t *testing.T) {
	p := encryptedPair(t)
	carol := p.server.NewUser("carol")
	send(t, p.ac, p.room, invite("t"))
	select {
	case at := <-p.abox.again:
		t.Fatalf("nobody has come, and %s is to be repeated", at)
	default:
	}
	late := matrixtest.Open(t, matrixtest.Login(t, p.bob, p.server.URL()))
	joins := matrixtest.Open(t, matrixtest.Login(t, carol, p.server.URL()))
	for _, c := range []struct {
		comes  func()
		client *matrix.Client
	}{
		{func() {}, late},
		{func() {
			if _, err := p.alice.API.InviteUser(t.Context(), id.RoomID(p.room), &mautrix.ReqInviteUser{UserID: carol.API.UserID}); err != nil {
				t.Fatal(err)
			}
			if err := carol.Join(t.Context(), p.room); err != nil {
				t.Fatal(err)
			}
		}, joins},
	} {
		b := start(t, c.client)
		c.comes()
		if at := <-p.abox.again; at != p.room {
			t.Fatalf("%s is to be repeated", at)
		}
		sent := send(t, p.ac, p.room, invite("t"))
		if got := b.next(); got.Event != sent {
			t.Errorf("received %+v", got)
		}
	}
}
