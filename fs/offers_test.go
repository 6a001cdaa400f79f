package fs_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/matrixfs/matrixfs/transfer"
	"github.com/matrixfs/matrixfs/transfer/transfertest"
)

// offerSDP is the least that counts as an offer of a data channel. Nobody
// answers at it.
var offerSDP = strings.ReplaceAll(`v=0
o=- 1 1 IN IP4 0.0.0.0
s=-
t=0 0
a=fingerprint:sha-256 `+strings.Repeat("00:", 31)+`00
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
`, "\n", "\r\n")

// post has somebody who knows nothing of matrixfs offer a file to the room.
func post(hub *transfertest.Hub, user transfer.UserID, id transfer.ID, name string) {
	hub.Inject(transfer.Received{
		From:    transfer.Peer{User: user},
		Message: &transfer.Invite{ID: id, Lifetime: time.Hour, File: transfer.FileInfo{Name: name, Size: 1000}, SDP: offerSDP},
	})
}

// withdraw takes such an offer back.
func withdraw(hub *transfertest.Hub, user transfer.UserID, id transfer.ID) {
	hub.Inject(transfer.Received{From: transfer.Peer{User: user}, Message: &transfer.Cancel{ID: id}})
}

// answerElsewhere has another device of the user answer such an offer.
func answerElsewhere(hub *transfertest.Hub, user transfer.UserID, id transfer.ID) {
	hub.Inject(transfer.Received{
		From:    transfer.Peer{User: user, Device: "OTHER"},
		Message: &transfer.Answer{ID: id, Lifetime: time.Hour, SDP: offerSDP},
	})
}

// postMany makes n offers, and waits until the exchange lists them.
func postMany(t testing.TB, hub *transfertest.Hub, m *transfertest.Member, n int) {
	t.Helper()
	for i := range n {
		post(hub, "@carol:test", transfer.ID(fmt.Sprint("many", i)), fmt.Sprintf("holiday %03d.jpeg", i))
	}
	eventually(t, "the offers", func() bool { return len(m.Exchange.Incoming()) == n })
}
