package matrix_test

import (
	"encoding/json"
	"testing"

	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"github.com/matrixfs/matrixfs/matrix"
	"github.com/matrixfs/matrixfs/matrix/matrixtest"
	"github.com/matrixfs/matrixfs/transfer"
)

func TestRefusedRooms(t *testing.T) {
	const (
		cipher   = "this room is encrypted in a way that this version does not know"
		join     = "anyone can join this room (see --allow-public)"
		read     = "anyone can read this room (see --allow-public)"
		replaced = "this room has been replaced by another"
		power    = "you are not allowed to send messages in this room"
	)
	p := newPair(t)
	ctx := t.Context()
	members := []*matrixtest.User{p.bob}
	room := func(opts ...matrixtest.RoomOption) transfer.RoomID {
		return p.server.NewRoom(p.alice, members, opts...)
	}
	state := func(at transfer.RoomID, kind event.Type, content string) transfer.RoomID {
		t.Helper()
		if err := p.alice.SetState(ctx, at, kind, json.RawMessage(content)); err != nil {
			t.Fatal(err)
		}
		return at
	}
	tests := []struct {
		name string
		room transfer.RoomID
		// why bob may not send; whether that stands with AllowPublic too; and
		// whether what others send there, not encrypted, reaches him.
		refused  string
		always   bool
		receives bool
	}{
		{"private", room(), "", false, true},
		{"encrypted", room(matrixtest.Encrypted()), "", true, false},
		{"encrypted later", state(room(), event.StateEncryption, `{"algorithm":"m.megolm.v1.aes-sha2"}`), "", true, false},
		{"encrypted somehow", state(room(), event.StateEncryption, `{"algorithm":["?"]}`), cipher, true, false},
		{"encrypted no more", state(room(matrixtest.Encrypted()), event.StateEncryption, `{}`), cipher, true, false},
		{"public", room(matrixtest.Public()), join, false, false},
		{"made public", state(room(), event.StateJoinRules, `{"join_rule":"public"}`), join, false, false},
		{"world readable", room(matrixtest.WorldReadable()), read, false, false},
		{"knock", state(room(), event.StateJoinRules, `{"join_rule":"knock"}`), "", false, true},
		{"replaced", state(room(), event.StateTombstone, `{"replacement_room":"!x:localhost","body":"x"}`), replaced, true, true},
		{"muted", state(room(), event.StatePowerLevels,
			`{"events":{"m.d2dfile.answer":50},"users":{"`+string(p.alice.ID())+`":100}}`), power, true, true},
	}
	public := matrixtest.Open(t, matrixtest.Login(t, p.bob, p.server.URL()), matrix.AllowPublic())
	pbox := start(t, public)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := tt.refused
			awaitRoom(t, p.bc, tt.room, "refused: "+want, func(r matrix.Room) bool { return r.Refused == want })
			if !tt.always {
				want = ""
			}
			awaitRoom(t, public, tt.room, "refused: "+want, func(r matrix.Room) bool { return r.Refused == want })

			// Alice sends past her own client's rules.
			_, err := p.alice.SendEvent(ctx, tt.room, transfer.EventCancel, map[string]any{"transfer_id": tt.name})
			if err != nil {
				t.Fatal(err)
			}
			mark, err := p.alice.SendEvent(ctx, p.room, transfer.EventCancel, map[string]any{"transfer_id": "mark"})
			if err != nil {
				t.Fatal(err)
			}
			check := func(b *box, receives bool) {
				t.Helper()
				if receives {
					if got := b.next(); got.Room != tt.room {
						t.Fatalf("received %+v", got)
					}
				}
				if got := b.next(); got.Event != mark {
					t.Fatalf("received %+v", got)
				}
			}
			check(p.bbox, tt.receives)
			check(pbox, tt.receives || !tt.always)

			if tt.refused != "" {
				_, err := p.bc.Send(ctx, tt.room, cancelOf("x"))
				wantError(t, err, transfer.ErrNotAllowed)
				t.Log(err)
			}
		})
	}
	_, err := p.bc.Send(ctx, "!unknown:localhost", cancelOf("x"))
	wantError(t, err, transfer.ErrNotAllowed)
}

// A room that became encrypted while the program was away is not written to in
// the clear in the moment after the start, when the stored rules still allow
// it; and what is known of it survives a restart.
func TestEncryptedWhileAway(t *testing.T) {
	p := newPair(t)
	dir := matrixtest.Login(t, p.bob, p.server.URL())
	c := matrixtest.Open(t, dir)
	start(t, c)
	awaitRoom(t, c, p.room, "not encrypted", func(r matrix.Room) bool { return !r.Encrypted })
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	err := p.alice.SetState(t.Context(), p.room, event.StateEncryption, map[string]any{"algorithm": "m.megolm.v1.aes-sha2"})
	if err != nil {
		t.Fatal(err)
	}
	awaitRoom(t, p.bc, p.room, "it is encrypted", func(r matrix.Room) bool { return r.Encrypted })

	c = matrixtest.Open(t, dir)
	if r, _ := roomOf(c, p.room); r.Encrypted {
		t.Fatal("knows already")
	}
	run(t, c)
	sent := send(t, c, p.room, cancelOf("x"))
	if got := p.abox.next(); got.Event != sent { // Dendrite shows it a moment after it has taken it
		t.Fatalf("received %+v", got)
	}
	if evt, err := p.alice.API.GetEvent(t.Context(), id.RoomID(p.room), id.EventID(sent)); err != nil || evt.Type.Type != "m.room.encrypted" {
		t.Fatalf("sent as %v, %v", evt, err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	p.server.Stop()
	c = matrixtest.Open(t, dir)
	if r, _ := roomOf(c, p.room); !r.Encrypted {
		t.Fatal("forgot that the room is encrypted")
	}
}

// The creator of a room of the newest version has all power in it without
// being named anywhere.
func TestNewRoomVersion(t *testing.T) {
	p := newPair(t)
	req := matrixtest.RoomVersion("12")
	at, err := p.alice.CreateRoom(t.Context(), []*matrixtest.User{p.bob}, req)
	if err != nil {
		t.Fatal(err)
	}
	levels := `{"events_default":50,"users":{}}`
	if err := p.alice.SetState(t.Context(), at, event.StatePowerLevels, json.RawMessage(levels)); err != nil {
		t.Fatal(err)
	}
	awaitRoom(t, p.bc, at, "bob is refused", func(r matrix.Room) bool { return r.Refused != "" })
	awaitRoom(t, p.ac, at, "alice is not", func(r matrix.Room) bool { return r.Refused == "" })
	send(t, p.ac, at, cancelOf("x"))
	if _, err := p.alice.API.LeaveRoom(t.Context(), id.RoomID(at)); err != nil {
		t.Fatal(err)
	}
}

// A room that ceases to be safe is closed at once, and is as before when it is
// safe again.
func TestRoomMadePublic(t *testing.T) {
	p := newPair(t)
	for _, c := range []struct {
		kind          event.Type
		open, private string
	}{
		{event.StateJoinRules, `{"join_rule":"public"}`, `{"join_rule":"invite"}`},
		{event.StateHistoryVisibility, `{"history_visibility":"world_readable"}`, `{"history_visibility":"shared"}`},
	} {
		if err := p.alice.SetState(t.Context(), p.room, c.kind, json.RawMessage(c.open)); err != nil {
			t.Fatal(err)
		}
		got := <-p.bbox.shut
		if r, _ := roomOf(p.bc, p.room); got.what != string(p.room) || got.why != r.Refused || got.why == "" {
			t.Errorf("closed %+v, refused %q", got, r.Refused)
		}
		if err := p.alice.SetState(t.Context(), p.room, c.kind, json.RawMessage(c.private)); err != nil {
			t.Fatal(err)
		}
		awaitRoom(t, p.bc, p.room, "it is safe again", func(r matrix.Room) bool { return r.Refused == "" })
	}
}

// A user who is ignored is closed at once, and sends nothing, now and after a
// restart.
func TestIgnoredUser(t *testing.T) {
	p := newPair(t)
	dir := matrixtest.Login(t, p.bob, p.server.URL())
	c := matrixtest.Open(t, dir)
	b := start(t, c)
	ignored := map[string]any{"ignored_users": map[string]any{string(p.alice.ID()): map[string]any{}}}
	if err := p.bob.API.SetAccountData(t.Context(), event.AccountDataIgnoredUserList.Type, ignored); err != nil {
		t.Fatal(err)
	}
	if got := <-b.shut; got.what != string(p.alice.ID()) {
		t.Fatalf("closed %+v", got)
	}
	silence := func(c *matrix.Client, b *box) {
		t.Helper()
		send(t, p.ac, p.room, cancelOf("ignored"))
		mark := send(t, c, p.room, cancelOf("mark"))
		for got := b.next(); got.Event != mark; got = b.next() {
			if got.From.User == p.alice.ID() {
				t.Errorf("received %+v", got)
			}
		}
	}
	silence(c, b)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = matrixtest.Open(t, dir)
	silence(c, start(t, c))
}
