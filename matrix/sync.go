package matrix

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"github.com/matrixfs/matrixfs/transfer"
)

// How the sync loop keeps time.
const (
	// pollTimeout is how long the homeserver may hold a sync that has nothing
	// to say.
	pollTimeout = 30 * time.Second
	// pollGrace is how much longer than that the answer may take.
	pollGrace = 15 * time.Second
	// catchUpTimeout is for a sync that need not wait for news.
	catchUpTimeout = time.Minute
	// firstTimeout is for the first sync of all, which homeservers may take
	// minutes to put together for an old account.
	firstTimeout = 5 * time.Minute
	// firstBackoff is the wait after the first failure; it doubles up to
	// maxBackoff. Each wait is shortened at random by up to half, so that not
	// all clients of a homeserver come back in the same moment.
	firstBackoff = time.Second
	maxBackoff   = 30 * time.Second
	// maxBadTokens is how often in a row the homeserver may call a request
	// with the stored sync token bad before it is given up.
	maxBadTokens = 3
)

// timelineLimit is how many events of a room one sync may bring.
const timelineLimit = 100

// stateTypes are the state events that rooms are made of.
var stateTypes = []event.Type{
	event.StateCreate, event.StateMember, event.StateEncryption, event.StateJoinRules, event.StateHistoryVisibility,
	event.StatePowerLevels, event.StateTombstone, event.StateRoomName, event.StateCanonicalAlias,
}

// messageTypes are the events of MSC2354.
func messageTypes() []event.Type {
	var list []event.Type
	for _, t := range transfer.EventTypes {
		list = append(list, event.Type{Type: t, Class: event.MessageEventType})
	}
	return list
}

// syncFilter asks for nothing that is not used. It is sent with each sync: an
// uploaded one could get lost at the homeserver.
func syncFilter() string {
	nothing := &mautrix.FilterPart{NotTypes: []event.Type{{Type: "*"}}}
	filter := mautrix.Filter{
		AccountData: &mautrix.FilterPart{Types: []event.Type{event.AccountDataDirectChats}},
		Presence:    nothing,
		Room: &mautrix.RoomFilter{
			AccountData: nothing,
			Ephemeral:   nothing,
			State:       &mautrix.FilterPart{Types: stateTypes},
			// State that changes later comes in the timeline.
			Timeline: &mautrix.FilterPart{Types: append(messageTypes(), stateTypes...), Limit: timelineLimit},
		},
	}
	text, err := json.Marshal(filter)
	if err != nil {
		panic(err) // it is a constant
	}
	return string(text)
}

// syncResponse is what is used of the response to a sync. Events are decoded
// one by one: mautrix's own type refuses the whole response where one event in
// it is malformed, and would do so again and again.
type syncResponse struct {
	NextBatch   string    `json:"next_batch"`
	AccountData eventList `json:"account_data"`
	Rooms       struct {
		Join  map[transfer.RoomID]*joinedRoom     `json:"join"`
		Leave map[transfer.RoomID]json.RawMessage `json:"leave"`
	} `json:"rooms"`
}

type joinedRoom struct {
	State    eventList `json:"state"`
	Timeline struct {
		eventList
		Limited   bool   `json:"limited"`
		PrevBatch string `json:"prev_batch"`
	} `json:"timeline"`
}

type eventList struct {
	Events []json.RawMessage `json:"events"`
}

// decode reads the events of a room that can be read.
func (l eventList) decode(at transfer.RoomID) []*event.Event {
	list := make([]*event.Event, 0, len(l.Events))
	for _, raw := range l.Events {
		evt := new(event.Event)
		if json.Unmarshal(raw, evt) != nil {
			continue
		}
		evt.RoomID = id.RoomID(at)
		evt.Type.Class = event.MessageEventType
		if evt.StateKey != nil {
			evt.Type.Class = event.StateEventType
		}
		list = append(list, evt)
	}
	return list
}

// Run keeps the client in step with the homeserver until ctx ends or Close is
// called; then it returns nil. It returns ErrLoggedOut once the homeserver no
// longer accepts the login. Every other trouble it sits out. It may be called
// once.
func (c *Client) Run(ctx context.Context) error {
	ctx, end, err := c.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	c.mu.Lock()
	again := c.ran
	c.ran = true
	c.mu.Unlock()
	if again {
		return errors.New("matrix: Run was called twice")
	}
	return c.newSyncer().run(ctx)
}

// syncer is the sync loop. It belongs to Run.
type syncer struct {
	c       *Client
	filter  string
	since   string
	caught  bool // up with the homeserver, at least once in this run
	backoff time.Duration
	bad     int // failures in a row that blame the sync token
	unsaved unsaved

	gapTries int // failures in a row to fill gaps
}

func (c *Client) newSyncer() *syncer {
	return &syncer{c: c, filter: syncFilter(), since: c.login.since}
}

func (s *syncer) run(ctx context.Context) error {
	for ctx.Err() == nil {
		resp, err := s.poll(ctx)
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, errCut):
		case loggedOut(err):
			s.c.line.report(err)
			s.c.log.Error("the homeserver no longer accepts this login")
			return ErrLoggedOut
		case err != nil:
			s.failed(ctx, err)
		default:
			s.bad = 0
			if err := s.take(ctx, resp); err != nil {
				s.failed(ctx, err)
				continue
			}
			s.backoff = 0
			s.c.line.report(nil)
		}
	}
	s.c.line.report(context.Canceled)
	return nil
}

// errCut says that a poll was ended so that another one can tell how things
// stand.
var errCut = errors.New("poll cut short")

// poll makes one sync request. It waits for news only while the homeserver is
// known to be there.
func (s *syncer) poll(ctx context.Context) (*syncResponse, error) {
	var hold time.Duration
	limit := catchUpTimeout
	switch {
	case s.since == "":
		limit = firstTimeout
	case s.caught && s.c.line.up():
		hold, limit = pollTimeout, pollTimeout+pollGrace
	}
	limited, cancel := context.WithTimeoutCause(ctx, limit, context.DeadlineExceeded)
	defer cancel()
	if hold > 0 {
		cuttable, cut := context.WithCancelCause(limited)
		defer cut(nil)
		s.c.line.polling(func() { cut(errCut) })
		defer s.c.line.polling(nil)
		limited = cuttable
	} else {
		// Connections from before may be dead without having said so.
		s.c.api.Client.CloseIdleConnections()
	}
	query := map[string]string{
		"filter":       s.filter,
		"set_presence": string(event.PresenceOffline), // a mount is no sign that a person is there
		"timeout":      strconv.FormatInt(hold.Milliseconds(), 10),
	}
	if s.since != "" {
		query["since"] = s.since
	}
	raw, err := s.c.api.MakeFullRequest(limited, mautrix.FullRequest{
		Method:            http.MethodGet,
		URL:               s.c.api.BuildURLWithQuery(mautrix.ClientURLPath{"v3", "sync"}, query),
		ResponseSizeLimit: maxSync,
	})
	if err != nil {
		if errors.Is(context.Cause(limited), errCut) && !loggedOut(err) {
			return nil, errCut
		}
		return nil, err
	}
	resp := new(syncResponse)
	if err := json.Unmarshal(raw, resp); err != nil {
		return nil, err
	}
	if resp.NextBatch == "" {
		return nil, errors.New("a sync without next_batch")
	}
	return resp, nil
}

// failed waits after a sync that failed, unless somebody is in a hurry.
func (s *syncer) failed(ctx context.Context, err error) {
	s.c.line.report(err)
	s.backoff = min(max(2*s.backoff, firstBackoff), maxBackoff)
	wait := s.backoff/2 + rand.N(s.backoff/2)
	asked, limited := retryAfter(err)
	if limited {
		wait = asked
	}
	if s.since != "" && status(err) == http.StatusBadRequest {
		if s.bad++; s.bad >= maxBadTokens {
			s.c.log.Warn("the homeserver does not know the sync token any more; starting afresh")
			s.since, s.bad = "", 0
		}
	}
	s.c.log.Warn("sync failed", "cause", cause(err), "retry_in", wait.Round(time.Millisecond))
	timer := time.NewTimer(wait)
	defer timer.Stop()
	hurry := s.c.line.hurry
	if limited {
		hurry = nil // who asked for a pause gets it
	}
	select {
	case <-timer.C:
	case <-hurry:
	case <-ctx.Done():
	}
}

// take works through the response to a sync: memory, receiver, store, in this
// order. After an error nothing of it has been taken in.
func (s *syncer) take(ctx context.Context, resp *syncResponse) error {
	old := s.c.roster.list()
	gaps, err := s.fillGaps(ctx, resp)
	if ctx.Err() != nil {
		return ctx.Err() // it comes again with the next Run
	}
	if err != nil {
		return err
	}
	left := s.findLeft(ctx, resp)
	s.takeAccountData(resp)
	for at, room := range resp.Rooms.Join {
		s.takeRoom(at, room, gaps[at])
	}
	for _, at := range left {
		s.leave(at)
	}
	s.c.roster.settle(old)
	s.since = resp.NextBatch
	// Stored even if ctx has just ended: what was passed on once must not come
	// again at the next start.
	if err := s.unsaved.save(context.WithoutCancel(ctx), s.c, s.since); err != nil {
		s.c.log.Error("the state can't be stored; trying again", "error", err)
	}
	s.caught = true
	select {
	case <-s.c.ready:
	default:
		close(s.c.ready)
	}
	return nil
}

// takeAccountData reads m.direct.
func (s *syncer) takeAccountData(resp *syncResponse) {
	for _, evt := range resp.AccountData.decode("") {
		if evt.Type.Type != event.AccountDataDirectChats.Type {
			continue
		}
		direct := parseDirect(evt.Content.VeryRaw)
		s.c.roster.setDirect(direct)
		s.unsaved.add(func(ctx context.Context, st *store) error { return st.saveDirect(ctx, direct) })
	}
}

// takeRoom reads what is new in a joined room, in the room's order: first the
// state before the timeline, then what was missing from the timeline, then the
// timeline.
func (s *syncer) takeRoom(at transfer.RoomID, joined *joinedRoom, gap []*event.Event) {
	if joined == nil || at == "" || len(at) > maxLabel {
		return
	}
	state := joined.State.decode(at)
	// The whole state comes when a room is joined, and after a sync from
	// nothing. What was known from before, of an earlier stay perhaps, is void.
	afresh := slices.ContainsFunc(state, func(evt *event.Event) bool { return evt.Type == event.StateCreate })
	if afresh {
		s.unsaved.add(func(ctx context.Context, st *store) error { return st.dropRoom(ctx, at) })
	}
	s.c.roster.enter(at, afresh)
	for _, evt := range state {
		s.takeState(evt)
	}
	for _, evt := range gap {
		s.c.receive(evt)
	}
	for _, evt := range joined.Timeline.decode(at) {
		if evt.StateKey != nil {
			s.takeState(evt)
		} else {
			s.c.receive(evt)
		}
	}
	if row, ok := s.c.roster.settleRoom(at); ok {
		s.unsaved.add(func(ctx context.Context, st *store) error { return st.saveRoom(ctx, row) })
	}
}

func (s *syncer) takeState(evt *event.Event) {
	if s.c.roster.apply(evt) {
		s.unsaved.add(func(ctx context.Context, st *store) error { return st.saveState(ctx, evt) })
	}
}

// findLeft gives the rooms that the user is no longer in. At the start, and
// after a sync from nothing, the homeserver's list is asked too: rooms that
// were left and forgotten meanwhile are in no sync.
func (s *syncer) findLeft(ctx context.Context, resp *syncResponse) []transfer.RoomID {
	left := make(map[transfer.RoomID]bool)
	for at := range resp.Rooms.Leave {
		left[at] = true
	}
	if s.since == "" {
		for _, at := range s.c.roster.without(func(at transfer.RoomID) bool { return resp.Rooms.Join[at] != nil }) {
			left[at] = true
		}
	} else if !s.caught {
		limited, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		list, err := s.c.api.JoinedRooms(limited)
		if err == nil {
			joined := make(map[transfer.RoomID]bool, len(list.JoinedRooms))
			for _, at := range list.JoinedRooms {
				joined[transfer.RoomID(at)] = true
			}
			for _, at := range s.c.roster.without(func(at transfer.RoomID) bool { return joined[at] || resp.Rooms.Join[at] != nil }) {
				left[at] = true
			}
		}
	}
	list := make([]transfer.RoomID, 0, len(left))
	for at := range left {
		list = append(list, at)
	}
	return list
}

// leave removes a room that the user is no longer in.
func (s *syncer) leave(at transfer.RoomID) {
	if !s.c.roster.leave(at) {
		return
	}
	s.unsaved.add(func(ctx context.Context, st *store) error { return st.dropRoom(ctx, at) })
	s.c.mu.Lock()
	tell := s.c.onLeave
	s.c.mu.Unlock()
	if tell != nil {
		tell(at)
	}
}
