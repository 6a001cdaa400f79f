package transfer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

const (
	// maxIncoming bounds the offers that are listed at once, and
	// maxPerSender those of one user in one room: a person who drops a folder
	// on a room makes dozens, not hundreds.
	maxIncoming  = 1024
	maxPerSender = 256
	// maxOutgoing bounds the files on offer at once.
	maxOutgoing = 1024
	// keepEnded is how many ended transfers status still shows.
	keepEnded = 100
	// maxOrphans bounds the messages kept for an invite that has not come.
	maxOrphans = 256
	// maxPast bounds the transfers remembered so that an old invite can't be
	// played again and a late answer is told.
	maxPast = 8192
	// farewell bounds the time to tell peers that a transfer has ended.
	farewell = 5 * time.Second
)

// Reasons that a cancel of ours gives to other matrixfs.
const (
	reasonRejected  = "rejected"
	reasonCancelled = "cancelled"
	reasonHash      = "hash"
)

// Config is what an Exchange needs.
type Config struct {
	// Self is this device. Both parts are needed.
	Self Peer
	// Signaller carries the messages.
	Signaller Signaller
	// CacheDir holds received bytes. It is made if need be.
	CacheDir string
	// CacheSize bounds the received bytes on disk, of all transfers together;
	// 0 means DefaultCacheSize.
	CacheSize int64
	// Lifetime is how long our offers wait for an answer; 0 means
	// DefaultLifetime.
	Lifetime time.Duration
	// Loopback restricts connections to this machine.
	Loopback bool
	// RelayOnly hides our addresses from peers: only connections through TURN
	// servers are made.
	RelayOnly bool
	// MinTrust is the least trust that an offer or an answer needs; without it
	// they count as not made.
	MinTrust Trust
	// Logger gets what goes on; nil means nobody does.
	Logger *slog.Logger
}

// key names an incoming transfer: an ID is unique for its user in its room.
type key struct {
	room RoomID
	user UserID
	id   ID
}

// Exchange is all transfers of this device. It is safe for concurrent use.
type Exchange struct {
	cfg     Config
	log     *slog.Logger
	cache   *cache
	dialler *dialler
	wg      sync.WaitGroup

	// ctx ends when Close has given the transfers time to say goodbye.
	ctx    context.Context
	cancel context.CancelFunc

	mu       sync.Mutex // guards all below
	closed   bool
	outgoing map[ID]*Outgoing
	incoming []*Incoming // live or listed, oldest first
	ended    []Status
	orphans  []Received
	past     map[key]time.Time // when it may be forgotten
	watchers map[chan struct{}]struct{}
}

// New makes an Exchange. The error says what is missing, or wraps ErrCache.
func New(cfg Config) (*Exchange, error) {
	if cfg.Self.User == "" || cfg.Self.Device == "" || cfg.Signaller == nil {
		return nil, errors.New("an exchange needs to know its device and how to send")
	}
	if cfg.Lifetime <= 0 {
		cfg.Lifetime = DefaultLifetime
	}
	cfg.Lifetime = min(cfg.Lifetime, MaxLifetime)
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	store, err := newCache(cfg.CacheDir, cfg.CacheSize)
	if err != nil {
		return nil, err
	}
	x := &Exchange{
		cfg: cfg, log: log, cache: store, dialler: &dialler{loopback: cfg.Loopback, relayOnly: cfg.RelayOnly},
		outgoing: map[ID]*Outgoing{}, past: map[key]time.Time{},
		watchers: map[chan struct{}]struct{}{},
	}
	store.evict = x.evicted
	x.ctx, x.cancel = context.WithCancel(context.Background())
	return x, nil
}

// Offer prepares a file for a room. It never waits, and tells nobody before
// there are bytes. Its error is ErrTooMany or ErrClosed.
func (x *Exchange) Offer(room RoomID, name string) (*Outgoing, error) {
	o := newOutgoing(x, room, name)
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.closed:
		return nil, ErrClosed
	case len(x.outgoing) >= maxOutgoing:
		return nil, ErrTooMany
	}
	x.outgoing[o.id] = o
	x.wg.Go(o.run)
	return o, nil
}

// Incoming gives the files to show, oldest first.
func (x *Exchange) Incoming() []*Incoming {
	x.mu.Lock()
	all := append([]*Incoming(nil), x.incoming...)
	x.mu.Unlock()
	list := all[:0]
	for _, in := range all {
		if in.listed() {
			list = append(list, in)
		}
	}
	return list
}

// Status tells of every transfer, the latest ended ones first.
func (x *Exchange) Status() []Status {
	x.mu.Lock()
	list := append([]Status(nil), x.ended...)
	incoming := append([]*Incoming(nil), x.incoming...)
	var outgoing []*Outgoing
	for _, o := range x.outgoing {
		outgoing = append(outgoing, o)
	}
	x.mu.Unlock()
	for _, in := range incoming {
		list = append(list, in.Status())
	}
	for _, o := range outgoing {
		list = append(list, o.Status())
	}
	return list
}

// Subscribe gives a channel that gets a value when any transfer's state or the
// list of incoming files has changed since the last one was taken. stop ends
// it.
func (x *Exchange) Subscribe() (changes <-chan struct{}, stop func()) {
	ch := make(chan struct{}, 1)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.watchers[ch] = struct{}{}
	return ch, func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		delete(x.watchers, ch)
	}
}

func (x *Exchange) notify() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for ch := range x.watchers {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// CloseRoom ends the transfers of a room that may not be used any more, for
// the reason why.
func (x *Exchange) CloseRoom(room RoomID, why string) {
	for _, t := range x.live() {
		if t.room == room {
			t.end(fmt.Errorf("%w: %s", ErrNotAllowed, why))
		}
	}
}

// Repeat sends the invites of a room that nobody has answered once more, each
// of them once only: homeservers allow few events. It is for rooms in which a
// device has appeared that could not read them.
func (x *Exchange) Repeat(room RoomID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, o := range x.outgoing {
		if o.room == room && !o.repeated && o.isOffered() {
			o.repeated = true
			o.again <- struct{}{} // has room: this is the only time
		}
	}
}

// CloseUser ends what a user offers to us, for the reason why.
func (x *Exchange) CloseUser(user UserID, why string) {
	x.mu.Lock()
	all := append([]*Incoming(nil), x.incoming...)
	x.mu.Unlock()
	for _, in := range all {
		if in.from.User == user {
			in.end(fmt.Errorf("%w: %s", ErrNotAllowed, why))
		}
	}
}

// live gives every transfer that is not forgotten.
func (x *Exchange) live() []*transfer {
	x.mu.Lock()
	defer x.mu.Unlock()
	var list []*transfer
	for _, o := range x.outgoing {
		list = append(list, &o.transfer)
	}
	for _, in := range x.incoming {
		list = append(list, &in.transfer)
	}
	return list
}

// Close cancels what is open, tells the peers, and waits for every goroutine:
// little more than five seconds where the homeserver does not answer.
func (x *Exchange) Close() error {
	x.mu.Lock()
	x.closed = true
	x.mu.Unlock()
	for _, t := range x.live() {
		t.end(ErrClosed)
	}
	x.cancel()
	x.wg.Wait()
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, in := range x.incoming {
		in.dropSpool()
	}
	return nil
}

// retireOutgoing takes note that a transfer's goroutine is done with it.
func (x *Exchange) retireOutgoing(o *Outgoing) {
	o.cancel(nil)
	x.cfg.Signaller.Retire(o.room, o.id)
	s := o.Status()
	x.mu.Lock()
	delete(x.outgoing, o.id)
	var unread *Received
	if !o.saidBye { // else whoever answers late reads why in the room
		x.remember(key{o.room, x.cfg.Self.User, o.id}, x.cfg.Lifetime)
		unread = x.unreadAnswer(o)
	}
	x.record(s)
	x.mu.Unlock()
	x.notify()
	if unread != nil {
		x.tellLate(*unread)
	}
}

// unreadAnswer gives an answer that came when the offer was over, and before it
// was known to be: whoever sent it has to be told. mu is held.
func (x *Exchange) unreadAnswer(o *Outgoing) *Received {
	for {
		select {
		case r := <-o.inbox:
			if _, ok := r.Message.(*Answer); ok && x.late(r) {
				return &r
			}
		default:
			return nil
		}
	}
}

// retireIncoming does the same for an incoming transfer, which may stay listed.
func (x *Exchange) retireIncoming(in *Incoming) {
	in.cancel(nil)
	if in.started() || !errors.Is(in.Err(), ErrClosed) {
		x.cfg.Signaller.Retire(in.room, in.id)
	}
	x.mu.Lock()
	in.retired = true
	x.mu.Unlock()
	x.prune()
}

// prune forgets the incoming transfers that have ended and are not listed.
func (x *Exchange) prune() {
	x.mu.Lock()
	kept := x.incoming[:0]
	for _, in := range x.incoming {
		if in.retired && !in.listed() {
			x.record(in.Status())
		} else {
			kept = append(kept, in)
		}
	}
	clear(x.incoming[len(kept):])
	x.incoming = kept
	x.mu.Unlock()
	x.notify()
}

// record keeps the status of a transfer that is no longer listed. mu is held.
func (x *Exchange) record(s Status) {
	x.ended = append(x.ended, s)
	if len(x.ended) > keepEnded {
		x.ended = x.ended[1:]
	}
}

// evicted removes the file whose bytes had to make room.
func (x *Exchange) evicted(s *spool) {
	x.mu.Lock()
	all := append([]*Incoming(nil), x.incoming...)
	x.mu.Unlock()
	for _, in := range all {
		if in.hasSpool(s) {
			in.Remove()
		}
	}
}

// remember keeps a key for as long as a message of the transfer may come. mu
// is held.
func (x *Exchange) remember(k key, lifetime time.Duration) {
	now := time.Now()
	if len(x.past) >= maxPast {
		for k, until := range x.past {
			if now.After(until) || len(x.past) >= maxPast { // any one, if need be
				delete(x.past, k)
			}
		}
	}
	x.past[k] = now.Add(lifetime)
}

// extension is what matrixfs adds to a message of ours.
func (x *Exchange) extension(reason string) *Extension {
	return &Extension{Version: 1, Device: x.cfg.Self.Device, Reason: reason}
}
