package matrix

import (
	"encoding/json"
	"slices"

	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"github.com/matrixfs/matrixfs/transfer"
)

// syncResponse is what is used of the response to a sync. Events are decoded
// one by one: mautrix's own type refuses the whole response where one event in
// it is malformed, and would do so again and again.
type syncResponse struct {
	keySync
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

// hasMembers reports whether somebody may have joined.
func (r *joinedRoom) hasMembers(at transfer.RoomID) bool {
	return r != nil && slices.ContainsFunc(r.Timeline.decode(at), func(evt *event.Event) bool {
		return evt.Type == event.StateMember
	})
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
