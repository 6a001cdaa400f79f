package matrix

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/id"

	"github.com/matrixfs/matrixfs/transfer"
)

// Account is a login at a homeserver.
type Account struct {
	Homeserver string // its URL
	User       transfer.UserID
	Device     transfer.DeviceID
}

// Client is a stored login at work. Its methods are safe for concurrent use.
type Client struct {
	log     *slog.Logger
	dir     *stateDir
	store   *store // used by Run, and by Logout and Close after it
	api     *mautrix.Client
	session *session // what the requests of api go through
	login   login
	roster  *roster
	keys    *keyring
	line    *line
	pacer   pacer
	turn    turnCache
	eraser  *eraser
	keeper  *keeper
	// verifier has the verification that is going on.
	verifier *verifier
	ready    chan struct{}

	// stop ends what this client is doing; stopped is the context it ends.
	stopped context.Context
	stop    context.CancelFunc

	// mu guards what follows.
	mu       sync.Mutex
	receiver Receiver
	ran      bool
	halted   bool
	closed   bool
	calls    sync.WaitGroup // Run and the requests under way; Add only while not halted
}

var _ transfer.Signaller = (*Client)(nil)

// Receiver is told what happens in the rooms: *transfer.Exchange. All calls
// come from Run, and must not block.
type Receiver interface {
	// Receive gets every message of the rooms joined, our own echo included.
	// Those of one room come in the order of the room, apart from encrypted
	// ones whose keys come late.
	Receive(transfer.Received)
	// CloseRoom is called when the user is no longer in a room, or when the
	// room is not safe any more.
	CloseRoom(room transfer.RoomID, why string)
	// Repeat is called when a device has appeared in an encrypted room that
	// can't read what was sent there.
	Repeat(room transfer.RoomID)
	// CloseUser is called when this user begins to ignore another.
	CloseUser(user transfer.UserID, why string)
}

var _ Receiver = (*transfer.Exchange)(nil)

// Option changes what a Client does.
type Option func(*Client)

// AllowPublic lets rooms be used although anybody can join or read them.
func AllowPublic() Option { return func(c *Client) { c.roster.policy.allowPublic = true } }

// RequireVerified lets only devices count that this person has verified, or
// whose user they have (cross-signing): others are sent nothing they can read,
// and what they send counts as not sent. Rooms that are not encrypted are
// refused, because in those nobody can be told from somebody else.
func RequireVerified() Option { return func(c *Client) { c.roster.policy.verified = true } }

// Open makes a Client from the login stored in stateDir, and locks that
// directory until Close. Logger may be nil. The error is ErrNotLoggedIn,
// ErrState, ErrInUse, or says what else is wrong with the directory.
func Open(ctx context.Context, stateDir string, log *slog.Logger, options ...Option) (*Client, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	dir, err := openStateDir(stateDir, false)
	if err != nil {
		return nil, err
	}
	c, err := open(ctx, dir, log, options)
	if err != nil {
		return nil, errors.Join(err, dir.close())
	}
	return c, nil
}

func open(ctx context.Context, dir *stateDir, log *slog.Logger, options []Option) (*Client, error) {
	s, err := openStore(ctx, dir.file(storeName), false)
	if err != nil {
		return nil, stateError(ctx, dir, err)
	}
	c := &Client{log: log, dir: dir, store: s, line: newLine(), eraser: newEraser(s), keeper: newKeeper(s), ready: make(chan struct{})}
	c.turn.gate = make(chan struct{}, 1)
	c.pacer.turn = make(chan struct{}, 1)
	if err := c.load(ctx, options); err != nil {
		return nil, errors.Join(stateError(ctx, dir, err), s.close())
	}
	c.stopped, c.stop = context.WithCancel(context.Background())
	return c, nil
}

// load reads everything from the store.
func (c *Client) load(ctx context.Context, options []Option) (err error) {
	if c.login, err = c.store.loadLogin(ctx); err != nil {
		return err
	}
	if err = c.connect(); err != nil {
		return err
	}
	c.api.DeviceID = id.DeviceID(c.login.Device)
	c.roster = newRoster(c.login.User, policy{})
	for _, o := range options {
		o(c)
	}
	rooms, err := c.store.loadRooms(ctx)
	if err != nil {
		return err
	}
	if c.roster.sealed, err = c.store.loadSealed(ctx); err != nil {
		return err
	}
	for _, r := range rooms {
		r.encrypted = r.encrypted || c.roster.sealed[r.id]
		c.roster.sealed[r.id] = r.encrypted
		r.shut = r.unsafe(c.roster.policy)
		c.roster.rooms[r.id] = r
	}
	if c.roster.direct, err = c.store.loadDirect(ctx); err != nil {
		return err
	}
	if c.roster.ignored, err = c.store.loadIgnored(ctx); err != nil {
		return err
	}
	if err := c.eraser.load(ctx); err != nil {
		return err
	}
	key, err := c.dir.loadStoreKey()
	if err != nil {
		return err
	}
	if c.keys, err = openKeyring(ctx, c.store, c.api, c.roster, key, c.log); err != nil {
		return err
	}
	c.verifier = newVerifier(c.keys.self, c.log)
	c.keys.verifier = c.verifier
	if c.login.since != "" {
		close(c.ready)
	}
	return nil
}

// connect makes what requests go through. It asks nobody yet.
func (c *Client) connect() (err error) {
	if c.api, err = newAPI(c.login.Homeserver, string(c.login.User), c.login.tokens.access, c.log); err != nil {
		return err
	}
	plain, err := newAPI(c.login.Homeserver, "", "", c.log)
	if err != nil {
		return err
	}
	c.session = newSession(c.api, plain, c.login.tokens, c.log, c.store.saveTokens)
	return nil
}

// stateError turns an error of the store into one that says what to do.
func stateError(ctx context.Context, dir *stateDir, err error) error {
	if errors.Is(err, ErrNotLoggedIn) || errors.Is(err, fs.ErrPermission) || ctx.Err() != nil {
		return err
	}
	why := strings.Join(strings.Fields(err.Error()), " ") // SQLite uses several lines
	return fmt.Errorf("%w: remove %s and log in again (%s)", ErrState, dir.file(storeName), why)
}

// Account tells whose login this is.
func (c *Client) Account() Account { return c.login.Account }

// SetReceiver sets who is told what happens. Set it before Run.
func (c *Client) SetReceiver(r Receiver) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.receiver = r
}

// tell calls f with the receiver, if there is one.
func (c *Client) tell(f func(Receiver)) {
	c.mu.Lock()
	r := c.receiver
	c.mu.Unlock()
	if r != nil {
		f(r)
	}
}

// Ready is closed once the rooms are known: at once where an earlier run has
// stored them, else after the first sync.
func (c *Client) Ready() <-chan struct{} { return c.ready }

// Online reports whether the homeserver answered the last sync.
func (c *Client) Online() bool { return c.line.up() }

// Rooms gives the joined rooms, sorted by id, from memory.
func (c *Client) Rooms() []Room { return c.roster.list() }

// Members gives the users joined to a room, sorted, from memory. It is empty
// for a room that the user is not in.
func (c *Client) Members(at transfer.RoomID) []transfer.UserID { return c.roster.members(at) }

// Subscribe gives a channel that gets a value after the rooms, their names or
// whether they are refused have changed. It has a capacity of one: changes
// that nobody has looked at yet become one value. stop ends the subscription.
func (c *Client) Subscribe() (changes <-chan struct{}, stop func()) { return c.roster.subscribe() }

// begin enters a call that Close has to wait for. The context ends with ctx or
// with the client; end must be called.
func (c *Client) begin(ctx context.Context) (_ context.Context, end func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.halted {
		return nil, nil, ErrClosed
	}
	c.calls.Add(1)
	ctx, cancel := context.WithCancel(ctx)
	release := context.AfterFunc(c.stopped, cancel)
	return ctx, func() {
		release()
		cancel()
		c.calls.Done()
	}, nil
}

// halt ends Run and every request, and waits for them. There are no new ones
// after it.
func (c *Client) halt() {
	c.mu.Lock()
	c.halted = true
	c.mu.Unlock()
	c.stop()
	c.calls.Wait()
}

// finish reports whether the caller is the one who closes the client.
func (c *Client) finish() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := !c.closed
	c.closed = true
	return first
}

// Close ends Run and every request under way, waits for them, and releases the
// state directory. Closing twice is harmless.
func (c *Client) Close() error {
	c.halt()
	if !c.finish() {
		return nil
	}
	c.keys.close()
	c.session.close()
	return errors.Join(c.store.close(), c.dir.close())
}

// Logout closes the client, ends the login at the homeserver, and removes it
// from the state directory. When the homeserver can't be reached, nothing is
// removed, and the error is ErrOffline; Forget removes the login all the same.
func (c *Client) Logout(ctx context.Context) error {
	c.halt()
	if !c.finish() {
		return ErrClosed
	}
	limited, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	c.eraseNow(limited)
	err := c.session.end(limited, c.api)
	c.keys.close()
	c.session.close()
	closing := c.store.close()
	if err != nil && !loggedOut(err) {
		err = fmt.Errorf("not logged out: %w", offline(err))
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return errors.Join(err, closing, c.dir.close())
	}
	return errors.Join(closing, c.dir.wipe(), c.dir.close())
}
