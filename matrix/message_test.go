package matrix_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/matrixfs/matrixfs/matrix/matrixtest"
	"github.com/matrixfs/matrixfs/transfer"
)

func TestSendAndReceive(t *testing.T) {
	p := newPair(t)
	mid, line := "0", uint16(0)
	ext := &transfer.Extension{Version: 1, Device: p.ac.Account().Device}
	messages := []transfer.Message{
		&transfer.Invite{
			ID: "t1", Lifetime: time.Minute, SDP: "v=0\r\n" + strings.Repeat("a=x\r\n", 3000), Ext: ext,
			File: transfer.FileInfo{Name: "example.doc", Size: 46144, MIMEType: "application/msword"},
		},
		&transfer.Invite{ID: "t2", Lifetime: time.Minute, SDP: "v=0", File: transfer.FileInfo{Name: "ünknown", Size: 1 << 52}},
		&transfer.Candidates{ID: "t1", Ext: ext, Candidates: []transfer.Candidate{
			{Candidate: "candidate:1 1 udp 1 127.0.0.1 9 typ host", SDPMid: &mid, SDPMLineIndex: &line},
		}},
		&transfer.Answer{ID: "t1", Lifetime: time.Minute, SDP: "v=0", Ext: ext},
		&transfer.Cancel{ID: "t1", Ext: ext},
		&transfer.Cancel{ID: "plain"},
	}
	for _, m := range messages {
		id := send(t, p.ac, p.room, m)
		for name, b := range map[string]*box{"alice": p.abox, "bob": p.bbox} {
			got := b.next()
			if got.Age < 0 || got.Age > soon {
				t.Errorf("%s: age is %v", name, got.Age)
			}
			got.Age = 0
			want := transfer.Received{Room: p.room, From: transfer.Peer{User: p.alice.ID()}, Event: id, Message: m}
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("%s received %+v, want %+v", name, got, want)
			}
		}
	}
}

// A peer's events are hostile; whatever is in them, the next good one arrives,
// now and after a restart.
func TestMalformedEvents(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	contents := []string{
		`{}`,
		`{"transfer_id": 5}`,
		`{"transfer_id": ""}`,
		`{"transfer_id": {"a": []}, "version": "x"}`,
		`{"transfer_id": "x", "offer": "sdp", "answer": 1, "candidates": {}}`,
		`{"transfer_id": "x", "lifetime": null, "info": [], "offer": {"sdp": null}, "answer": null, "candidates": [1]}`,
		fmt.Sprintf(`{"transfer_id": %q}`, strings.Repeat("x", 50000)),
		`{"transfer_id": "x", "m.relates_to": 7, "membership": 3}`,
	}
	for _, kind := range transfer.EventTypes {
		for _, content := range contents {
			if kind == transfer.EventCancel && strings.Contains(content, `"x"`) {
				continue // is a good cancel
			}
			if kind == transfer.EventCandidates && strings.Contains(content, `"membership"`) {
				continue // is a good list of no candidates
			}
			if _, err := p.alice.SendEvent(ctx, p.room, kind, json.RawMessage(content)); err != nil {
				t.Fatalf("%s %.60s: %v", kind, content, err)
			}
		}
	}
	// A room message and an unknown type of ours are none of the four.
	for _, kind := range []string{"m.room.message", "m.d2dfile.other"} {
		if _, err := p.alice.SendEvent(ctx, p.room, kind, map[string]any{"transfer_id": "x", "body": "x", "msgtype": "m.text"}); err != nil {
			t.Fatal(err)
		}
	}
	id := send(t, p.ac, p.room, cancelOf("good"))
	if got := p.bbox.next(); got.Event != id {
		t.Fatalf("received %+v", got)
	}
}

func TestReceivedWhileAway(t *testing.T) {
	p := newPair(t)
	dir := matrixtest.Login(t, p.bob, p.server.URL())
	c := matrixtest.Open(t, dir)
	b := start(t, c)
	before := send(t, p.ac, p.room, cancelOf("before"))
	if got := b.next(); got.Event != before {
		t.Fatalf("received %+v", got)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	sent := time.Now()
	id := send(t, p.ac, p.room, cancelOf("while away"))
	matrixtest.Eventually(t, soon, "two seconds have passed", func() bool { return time.Since(sent) > 2*time.Second })

	c = matrixtest.Open(t, dir)
	b = start(t, c)
	got := b.next()
	if got.Event != id {
		t.Fatalf("received %+v, want %s", got, id)
	}
	if got.Age < time.Second || got.Age > time.Since(sent)+time.Second {
		t.Errorf("age is %v, sent %v ago", got.Age, time.Since(sent))
	}
	after := send(t, p.ac, p.room, cancelOf("after"))
	if got := b.next(); got.Event != after {
		t.Fatalf("received %+v, want %s", got, after)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}

	c = matrixtest.Open(t, dir)
	b = start(t, c)
	last := send(t, p.ac, p.room, cancelOf("last"))
	if got := b.next(); got.Event != last {
		t.Fatalf("received again: %+v", got)
	}
}

// A new device learns of what is still alive.
func TestFirstSyncBringsOffers(t *testing.T) {
	p := newPair(t)
	id := send(t, p.ac, p.room, cancelOf("early"))
	c := matrixtest.Open(t, matrixtest.Login(t, p.bob, p.server.URL()))
	if got := start(t, c).next(); got.Event != id {
		t.Fatalf("received %+v", got)
	}
}

// More happened while away than one sync brings.
func TestGap(t *testing.T) {
	p := newPair(t)
	proxy := matrixtest.NewProxy(t, p.server.URL())
	dir := matrixtest.Login(t, p.bob, proxy.URL())
	c := matrixtest.Open(t, dir)
	start(t, c)
	send(t, p.ac, p.room, cancelOf("before"))
	p.bbox.next()
	matrixtest.Eventually(t, soon, "the other device is up to date", func() bool { return len(c.Rooms()) == 1 })
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	const n = 250
	for i := range n {
		send(t, p.ac, p.room, cancelOf(transfer.ID(fmt.Sprintf("n%d", i))))
		if i%50 == 0 { // what is not ours is in the way too
			if _, err := p.alice.SendEvent(t.Context(), p.room, "m.room.message", map[string]any{"body": "x", "msgtype": "m.text"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	// The homeserver fails at first.
	proxy.Answer(1, http.MethodGet, "/messages", http.StatusInternalServerError, `{"errcode":"M_UNKNOWN"}`)
	c = matrixtest.Open(t, dir)
	b := start(t, c)
	for i := range n {
		if got := b.next(); got.Message.Transfer() != transfer.ID(fmt.Sprintf("n%d", i)) {
			if got.Message.Transfer() == "before" && i == 0 {
				got = b.next() // it had not reached the disk yet
			}
			if want := transfer.ID(fmt.Sprintf("n%d", i)); got.Message.Transfer() != want {
				t.Fatalf("received %s, want %s", got.Message.Transfer(), want)
			}
		}
	}
	b.empty()
}

// Only what is used is asked for.
func TestFilter(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	proxy := matrixtest.NewProxy(t, p.server.URL())
	const secret = "nobody asked for this"
	say := func() {
		t.Helper()
		if _, err := p.alice.SendEvent(ctx, p.room, "m.room.message", map[string]any{"body": secret, "msgtype": "m.text"}); err != nil {
			t.Fatal(err)
		}
	}
	say()
	c := matrixtest.Open(t, matrixtest.Login(t, p.bob, proxy.URL()))
	b := start(t, c)
	say()
	if err := p.bob.API.SetAccountData(ctx, "org.example.other", map[string]any{"x": secret}); err != nil {
		t.Fatal(err)
	}
	event := send(t, p.ac, p.room, cancelOf("1"))
	if got := b.next(); got.Event != event {
		t.Fatalf("received %+v", got)
	}
	matrixtest.Eventually(t, soon, "the sync that brought it is logged", func() bool {
		for _, e := range proxy.Log("GET", "/sync") {
			if strings.Contains(e.Response, string(event)) {
				return true
			}
		}
		return false
	})
	for _, e := range proxy.Log("GET", "/sync") {
		if strings.Contains(e.Response, secret) || strings.Contains(e.Response, "m.room.message") ||
			strings.Contains(e.Response, "m.push_rules") {
			t.Errorf("a sync brought what is not used: %s", e.Response)
		}
	}
}
