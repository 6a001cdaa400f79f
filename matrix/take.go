package matrix

import (
	"context"
	"slices"

	"maunium.net/go/mautrix/event"

	"github.com/matrixfs/matrixfs/transfer"
)

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
	news, renewed, err := s.c.keys.take(ctx, &resp.keySync)
	if err != nil {
		return err
	}
	left := s.findLeft(ctx, resp)
	s.takeAccountData(resp)
	for _, evt := range s.late.retry(news) {
		s.receiveSealed(ctx, evt)
	}
	for at, room := range resp.Rooms.Join {
		s.takeRoom(ctx, at, room, gaps[at])
		renewed = renewed || room.hasMembers(at)
	}
	for _, at := range left {
		s.leave(at)
	}
	for _, shut := range s.c.roster.settle(old) {
		s.c.tell(func(to Receiver) { to.CloseRoom(shut.room, shut.why) })
	}
	if renewed {
		s.repeat(ctx)
	}
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

// repeat finds the rooms in which a device has appeared that could not read
// what was sent there: one of a member, or of a new member.
func (s *syncer) repeat(ctx context.Context) {
	for _, room := range s.c.roster.list() {
		if !room.Encrypted {
			continue
		}
		outgrown, err := s.c.keys.outgrown(ctx, room.ID, s.c.roster.members(room.ID))
		if err != nil {
			s.c.log.Warn("new devices in a room can't be looked for", "room", room.ID, "cause", cause(err))
		}
		if outgrown {
			s.c.tell(func(to Receiver) { to.Repeat(room.ID) })
		}
	}
}

// takeAccountData reads m.direct and m.ignored_user_list.
func (s *syncer) takeAccountData(resp *syncResponse) {
	for _, evt := range resp.AccountData.decode("") {
		switch evt.Type.Type {
		case event.AccountDataDirectChats.Type:
			direct := parseDirect(evt.Content.VeryRaw)
			s.c.roster.setDirect(direct)
			s.unsaved.add(func(ctx context.Context, st *store) error { return st.saveDirect(ctx, direct) })
		case event.AccountDataIgnoredUserList.Type:
			ignored := parseIgnored(evt.Content.VeryRaw)
			for _, user := range s.c.roster.setIgnored(ignored) {
				s.c.tell(func(to Receiver) { to.CloseUser(user, "you ignore this user") })
			}
			s.unsaved.add(func(ctx context.Context, st *store) error { return st.saveIgnored(ctx, ignored) })
		}
	}
}

// takeRoom reads what is new in a joined room, in the room's order: first the
// state before the timeline, then what was missing from the timeline, then the
// timeline.
func (s *syncer) takeRoom(ctx context.Context, at transfer.RoomID, joined *joinedRoom, gap []*event.Event) {
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
		s.receiveEvent(ctx, evt)
	}
	for _, evt := range joined.Timeline.decode(at) {
		if evt.StateKey != nil {
			s.takeState(evt)
		} else {
			s.receiveEvent(ctx, evt)
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
	s.c.tell(func(to Receiver) { to.CloseRoom(at, "you are no longer in the room") })
}
