package matrix

import (
	"encoding/json"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/event"

	"github.com/matrixfs/matrixfs/transfer"
)

// timelineLimit is how many events of a room one sync may bring.
const timelineLimit = 100

// stateTypes are the state events that rooms are made of.
var stateTypes = []event.Type{
	event.StateCreate, event.StateMember, event.StateEncryption, event.StateJoinRules, event.StateHistoryVisibility,
	event.StatePowerLevels, event.StateTombstone, event.StateRoomName, event.StateCanonicalAlias,
}

// messageTypes are the events of MSC2354, those that may turn out to be such,
// and those that take one back. While a verification is going on, its events
// are among them: people write more m.room.message than a mount wants to hear
// of.
func messageTypes(verifying bool) []event.Type {
	list := []event.Type{event.EventEncrypted, event.EventRedaction}
	for _, t := range transfer.EventTypes {
		list = append(list, event.Type{Type: t, Class: event.MessageEventType})
	}
	if verifying {
		list = append(list, event.EventMessage)
		for _, kind := range verifyKinds {
			list = append(list, event.Type{Type: verifyPrefix + kind, Class: event.MessageEventType})
		}
	}
	return list
}

// syncFilter asks for nothing that is not used. It is sent with each sync: an
// uploaded one could get lost at the homeserver.
func syncFilter(verifying bool) string {
	nothing := &mautrix.FilterPart{NotTypes: []event.Type{{Type: "*"}}}
	filter := mautrix.Filter{
		AccountData: &mautrix.FilterPart{Types: []event.Type{event.AccountDataDirectChats, event.AccountDataIgnoredUserList}},
		Presence:    nothing,
		Room: &mautrix.RoomFilter{
			AccountData: nothing,
			Ephemeral:   nothing,
			State:       &mautrix.FilterPart{Types: stateTypes},
			// State that changes later comes in the timeline.
			Timeline: &mautrix.FilterPart{Types: append(messageTypes(verifying), stateTypes...), Limit: timelineLimit},
		},
	}
	text, err := json.Marshal(filter)
	if err != nil {
		panic(err) // it is one of two constants
	}
	return string(text)
}
