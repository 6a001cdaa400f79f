package matrix

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"time"

	"go.mau.fi/util/dbutil"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"
	"maunium.net/go/mautrix/sqlstatestore"
	_ "modernc.org/sqlite" // the driver "sqlite": no cgo

	"github.com/matrixfs/matrixfs/transfer"
)

//go:embed schema/*.sql
var schema embed.FS

// pragmas of the database. WAL and busy_timeout let the tables of several
// owners live in it; immediate transactions can't fail half-way on a lock.
const pragmas = "_pragma=foreign_keys(1)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)" +
	"&_pragma=busy_timeout(5000)&_txlock=immediate&_time_format=sqlite"

// store is the database: the account, the sync token and the state of the
// rooms. mautrix's SQLStateStore holds members, power levels, encryption, join
// rules and history visibility, because mautrix's encryption reads them there.
// Only what it lacks is in tables of our own. The account and the rooms need no
// lock: Login and then Run are their only users, one after the other. The
// tables of eraser and keeper are written by whoever calls those, and the tokens
// of the account by whoever makes session renew them; each write is one
// statement.
type store struct {
	db    *dbutil.Database
	state *sqlstatestore.SQLStateStore
}

// openStore opens the database at path, or makes it if create is set.
func openStore(ctx context.Context, path string, create bool) (*store, error) {
	flags := os.O_RDWR
	if create {
		flags |= os.O_CREATE
	}
	// SQLite gives its own files the mode of the database, so this is where
	// all of them become private.
	f, err := os.OpenFile(path, flags, 0o600)
	if errors.Is(err, fs.ErrNotExist) && !create {
		return nil, ErrNotLoggedIn
	}
	if err != nil {
		return nil, fmt.Errorf("can't open the stored login: %w", err)
	}
	err = errors.Join(f.Chmod(0o600), f.Close())
	if err != nil {
		return nil, fmt.Errorf("can't open the stored login: %w", err)
	}
	raw, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: pragmas}).String())
	if err != nil {
		return nil, err
	}
	s, err := newStore(ctx, raw)
	if err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	return s, nil
}

func newStore(ctx context.Context, raw *sql.DB) (*store, error) {
	// The file is small (most of it are the members of rooms), and damage
	// found now can still be explained.
	var verdict string
	if err := raw.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return nil, err
	}
	if verdict != "ok" {
		return nil, fmt.Errorf("quick_check: %s", verdict)
	}
	db, err := dbutil.NewWithDB(raw, "sqlite3")
	if err != nil {
		return nil, err
	}
	db.Owner = "matrixfs"
	db.UpgradeTable = dbutil.BuildUpgradeTable().WithFSPath(schema, "schema").Finish()
	s := &store{db: db, state: sqlstatestore.NewSQLStateStore(db, dbutil.NoopLogger, false)}
	s.state.DisableNameDisambiguation = true // its index of names is not used
	if err := db.Upgrade(ctx); err != nil {
		return nil, err
	}
	return s, s.state.Upgrade(ctx)
}

func (s *store) close() error { return s.db.Close() }

// login is what is stored of an account.
type login struct {
	Account
	tokens tokens
	since  string // the sync token; empty before the first sync
}

// loadLogin reads the account. It is ErrNotLoggedIn where there is none.
func (s *store) loadLogin(ctx context.Context) (l login, err error) {
	var expires int64
	err = s.db.QueryRow(ctx, `SELECT homeserver, user_id, device_id, access_token, refresh_token, expires, oauth_client,
		next_batch FROM matrixfs_account`).Scan(&l.Homeserver, &l.User, &l.Device,
		&l.tokens.access, &l.tokens.refresh, &expires, &l.tokens.client, &l.since)
	if errors.Is(err, sql.ErrNoRows) {
		return l, ErrNotLoggedIn
	}
	if err == nil && (l.Homeserver == "" || l.User == "" || l.Device == "" || l.tokens.access == "") {
		err = errors.New("the account is incomplete")
	}
	if expires > 0 {
		l.tokens.expires = time.UnixMilli(expires)
	}
	return l, err
}

func (s *store) saveLogin(ctx context.Context, l login) error {
	_, err := s.db.Exec(ctx, `INSERT INTO matrixfs_account
		(one, homeserver, user_id, device_id, access_token, refresh_token, expires, oauth_client)
		VALUES (1, $1, $2, $3, $4, $5, $6, $7)`, l.Homeserver, l.User, l.Device,
		l.tokens.access, l.tokens.refresh, l.tokens.stored(), l.tokens.client)
	return err
}

// saveTokens replaces the tokens. Unlike what else is stored they are on the
// disk when it returns: the homeserver forgets the old ones once the new ones
// are used, so a loss of power must not bring the old ones back.
func (s *store) saveTokens(ctx context.Context, t tokens) error {
	conn, err := s.db.RawDB.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, "PRAGMA synchronous=FULL"); err != nil {
		return err
	}
	_, err = conn.ExecContext(ctx, "UPDATE matrixfs_account SET access_token=$1, refresh_token=$2, expires=$3",
		t.access, t.refresh, t.stored())
	_, back := conn.ExecContext(context.WithoutCancel(ctx), "PRAGMA synchronous=NORMAL")
	return errors.Join(err, back)
}

func (s *store) saveSince(ctx context.Context, since string) error {
	_, err := s.db.Exec(ctx, "UPDATE matrixfs_account SET next_batch=$1", since)
	return err
}

// loadRooms reads all rooms.
func (s *store) loadRooms(ctx context.Context) ([]*room, error) {
	rows, err := s.db.Query(ctx, "SELECT room_id, name, alias, encrypted, replaced FROM matrixfs_room")
	list, err := dbutil.NewRowIterWithError(rows, func(row dbutil.Scannable) (*room, error) {
		r := newRoom("")
		r.settled = true
		return r, row.Scan(&r.id, &r.name, &r.alias, &r.encrypted, &r.replaced)
	}, err).AsList()
	if err != nil {
		return nil, err
	}
	for _, r := range list {
		if err := s.loadState(ctx, r); err != nil {
			return nil, fmt.Errorf("room %s: %w", r.id, err)
		}
	}
	return list, nil
}

// loadState reads what mautrix's tables hold of a room.
func (s *store) loadState(ctx context.Context, r *room) (err error) {
	at := id.RoomID(r.id)
	if r.create, err = s.state.GetCreate(ctx, at); err != nil {
		return err
	}
	if r.levels, err = s.state.GetPowerLevels(ctx, at); err != nil {
		return err
	}
	rules, err := s.state.GetJoinRules(ctx, at)
	if err != nil {
		return err
	}
	if rules != nil {
		r.joinRule = rules.JoinRule
	}
	history, err := s.state.GetHistoryVisibility(ctx, at)
	if err != nil {
		return err
	}
	if history != nil {
		r.history = history.HistoryVisibility
	}
	if r.encryption, err = s.state.GetEncryptionEvent(ctx, at); err != nil {
		return err
	}
	r.encrypted = r.encrypted || r.encryption != nil
	members, err := s.state.GetRoomMembers(ctx, at, event.MembershipJoin, event.MembershipInvite)
	for user, m := range members {
		r.setMember(transfer.UserID(user), m.Membership, m.Displayname)
	}
	return err
}

// loadDirect reads which rooms are direct chats, and with whom.
func (s *store) loadDirect(ctx context.Context) (map[transfer.RoomID]transfer.UserID, error) {
	type pair struct {
		room transfer.RoomID
		user transfer.UserID
	}
	rows, err := s.db.Query(ctx, "SELECT room_id, user_id FROM matrixfs_direct")
	list, err := dbutil.NewRowIterWithError(rows, func(row dbutil.Scannable) (p pair, err error) {
		return p, row.Scan(&p.room, &p.user)
	}, err).AsList()
	direct := make(map[transfer.RoomID]transfer.UserID, len(list))
	for _, p := range list {
		direct[p.room] = p.user
	}
	return direct, err
}

// saveDirect replaces which rooms are direct chats.
func (s *store) saveDirect(ctx context.Context, direct map[transfer.RoomID]transfer.UserID) error {
	if _, err := s.db.Exec(ctx, "DELETE FROM matrixfs_direct"); err != nil {
		return err
	}
	for room, user := range direct {
		if _, err := s.db.Exec(ctx, "INSERT INTO matrixfs_direct (room_id, user_id) VALUES ($1, $2)", room, user); err != nil {
			return err
		}
	}
	return nil
}

// loadIgnored reads the users from whom this one wants nothing.
func (s *store) loadIgnored(ctx context.Context) (map[transfer.UserID]bool, error) {
	rows, err := s.db.Query(ctx, "SELECT user_id FROM matrixfs_ignored")
	return setOf[transfer.UserID](rows, err)
}

// saveIgnored replaces them.
func (s *store) saveIgnored(ctx context.Context, ignored map[transfer.UserID]bool) error {
	if _, err := s.db.Exec(ctx, "DELETE FROM matrixfs_ignored"); err != nil {
		return err
	}
	for user := range ignored {
		if _, err := s.db.Exec(ctx, "INSERT INTO matrixfs_ignored (user_id) VALUES ($1)", user); err != nil {
			return err
		}
	}
	return nil
}

// saveState stores one state event. What was read of it is in Content.Parsed.
func (s *store) saveState(ctx context.Context, evt *event.Event) error {
	switch c := evt.Content.Parsed.(type) {
	case *event.MemberEventContent:
		c.AvatarURL = "" // not used
		return s.state.SetMember(ctx, evt.RoomID, id.UserID(evt.GetStateKey()), c)
	case *event.PowerLevelsEventContent:
		return s.state.SetPowerLevels(ctx, evt.RoomID, c)
	case *event.EncryptionEventContent:
		return s.state.SetEncryptionEvent(ctx, evt.RoomID, c)
	case *event.CreateEventContent:
		return s.state.SetCreate(ctx, evt)
	case *event.JoinRulesEventContent:
		return s.state.SetJoinRules(ctx, evt.RoomID, c)
	case *event.HistoryVisibilityEventContent:
		return s.state.SetHistoryVisibility(ctx, evt.RoomID, c)
	}
	return nil // in the room's own row
}

// saveRoom stores what mautrix's tables lack of a room.
func (s *store) saveRoom(ctx context.Context, r roomRow) error {
	_, err := s.db.Exec(ctx, `INSERT INTO matrixfs_room (room_id, name, alias, encrypted, replaced)
		VALUES ($1, $2, $3, $4, $5) ON CONFLICT (room_id) DO UPDATE
		SET name=excluded.name, alias=excluded.alias, encrypted=excluded.encrypted, replaced=excluded.replaced`,
		r.id, r.name, r.alias, r.encrypted, r.replaced)
	if err == nil && r.encrypted {
		_, err = s.db.Exec(ctx, "INSERT INTO matrixfs_encrypted (room_id) VALUES ($1) ON CONFLICT (room_id) DO NOTHING", r.id)
	}
	return err
}

// loadSealed reads the rooms that have ever been seen encrypted.
func (s *store) loadSealed(ctx context.Context) (map[transfer.RoomID]bool, error) {
	rows, err := s.db.Query(ctx, "SELECT room_id FROM matrixfs_encrypted")
	return setOf[transfer.RoomID](rows, err)
}

// setOf reads a column of names.
func setOf[T ~string](rows dbutil.Rows, err error) (map[T]bool, error) {
	list, err := dbutil.NewRowIterWithError(rows, dbutil.ScanSingleColumn[T], err).AsList()
	set := make(map[T]bool, len(list))
	for _, name := range list {
		set[name] = true
	}
	return set, err
}

// dropRoom removes all that is stored of a room, but for that it was encrypted.
func (s *store) dropRoom(ctx context.Context, at transfer.RoomID) error {
	for _, query := range []string{
		"DELETE FROM matrixfs_room WHERE room_id=$1",
		"DELETE FROM mx_user_profile WHERE room_id=$1",
		"DELETE FROM mx_room_state WHERE room_id=$1",
	} {
		if _, err := s.db.Exec(ctx, query, at); err != nil {
			return err
		}
	}
	return nil
}
