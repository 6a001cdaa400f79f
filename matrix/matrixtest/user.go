package matrixtest

import (
	"context"
	"errors"
	"fmt"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"github.com/matrixfs/matrixfs/matrix"
	"github.com/matrixfs/matrixfs/transfer"
)

// User is an account at the server.
type User struct {
	Name     string // the local part
	Password string
	// API is logged in as the user, with a device of its own. It sends
	// whatever a test wants to be sent.
	API *mautrix.Client
}

// ID is the full user id.
func (u *User) ID() transfer.UserID { return transfer.UserID(u.API.UserID) }

// RoomOption changes the room that CreateRoom makes.
type RoomOption func(*mautrix.ReqCreateRoom)

// Named gives the room a name.
func Named(name string) RoomOption { return func(r *mautrix.ReqCreateRoom) { r.Name = name } }

// Aliased gives the room an alias: "team" becomes "#team:localhost".
func Aliased(local string) RoomOption {
	return func(r *mautrix.ReqCreateRoom) { r.RoomAliasName = local }
}

// Encrypted makes the room an encrypted one.
func Encrypted() RoomOption {
	return withState(event.StateEncryption, &event.EncryptionEventContent{Algorithm: id.AlgorithmMegolmV1})
}

// Public lets anybody join the room.
func Public() RoomOption { return func(r *mautrix.ReqCreateRoom) { r.Preset = "public_chat" } }

// WorldReadable lets anybody read the room.
func WorldReadable() RoomOption {
	return withState(event.StateHistoryVisibility,
		&event.HistoryVisibilityEventContent{HistoryVisibility: event.HistoryVisibilityWorldReadable})
}

// Direct makes the room a direct chat; see also MarkDirect.
func Direct() RoomOption { return func(r *mautrix.ReqCreateRoom) { r.IsDirect = true } }

func withState(kind event.Type, content any) RoomOption {
	return func(r *mautrix.ReqCreateRoom) {
		key := ""
		r.InitialState = append(r.InitialState, &event.Event{Type: kind, StateKey: &key, Content: event.Content{Parsed: content}})
	}
}

// CreateRoom makes a room that only people who are invited can join, and has
// the members join it.
func (u *User) CreateRoom(ctx context.Context, members []*User, opts ...RoomOption) (transfer.RoomID, error) {
	req := &mautrix.ReqCreateRoom{Preset: "private_chat"}
	for _, m := range members {
		req.Invite = append(req.Invite, m.API.UserID)
	}
	for _, o := range opts {
		o(req)
	}
	var resp *mautrix.RespCreateRoom
	err := unlocked(ctx, func() (err error) {
		resp, err = u.API.CreateRoom(ctx, req)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("%s could not make a room: %w", u.Name, err)
	}
	for _, m := range members {
		if err := m.Join(ctx, transfer.RoomID(resp.RoomID)); err != nil {
			return "", err
		}
	}
	return transfer.RoomID(resp.RoomID), nil
}

// Join joins a room.
func (u *User) Join(ctx context.Context, room transfer.RoomID) error {
	err := unlocked(ctx, func() error {
		_, err := u.API.JoinRoomByID(ctx, id.RoomID(room))
		return err
	})
	if err != nil {
		return fmt.Errorf("%s could not join %s: %w", u.Name, room, err)
	}
	return nil
}

// MarkDirect notes in the user's account data that these rooms are direct
// chats with other, as clients do.
func (u *User) MarkDirect(ctx context.Context, other *User, rooms ...transfer.RoomID) error {
	return u.API.SetAccountData(ctx, event.AccountDataDirectChats.Type,
		map[transfer.UserID][]transfer.RoomID{other.ID(): rooms})
}

// SendEvent sends any content as an event that is not state.
func (u *User) SendEvent(ctx context.Context, room transfer.RoomID, kind string, content any) (transfer.EventID, error) {
	var sent transfer.EventID
	err := unlocked(ctx, func() error {
		resp, err := u.API.SendMessageEvent(ctx, id.RoomID(room), event.Type{Type: kind, Class: event.MessageEventType}, content)
		if err == nil {
			sent = transfer.EventID(resp.EventID)
		}
		return err
	})
	return sent, err
}

// Shown is an event of a room as the homeserver shows it later.
type Shown struct {
	Type   string
	Sender transfer.UserID
	// Empty: there is nothing in it, because it was redacted.
	Empty bool
}

// maxHistory is how many events History gives.
const maxHistory = 200

// History gives the last events of a room that are not state, the latest first.
func (u *User) History(ctx context.Context, room transfer.RoomID) ([]Shown, error) {
	page, err := u.API.Messages(ctx, id.RoomID(room), "", "", mautrix.DirectionBackward, nil, maxHistory)
	if err != nil {
		return nil, err
	}
	var list []Shown
	for _, evt := range page.Chunk {
		if evt.StateKey == nil {
			list = append(list, Shown{evt.Type.Type, transfer.UserID(evt.Sender), string(evt.Content.VeryRaw) == "{}"})
		}
	}
	return list, nil
}

// SetState sends any content as a state event.
func (u *User) SetState(ctx context.Context, room transfer.RoomID, kind event.Type, content any) error {
	return unlocked(ctx, func() error {
		_, err := u.API.SendStateEvent(ctx, id.RoomID(room), kind, "", content)
		return err
	})
}

// Devices gives the devices of the user.
func (u *User) Devices(ctx context.Context) ([]transfer.DeviceID, error) {
	resp, err := u.API.GetDevicesInfo(ctx)
	if err != nil {
		return nil, err
	}
	var list []transfer.DeviceID
	for _, d := range resp.Devices {
		list = append(list, transfer.DeviceID(d.DeviceID))
	}
	return list, nil
}

// Login logs the user in as matrixfs does, at homeserver (the server's URL, or
// that of a Proxy in front of it), with the login stored in stateDir.
func (u *User) Login(ctx context.Context, homeserver, stateDir string) (*matrix.Account, error) {
	if u.Password == "" {
		return nil, errors.New("the user has no password")
	}
	var a *matrix.Account
	err := unlocked(ctx, func() (err error) {
		a, err = matrix.Login(ctx, matrix.LoginConfig{
			StateDir: stateDir, Homeserver: homeserver, User: u.Name, Password: u.Password, DeviceName: "matrixfs test",
		})
		return err
	})
	return a, err
}

// RoomVersion chooses the version of the room, instead of the server's choice.
func RoomVersion(v string) RoomOption {
	return func(r *mautrix.ReqCreateRoom) { r.RoomVersion = id.RoomVersion(v) }
}
