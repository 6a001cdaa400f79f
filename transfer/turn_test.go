package transfer_test

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/pion/turn/v5"

	"github.com/matrixfs/matrixfs/transfer"
	"github.com/matrixfs/matrixfs/transfer/transfertest"
)

// withTURN is a signaller whose homeserver has TURN servers.
type withTURN struct {
	transfer.Signaller
	servers []transfer.TURNServer
}

func (s withTURN) TURNServers(context.Context) ([]transfer.TURNServer, error) { return s.servers, nil }

// startTURN runs a TURN server on loopback that hands out credentials as a
// homeserver does.
func startTURN(t *testing.T) transfer.TURNServer {
	const secret = "secret"
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, err := turn.NewServer(turn.ServerConfig{
		Realm:       "test",
		AuthHandler: turn.LongTermTURNRESTAuthHandler(secret, nil),
		PacketConnConfigs: []turn.PacketConnConfig{{
			PacketConn: conn,
			RelayAddressGenerator: &turn.RelayAddressGeneratorStatic{
				RelayAddress: net.IPv4(127, 0, 0, 1), Address: "127.0.0.1"},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	user, password, err := turn.GenerateLongTermTURNRESTCredentials(secret, "alice", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return transfer.TURNServer{URLs: []string{"turn:" + conn.LocalAddr().String() + "?transport=udp", "nonsense:"},
		Username: user, Password: password}
}

// TestRelayOnly: no address of the device is shown, and the file goes through
// the TURN server. Without one there is no connection.
func TestRelayOnly(t *testing.T) {
	server := startTURN(t)
	hub := transfertest.NewHub(t)
	h := &house{hub, hub.Join(t, "@alice:test", "ALICE", func(c *transfer.Config) {
		c.RelayOnly = true
		c.Signaller = withTURN{c.Signaller, []transfer.TURNServer{server}}
	}), hub.Join(t, "@bob:test", "BOB", nil), testContext(t)}
	want := content(100_000)
	o, done := h.offer(t, want)
	in := awaitOffer(t, h.bob.Exchange)
	got, err := readAll(h.ctx, in)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	wantErr(t, "Finish", <-done, nil)
	if o.Status().Path != "relayed" || in.Status().Path != "relayed" {
		t.Errorf("paths: %q, %q", o.Status().Path, in.Status().Path)
	}
	await(t, h.alice.Exchange, "the candidates", func() bool { return h.count(transfer.EventCandidates) > 0 })
	for _, r := range h.Log() {
		if m, ok := r.Message.(*transfer.Candidates); ok {
			for _, c := range m.Candidates {
				if !strings.Contains(c.Candidate, " typ relay") || strings.Contains(c.Candidate, "raddr 127") {
					t.Errorf("an address is shown: %s", c.Candidate)
				}
			}
		}
	}

	// The other way round, with the answer's description.
	h.alice, h.bob = h.bob, h.alice
	back, done := h.offer(t, want)
	if _, err := readAll(h.ctx, awaitOffer(t, h.bob.Exchange)); err != nil {
		t.Error(err)
	}
	wantErr(t, "Finish", <-done, nil)
	for _, r := range h.Log() {
		if m, ok := r.Message.(*transfer.Answer); ok && m.ID == back.ID() {
			if strings.Contains(m.SDP, "typ host") || strings.Contains(m.SDP, "raddr 127") || !strings.Contains(m.SDP, "typ relay") {
				t.Errorf("an address is shown, or none at all:\n%s", m.SDP)
			}
		}
	}

	// Without a TURN server.
	h.alice = h.Join(t, "@carol:test", "CAROL", func(c *transfer.Config) { c.RelayOnly = true })
	_, done = h.offer(t, want)
	var offer *transfer.Incoming
	await(t, h.bob.Exchange, "carol's offer", func() bool {
		list := h.bob.Exchange.Incoming()
		offer = list[len(list)-1]
		return offer.Status().Peer == h.alice.Self
	})
	if err := offer.Accept(); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "Finish", <-done, transfer.ErrLost)
}

// TestTURN: the candidates of both sides include a relayed one, and the file
// arrives.
func TestTURN(t *testing.T) {
	server := startTURN(t)
	relay := func(c *transfer.Config) { c.Signaller = withTURN{c.Signaller, []transfer.TURNServer{server}} }
	hub := transfertest.NewHub(t)
	h := &house{hub, hub.Join(t, "@alice:test", "ALICE", relay), hub.Join(t, "@bob:test", "BOB", relay), testContext(t)}
	want := content(100_000)
	_, done := h.offer(t, want)
	got, err := readAll(h.ctx, awaitOffer(t, h.bob.Exchange))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	wantErr(t, "Finish", <-done, nil)
	await(t, h.alice.Exchange, "both sides' candidates", func() bool { return h.count(transfer.EventCandidates) > 0 })
	relayed := []byte(" typ relay")
	for _, r := range h.Log() {
		switch m := r.Message.(type) {
		case *transfer.Invite:
			if bytes.Contains([]byte(m.SDP), []byte("a=candidate")) {
				t.Error("the invite shows addresses before anybody accepted")
			}
		case *transfer.Answer:
			if !bytes.Contains([]byte(m.SDP), relayed) {
				t.Errorf("no relayed candidate in the answer:\n%s", m.SDP)
			}
		case *transfer.Candidates:
			found := false
			for _, c := range m.Candidates {
				found = found || bytes.Contains([]byte(c.Candidate), relayed)
			}
			if !found {
				t.Errorf("no relayed candidate in %+v", m.Candidates)
			}
		}
	}
}
