package transfer

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// The examples of MSC2354, as they stand there but for the cut SDP.
const (
	mscInvite = `{"transfer_id":"12345","lifetime":60000,"filename":"example.doc",
		"info":{"mimetype":"application/msword","size":46144},
		"offer":{"sdp":"v=0\r\no=- 6584580628695956864 2 IN IP4 127.0.0.1","type":"offer"},"version":0}`
	mscCandidates = `{"transfer_id":"12345","candidates":[{"candidate":
		"candidate:863018703 1 tcp 2122260223 10.9.64.156 43670 typ host generation 0",
		"sdpMLineIndex":0,"sdpMid":"0"}],"version":0}`
	mscAnswer = `{"answer":{"sdp":"v=0\r\no=- 6584580628695956864 2 IN IP4 127.0.0.1","type":"answer"},
		"transfer_id":"12345","lifetime":60000,"version":0}`
	mscCancel = `{"transfer_id":"12345","version":0}`
	mscSDP    = "v=0\r\no=- 6584580628695956864 2 IN IP4 127.0.0.1"
)

func TestDecodeExamples(t *testing.T) {
	mid, line := "0", uint16(0)
	for _, c := range []struct {
		eventType, raw string
		want           Message
	}{
		{EventInvite, mscInvite, &Invite{ID: "12345", Lifetime: time.Minute, SDP: mscSDP,
			File: FileInfo{Name: "example.doc", Size: 46144, MIMEType: "application/msword"}}},
		{EventCandidates, mscCandidates, &Candidates{ID: "12345", Candidates: []Candidate{{
			"candidate:863018703 1 tcp 2122260223 10.9.64.156 43670 typ host generation 0", &mid, &line}}}},
		{EventAnswer, mscAnswer, &Answer{ID: "12345", Lifetime: time.Minute, SDP: mscSDP}},
		{EventCancel, mscCancel, &Cancel{ID: "12345"}},
	} {
		got, err := DecodeMessage(c.eventType, []byte(c.raw))
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v", c.eventType, got, err)
		}
		// What we send has the keys of the MSC, and only those.
		var theirs, ours map[string]any
		raw, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		_ = json.Unmarshal([]byte(c.raw), &theirs)
		_ = json.Unmarshal(raw, &ours)
		if !reflect.DeepEqual(theirs, ours) {
			t.Errorf("%s is written as %s", c.eventType, raw)
		}
	}
}

func TestDecodeLeniently(t *testing.T) {
	sdp := `"offer":{"sdp":"x"}`
	for _, c := range []struct {
		raw      string
		size     int64
		mime     string
		lifetime time.Duration
	}{
		{`{"transfer_id":"1",` + sdp + `}`, -1, "", DefaultLifetime},
		{`{"transfer_id":"1","unknown":[1,{}],"lifetime":1e3,` + sdp + `}`, -1, "", time.Second},
		{`{"transfer_id":"1","lifetime":1500.5,"info":{"size":5.0},` + sdp + `}`, 5, "", 1500500 * time.Microsecond},
		{`{"transfer_id":"1","lifetime":-1,"info":{"size":-5},` + sdp + `}`, -1, "", DefaultLifetime},
		{`{"transfer_id":"1","lifetime":"soon","info":{"size":"5","mimetype":"a/b"},` + sdp + `}`, -1, "a/b", DefaultLifetime},
		{`{"transfer_id":"1","lifetime":1e300,"info":{"size":1e300,"mimetype":5},` + sdp + `}`, -1, "", MaxLifetime},
		{`{"transfer_id":"1","info":"none","version":"1",` + sdp + `}`, -1, "", DefaultLifetime},
		{`{"transfer_id":"1","info":{"size":9007199254740991},` + sdp + `}`, 1<<53 - 1, "", DefaultLifetime},
		{`{"transfer_id":"1","dev.matrixfs.d2d":"?",` + sdp + `}`, -1, "", DefaultLifetime},
	} {
		m, err := DecodeMessage(EventInvite, []byte(c.raw))
		if err != nil {
			t.Errorf("%s: %v", c.raw, err)
			continue
		}
		in := m.(*Invite)
		if in.File.Size != c.size || in.File.MIMEType != c.mime || in.Lifetime != c.lifetime || in.Ext != nil {
			t.Errorf("%s: %+v", c.raw, in)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	many := strings.Repeat(`{"candidate":"c"},`, maxCandidates) + `{"candidate":"c"}`
	for _, c := range []struct{ eventType, raw string }{
		{EventInvite, ``},
		{EventInvite, `[]`},
		{EventInvite, `{"transfer_id":"1"}`},
		{EventInvite, `{"offer":{"sdp":"x"}}`},
		{EventInvite, `{"transfer_id":7,"offer":{"sdp":"x"}}`},
		{EventInvite, `{"transfer_id":"1","offer":{"sdp":""}}`},
		{EventInvite, `{"transfer_id":"` + strings.Repeat("1", maxID+1) + `","offer":{"sdp":"x"}}`},
		{EventInvite, `{"transfer_id":"1","offer":{"sdp":"` + strings.Repeat("x", maxSDP+1) + `"}}`},
		{EventInvite, `{"transfer_id":"1","filename":"` + strings.Repeat("x", maxFilename+1) + `","offer":{"sdp":"x"}}`},
		{EventInvite, `{"transfer_id":"1","offer":{"sdp":"x"},"pad":"` + strings.Repeat("x", maxContent) + `"}`},
		{EventAnswer, `{"transfer_id":"1","offer":{"sdp":"x"}}`},
		{EventAnswer, `{"transfer_id":"1","answer":{"sdp":"` + strings.Repeat("x", maxSDP+1) + `"}}`},
		{EventCandidates, `{"transfer_id":"1","candidates":[` + many + `]}`},
		{EventCandidates, `{"transfer_id":"1","candidates":[{"candidate":"` + strings.Repeat("c", maxCandidate+1) + `"}]}`},
		{"m.room.message", `{"transfer_id":"1"}`},
	} {
		m, err := DecodeMessage(c.eventType, []byte(c.raw))
		if !errors.Is(err, ErrMessage) {
			t.Errorf("%s %.80s: %v, %v", c.eventType, c.raw, m, err)
		}
	}
}

func TestExtensionRoundTrip(t *testing.T) {
	want := &Candidates{ID: "1", Candidates: []Candidate{}, Ext: &Extension{Version: 1, Device: "DEV",
		Chosen: &Chosen{User: "@bob:test", Device: "PHONE", Event: "$1"}}}
	raw, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeMessage(EventCandidates, raw)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%s reads back as %+v, %v", raw, got, err)
	}
}

// FuzzDecodeMessage: whatever an event holds, decoding does not panic, keeps
// the limits, and what was decoded survives being sent on.
func FuzzDecodeMessage(f *testing.F) {
	f.Fuzz(func(t *testing.T, kind byte, raw []byte) {
		eventType := EventTypes[int(kind)%len(EventTypes)]
		m, err := DecodeMessage(eventType, raw)
		if err != nil {
			if !errors.Is(err, ErrMessage) {
				t.Fatalf("an error of another kind: %v", err)
			}
			return
		}
		if m.EventType() != eventType || m.Transfer() == "" || len(m.Transfer()) > maxID {
			t.Fatalf("decoded as %+v", m)
		}
		if in, ok := m.(*Invite); ok {
			if in.Lifetime <= 0 || in.Lifetime > MaxLifetime || in.File.Size < -1 || len(in.SDP) > maxSDP {
				t.Fatalf("limits not kept: %+v", in)
			}
			_ = checkOffer(in.SDP)
		}
		again, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := DecodeMessage(eventType, again); err != nil && len(again) <= maxContent {
			t.Fatalf("%s does not read back: %v", again, err)
		}
	})
}

func TestSeedsExist(t *testing.T) {
	seeds, err := filepath.Glob("testdata/fuzz/FuzzDecodeMessage/*")
	if err != nil || len(seeds) < 4 {
		t.Errorf("%d seeds, %v; want one for each event at least", len(seeds), err)
	}
	for _, s := range seeds {
		if b, err := os.ReadFile(s); err != nil || !strings.HasPrefix(string(b), "go test fuzz v1\n") {
			t.Errorf("%s is no seed: %v", s, err)
		}
	}
}
