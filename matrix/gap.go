package matrix

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/event"

	"github.com/matrixfs/matrixfs/transfer"
)

// Limits on fetching what a sync left out.
const (
	// maxGapPages bounds the requests for one room. With timelineLimit events
	// on each page of only the four types this is far more than people offer.
	maxGapPages = 5
	// maxGapTime bounds the time spent on all rooms of one sync. The messages
	// at hand wait for it.
	maxGapTime = 20 * time.Second
	// maxGapTries is how often a sync is made again because of a gap that the
	// homeserver fails to fill. Then it is passed over: newer messages count
	// more.
	maxGapTries = 3
)

// fillGaps fetches the messages that were left out of the timelines because
// there was too much of them, and may still matter. An error asks for the sync
// to be made again.
func (s *syncer) fillGaps(ctx context.Context, resp *syncResponse) (map[transfer.RoomID][]*event.Event, error) {
	ctx, cancel := context.WithTimeout(ctx, maxGapTime)
	defer cancel()
	gaps := make(map[transfer.RoomID][]*event.Event)
	for at, room := range resp.Rooms.Join {
		if room == nil || !room.Timeline.Limited || room.Timeline.PrevBatch == "" || ctx.Err() != nil {
			continue
		}
		known := room.Timeline.decode(at)
		if len(known) > 0 && tooOld(known[0]) {
			continue // and so is all before it
		}
		gap, err := s.fetchGap(ctx, at, room.Timeline.PrevBatch)
		if err != nil {
			s.c.log.Warn("older messages can't be fetched", "room", at, "cause", cause(err))
			_, limited := retryAfter(err)
			if s.gapTries++; s.gapTries < maxGapTries && (limited || unreachable(err)) {
				return nil, err
			}
		}
		gaps[at] = slices.DeleteFunc(gap, func(evt *event.Event) bool {
			return slices.ContainsFunc(known, func(k *event.Event) bool { return k.ID == evt.ID })
		})
	}
	s.gapTries = 0
	return gaps, nil
}

// fetchGap gives the messages of a room between the last sync and the point
// named by from, oldest first.
func (s *syncer) fetchGap(ctx context.Context, at transfer.RoomID, from string) ([]*event.Event, error) {
	filter, err := json.Marshal(mautrix.FilterPart{Types: messageTypes(s.c.verifier.listening())})
	if err != nil {
		return nil, err
	}
	var gap []*event.Event
	for range maxGapPages {
		query := map[string]string{
			"dir": "b", "from": from, "filter": string(filter), "limit": strconv.Itoa(timelineLimit),
		}
		if s.since != "" {
			query["to"] = s.since
		}
		var page struct {
			Chunk []json.RawMessage `json:"chunk"`
			End   string            `json:"end"`
		}
		_, err := s.c.api.MakeFullRequest(ctx, mautrix.FullRequest{
			Method:       http.MethodGet,
			URL:          s.c.api.BuildURLWithQuery(mautrix.ClientURLPath{"v3", "rooms", at, "messages"}, query),
			ResponseJSON: &page,
		})
		if err != nil {
			return reversed(gap), err
		}
		for _, evt := range (eventList{page.Chunk}).decode(at) {
			if tooOld(evt) {
				return reversed(gap), nil
			}
			gap = append(gap, evt)
		}
		if page.End == "" || page.End == from || len(page.Chunk) == 0 {
			break
		}
		from = page.End
	}
	return reversed(gap), nil
}

func reversed(list []*event.Event) []*event.Event {
	slices.Reverse(list)
	return list
}
