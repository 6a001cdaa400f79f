package matrix

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/event"

	"github.com/matrixfs/matrixfs/transfer"
)

func TestAge(t *testing.T) {
	now := time.UnixMilli(1_000_000_000_000)
	tests := []struct {
		name     string
		sent     int64 // origin_server_ts
		unsigned int64
		want     time.Duration
	}{
		{"by our homeserver", now.UnixMilli() - 60_000, 1234, 1234 * time.Millisecond},
		{"by our homeserver, for an old one", now.UnixMilli() - 3_600_000, 1234, 45 * time.Minute},
		{"by the sender's clock", now.UnixMilli() - 2000, 0, 2 * time.Second},
		{"negative", now.UnixMilli() - 2000, -7, 2 * time.Second},
		{"from the future", now.UnixMilli() + 5000, 0, 0},
		{"far future", math.MaxInt64, 0, 0},
		{"far past", math.MinInt64 / 2, 0, maxAge},
		{"no time", 0, 0, maxAge},
		{"absurd", 5, math.MaxInt64, maxAge},
	}
	for _, tt := range tests {
		evt := &event.Event{Timestamp: tt.sent, Unsigned: event.Unsigned{Age: tt.unsigned}}
		if got := age(evt, now); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestLabel(t *testing.T) {
	const self = "@me:x"
	type people map[transfer.UserID]string
	tests := []struct {
		name, alias     string
		joined, invited people
		want            string
	}{
		{"Name", "#alias:x", people{"@a:x": "Alice"}, nil, "Name"},
		{"", "#alias:x", people{"@a:x": "Alice"}, nil, "#alias:x"},
		{"", "", people{self: "Me"}, nil, ""},
		{"", "", people{self: "Me", "@a:x": "Alice"}, nil, "Alice"},
		{"", "", people{self: "Me"}, people{"@a:x": ""}, "@a:x"},
		{"", "", people{self: "Me", "@a:x": "Alice"}, people{"@b:x": "Bob"}, "Alice and Bob"},
		{"", "", people{self: "Me", "@b:x": "Bob", "@a:x": "Alice", "@c:x": "Carol"}, nil, "Alice and 2 others"},
		{"", "", people{self: "Me", "@a:x": "Sam", "@b:x": "Sam"}, nil, "Sam (@a:x) and Sam (@b:x)"},
		{"", "", people{self: "Me", "@a:x": "@b:x", "@b:x": ""}, nil, "@b:x (@a:x) and @b:x"},
		{"", "", people{"@a:x": strings.Repeat("ä", 500)}, nil, strings.Repeat("ä", 127)},
	}
	for _, tt := range tests {
		r := newRoom("!r:x")
		r.name, r.alias = tt.name, tt.alias
		for user, name := range tt.joined {
			r.setMember(user, event.MembershipJoin, name)
		}
		for user, name := range tt.invited {
			r.setMember(user, event.MembershipInvite, name)
		}
		if got := r.label(self); got != tt.want {
			t.Errorf("label is %q, want %q", got, tt.want)
		}
	}
}

func TestCutLabel(t *testing.T) {
	for _, s := range []string{"", "a\xffb", strings.Repeat("\xff", 300), strings.Repeat("€", 300), strings.Repeat("a", 300)} {
		if got := cutLabel(s); !utf8.ValidString(got) || len(got) > maxLabel || s != "" && got == "" {
			t.Errorf("cutLabel(%q) is %q", s, got)
		}
	}
}

func TestParseDirect(t *testing.T) {
	type direct = map[transfer.RoomID]transfer.UserID
	tests := []struct {
		content string
		want    direct
	}{
		{`{"@b:x":["!1","!2"],"@a:x":["!2"]}`, direct{"!1": "@b:x", "!2": "@a:x"}},
		{`{"b":["!1"],"@c:x":5,"@d:x":["!3",5],"@e:x":null}`, direct{}},
		{`[]`, direct{}},
		{`{`, direct{}},
		{`{"@` + strings.Repeat("x", 300) + `":["!1"]}`, direct{}},
	}
	for _, tt := range tests {
		if got := parseDirect([]byte(tt.content)); !maps.Equal(got, tt.want) {
			t.Errorf("%.60s: %v, want %v", tt.content, got, tt.want)
		}
	}
}

func httpError(status int, header, body string) error {
	e := mautrix.HTTPError{Response: &http.Response{StatusCode: status, Header: http.Header{}}}
	e.Response.Header.Set("Retry-After", header)
	if body != "" {
		e.RespError = new(mautrix.RespError)
		_ = e.RespError.UnmarshalJSON([]byte(body))
	}
	return fmt.Errorf("wrapped: %w", e)
}

func TestRetryAfter(t *testing.T) {
	tests := []struct {
		name    string
		err     error
		want    time.Duration
		limited bool
	}{
		{"none", nil, 0, false},
		{"another error", errors.New("x"), 0, false},
		{"another status", httpError(503, "5", ""), 0, false},
		{"body", httpError(429, "5", `{"retry_after_ms":1500}`), 1500 * time.Millisecond, true},
		{"header", httpError(429, "5", `{}`), 5 * time.Second, true},
		{"no JSON", httpError(429, "5", ""), 5 * time.Second, true},
		{"date", httpError(429, "Wed, 21 Oct 2015 07:28:00 GMT", ""), time.Second, true},
		{"nothing", httpError(429, "", ""), time.Second, true},
		{"negative", httpError(429, "-5", `{"retry_after_ms":-1}`), time.Second, true},
		{"absurd", httpError(429, "", `{"retry_after_ms":1e300}`), maxRetryAfter, true},
		{"absurd header", httpError(429, "999999999", ""), maxRetryAfter, true},
		{"text", httpError(429, "", `{"retry_after_ms":"soon"}`), time.Second, true},
	}
	for _, tt := range tests {
		if got, limited := retryAfter(tt.err); got != tt.want || limited != tt.limited {
			t.Errorf("%s: %v, %v", tt.name, got, limited)
		}
	}
}

func TestTurnCacheTimes(t *testing.T) {
	now := time.Now()
	tests := []struct {
		name         string
		resp         *mautrix.RespTurnServer
		servers      int
		fresh, valid time.Duration
	}{
		{"usual", &mautrix.RespTurnServer{URIs: []string{"turn:x"}, TTL: 3600}, 1, 48 * time.Minute, time.Hour},
		{"none", nil, 0, 8 * time.Minute, noTurnTTL},
		{"empty", &mautrix.RespTurnServer{TTL: 5}, 0, 8 * time.Minute, noTurnTTL},
		{"no time", &mautrix.RespTurnServer{URIs: []string{"turns:x"}}, 1, 48 * time.Second, minTurnTTL},
		{"negative", &mautrix.RespTurnServer{URIs: []string{"turn:x"}, TTL: -9}, 1, 48 * time.Second, minTurnTTL},
		{"for ever", &mautrix.RespTurnServer{URIs: []string{"turn:x"}, TTL: math.MaxInt}, 1, maxTurnTTL / 5 * 4, maxTurnTTL},
		{"long password", &mautrix.RespTurnServer{URIs: []string{"turn:x"}, Password: strings.Repeat("x", 5000)}, 0, 8 * time.Minute, noTurnTTL},
	}
	for _, tt := range tests {
		var c turnCache
		c.keep(tt.resp, now)
		if len(c.servers) != tt.servers || c.refresh.Sub(now) != tt.fresh || c.expires.Sub(now) != tt.valid {
			t.Errorf("%s: %v, fresh %v, valid %v", tt.name, c.servers, c.refresh.Sub(now), c.expires.Sub(now))
		}
	}
	many := &mautrix.RespTurnServer{}
	for range 100 {
		many.URIs = append(many.URIs, "turn:x")
	}
	if got := turnURLs(many); len(got) != maxTurnURLs {
		t.Errorf("%d addresses", len(got))
	}
}

// What can't be stored is kept, and the token does not run ahead of it.
func TestUnsaved(t *testing.T) {
	ctx := t.Context()
	s, err := openStore(ctx, filepath.Join(t.TempDir(), storeName), true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}()
	if err := s.saveLogin(ctx, login{Account: Account{"http://x", "@a:x", "D"}, tokens: tokens{access: "t"}}); err != nil {
		t.Fatal(err)
	}
	c := &Client{store: s}
	disk := errors.New("disk full")
	var u unsaved
	u.add(func(ctx context.Context, s *store) error { return s.saveRoom(ctx, roomRow{id: "!1", name: "one"}) })
	u.add(func(context.Context, *store) error { return disk })
	if err := u.save(ctx, c, "s1"); !errors.Is(err, disk) {
		t.Fatalf("error is %v", err)
	}
	check := func(since string, rooms int) {
		t.Helper()
		l, err := s.loadLogin(ctx)
		if err != nil || l.since != since {
			t.Fatalf("token is %q, want %q (%v)", l.since, since, err)
		}
		if list, err := s.loadRooms(ctx); err != nil || len(list) != rooms {
			t.Fatalf("%d rooms, want %d (%v)", len(list), rooms, err)
		}
	}
	check("", 0)
	disk = nil
	if err := u.save(ctx, c, "s2"); err != nil {
		t.Fatal(err)
	}
	check("s2", 1)
	u.changes = make([]func(context.Context, *store) error, maxUnsaved)
	u.add(nil)
	if err := u.save(ctx, c, "s3"); !errors.Is(err, errUnsaved) || u.changes != nil {
		t.Fatalf("error is %v", err)
	}
	check("s2", 1)
}

// Room state that is malformed can be stored and read again.
func TestMalformedStateIsStored(t *testing.T) {
	ctx := t.Context()
	s, err := openStore(ctx, filepath.Join(t.TempDir(), storeName), true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}()
	var raw eventList
	for _, text := range []string{
		`{"type":"m.room.create","state_key":"","sender":"@x:y","content":{"room_version":12,"predecessor":"x","additional_creators":7}}`,
		`{"type":"m.room.encryption","state_key":"","content":{"algorithm":{},"rotation_period_ms":"x"}}`,
		`{"type":"m.room.join_rules","state_key":"","content":{"join_rule":7,"allow":"x"}}`,
		`{"type":"m.room.history_visibility","state_key":"","content":{"history_visibility":[]}}`,
		`{"type":"m.room.power_levels","state_key":"","content":{"users":{"@x:y":"100"},"events":5}}`,
		`{"type":"m.room.member","state_key":"@x:y","content":{"membership":"join","displayname":7}}`,
		`{"type":"m.room.name","state_key":"","content":{"name":[]}}`,
		`{"type":"m.room.canonical_alias","state_key":"","content":{"alias":{},"alt_aliases":1}}`,
		`{"type":"m.room.tombstone","state_key":"","content":{"body":1}}`,
	} {
		raw.Events = append(raw.Events, []byte(text))
	}
	r := newRoom("!r:y")
	for _, evt := range raw.decode("!r:y") {
		if r.apply(evt) {
			if err := s.saveState(ctx, evt); err != nil {
				t.Fatalf("%s: %v", evt.Type.Type, err)
			}
		}
	}
	if err := s.saveRoom(ctx, r.roomRow); err != nil {
		t.Fatal(err)
	}
	list, err := s.loadRooms(ctx)
	if err != nil || len(list) != 1 {
		t.Fatalf("%d rooms, %v", len(list), err)
	}
	for _, got := range []*room{r, list[0]} {
		if got.create == nil || !got.encrypted || !got.replaced || got.joinRule != "" || got.history != "unknown" ||
			got.levels != nil || len(got.joined) != 1 {
			t.Errorf("room is %+v", got)
		}
		if why := got.unsafe(policy{}); why != refusedCipher {
			t.Errorf("refused: %q", why)
		}
		got.encrypted = false
		if why := got.unsafe(policy{}); why != refusedUnknown {
			t.Errorf("refused: %q", why)
		}
	}
}

// The log has no secrets, whatever mautrix logs.
func TestLogHidesSecrets(t *testing.T) {
	var out bytes.Buffer
	log := newZerolog(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})))
	log.Warn().Str("method", "PUT").Str("url", "http://x/path?access_token=secret1").
		RawJSON("req_body", []byte(`{"sdp":"secret2"}`)).Str("other", "secret3").Int("status_code", 200).Msg("Request completed")
	if s := out.String(); strings.Contains(s, "secret") || !strings.Contains(s, "path=/path") || !strings.Contains(s, "level=DEBUG") {
		t.Fatalf("log is %s", s)
	}
	out.Reset()
	quiet := newZerolog(slog.New(slog.NewTextHandler(&out, nil)))
	quiet.Error().Msg("x")
	if out.Len() != 0 {
		t.Fatalf("log is %s", out.String())
	}
}

// A cancel is the only word a sender gets that its offer was declined: it is
// there for longer than the rest, which does not wait for it.
func TestCancelIsErasedLast(t *testing.T) {
	e := newEraser(nil)
	cancel := sentOf("$cancel", "!room", &transfer.Cancel{ID: "t"})
	e.enqueue(cancel)
	e.enqueue(sentOf("$invite", "!room", &transfer.Invite{ID: "t"}))
	first, ok := e.first()
	if !ok || first.id != "$invite" {
		t.Errorf("%s is redacted first", first.id)
	}
	if early := e.queue[0].due.Sub(first.due); early < 20*time.Second {
		t.Errorf("the cancel goes %v after the rest", early)
	}
}
