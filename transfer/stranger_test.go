package transfer_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/matrixfs/matrixfs/transfer"
)

// stranger is a client that knows MSC2354 and nothing of matrixfs: pion as it
// comes, candidates trickled one event at a time.
type stranger struct {
	t  *testing.T
	h  *house
	id transfer.ID
	pc *webrtc.PeerConnection
}

const strangerUser = "@stranger:test"

func newStranger(t *testing.T, h *house, id transfer.ID, maxMessage uint32) *stranger {
	var s webrtc.SettingEngine
	s.SetIncludeLoopbackCandidate(true)
	s.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() })
	if maxMessage > 0 {
		s.SetSCTPMaxMessageSize(maxMessage)
	}
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(s)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.GracefulClose() })
	return &stranger{t, h, id, pc}
}

func (s *stranger) say(m transfer.Message) {
	s.h.Inject(transfer.Received{From: transfer.Peer{User: strangerUser}, Message: m})
}

// trickle sends each candidate in an event of its own, twice, with a broken
// one between.
func (s *stranger) trickle(c *webrtc.ICECandidate) {
	if c == nil {
		s.say(&transfer.Candidates{ID: s.id, Candidates: []transfer.Candidate{{Candidate: ""}}})
		return
	}
	k := c.ToJSON()
	mine := transfer.Candidate{Candidate: k.Candidate, SDPMid: k.SDPMid, SDPMLineIndex: k.SDPMLineIndex}
	for range 2 {
		s.say(&transfer.Candidates{ID: s.id, Candidates: []transfer.Candidate{mine}})
		s.say(&transfer.Candidates{ID: s.id, Candidates: []transfer.Candidate{{Candidate: "candidate:nonsense"}}})
	}
}

// hear calls f for every message of the others, until the test ends.
func (s *stranger) hear(f func(transfer.Received)) {
	stop := make(chan struct{})
	done := make(chan struct{})
	s.t.Cleanup(func() { close(stop); <-done })
	go func() {
		defer close(done)
		seen := 0
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			for log := s.h.Log(); seen < len(log); seen++ {
				if r := log[seen]; r.From.User != strangerUser && r.Message.Transfer() == s.id {
					f(r)
				}
			}
		}
	}()
}

func (s *stranger) take(list []transfer.Candidate) {
	for _, c := range list {
		if err := s.pc.AddICECandidate(webrtc.ICECandidateInit{
			Candidate: c.Candidate, SDPMid: c.SDPMid, SDPMLineIndex: c.SDPMLineIndex}); err != nil {
			s.t.Error(err)
		}
	}
}

// receive answers the offer in, and gives what came once the channel closed,
// or when size bytes are here.
func (s *stranger) receive(size int) <-chan [][]byte {
	return s.receiveWith(size, func(webrtc.DataChannelMessage) {})
}

// receiveWith does the same, and calls f with each message first.
func (s *stranger) receiveWith(size int, f func(webrtc.DataChannelMessage)) <-chan [][]byte {
	var got [][]byte
	total := 0
	result := make(chan [][]byte, 1)
	s.pc.OnDataChannel(func(dc *webrtc.DataChannel) {
		dc.OnMessage(func(m webrtc.DataChannelMessage) {
			f(m)
			got = append(got, append([]byte(nil), m.Data...))
			if total += len(m.Data); size > 0 && total == size {
				dc.Close()
			}
		})
		dc.OnClose(func() { result <- got })
	})
	s.pc.OnICECandidate(s.trickle) // before the answer, too
	s.hear(func(r transfer.Received) {
		switch m := r.Message.(type) {
		case *transfer.Invite:
			if err := s.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: m.SDP}); err != nil {
				s.t.Error(err)
			}
			answer, err := s.pc.CreateAnswer(nil)
			if err != nil {
				s.t.Error(err)
			}
			if err := s.pc.SetLocalDescription(answer); err != nil {
				s.t.Error(err)
			}
			s.say(&transfer.Answer{ID: s.id, Lifetime: time.Minute, SDP: answer.SDP})
		case *transfer.Candidates:
			s.take(m.Candidates)
		}
	})
	return result
}

func TestStrangerReceives(t *testing.T) {
	for _, c := range []struct {
		known      bool
		maxMessage uint32
	}{{true, 0}, {false, 0}, {true, 1200}, {false, 16384}} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			h := newHouse(t, nil)
			want := content(2_000_000)
			o, err := h.alice.Exchange.Offer(h.Room, "a.bin")
			if err != nil {
				t.Fatal(err)
			}
			size := 0
			if c.known {
				size = len(want)
				o.SetSize(int64(size))
			}
			got := newStranger(t, h, o.ID(), c.maxMessage).receive(size)
			if err := write(h.ctx, o, want); err != nil {
				t.Fatal(err)
			}
			if err := o.Sync(h.ctx); err != nil {
				t.Fatal(err)
			}
			wantErr(t, "Finish", o.Finish(h.ctx), nil)
			messages := <-got
			if !bytes.Equal(bytes.Join(messages, nil), want) {
				t.Error("not what was sent")
			}
			limit := 64 << 10
			if c.maxMessage > 0 {
				limit = int(c.maxMessage)
			}
			for _, m := range messages {
				if len(m) > limit {
					t.Fatalf("a message of %d bytes to a peer that takes %d", len(m), limit)
				}
			}
		})
	}
}

// TestStrangerTakesCrumbs: a peer that takes messages of a few bytes only
// would cost memory without bound.
func TestStrangerTakesCrumbs(t *testing.T) {
	h := newHouse(t, nil)
	o, err := h.alice.Exchange.Offer(h.Room, "a.bin")
	if err != nil {
		t.Fatal(err)
	}
	newStranger(t, h, o.ID(), 100).receive(0)
	if err := write(h.ctx, o, content(1000)); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "Finish", o.Finish(h.ctx), transfer.ErrLost)
}

// send offers a file and calls f with the channel once it is open.
func (s *stranger) send(size int64, f func(*webrtc.DataChannel)) { s.sendOver(nil, size, f) }

// sendOver does the same over a channel of a given kind.
func (s *stranger) sendOver(kind *webrtc.DataChannelInit, size int64, f func(*webrtc.DataChannel)) {
	dc, err := s.pc.CreateDataChannel("any label", kind)
	if err != nil {
		s.t.Fatal(err)
	}
	dc.OnOpen(func() { f(dc) })
	s.pc.OnICECandidate(s.trickle)
	offer, err := s.pc.CreateOffer(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.pc.SetLocalDescription(offer); err != nil {
		s.t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(s.pc)
	<-gathered // some candidates are out before the invite
	s.say(&transfer.Invite{ID: s.id, Lifetime: time.Minute, SDP: offer.SDP, File: transfer.FileInfo{Name: "b.bin", Size: size}})
	s.hear(func(r transfer.Received) {
		switch m := r.Message.(type) {
		case *transfer.Answer:
			if err := s.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: m.SDP}); err != nil {
				s.t.Error(err)
			}
		case *transfer.Candidates:
			s.take(m.Candidates)
		}
	})
}

// TestStrangerSends has a plain peer send, well and not so well.
func TestStrangerSends(t *testing.T) {
	want := content(1_000_000)
	pieces := func(dc *webrtc.DataChannel, p []byte) {
		for len(p) > 0 {
			n := min(16000, len(p))
			if err := dc.Send(p[:n]); err != nil {
				t.Error(err)
			}
			p = p[n:]
		}
	}
	for _, c := range []struct {
		name string
		size int64
		send func(*webrtc.PeerConnection, *webrtc.DataChannel)
		want error
	}{
		{"size known", 1_000_000, func(_ *webrtc.PeerConnection, dc *webrtc.DataChannel) { pieces(dc, want) }, nil},
		{"size unknown", -1, func(_ *webrtc.PeerConnection, dc *webrtc.DataChannel) { pieces(dc, want); dc.Close() }, nil},
		{"empty message between", -1, func(_ *webrtc.PeerConnection, dc *webrtc.DataChannel) {
			pieces(dc, want[:16000])
			dc.Send(nil)
			pieces(dc, want[16000:])
			dc.Close()
		}, nil},
		{"too short", 1_000_001, func(_ *webrtc.PeerConnection, dc *webrtc.DataChannel) { pieces(dc, want); dc.Close() }, transfer.ErrShort},
		{"too long", 999_999, func(_ *webrtc.PeerConnection, dc *webrtc.DataChannel) { pieces(dc, want) }, transfer.ErrTooLong},
		{"lost, size unknown", -1, func(pc *webrtc.PeerConnection, dc *webrtc.DataChannel) { pieces(dc, want); pc.Close() }, transfer.ErrLost},
		{"lost, size known", 1_000_001, func(pc *webrtc.PeerConnection, dc *webrtc.DataChannel) { pieces(dc, want); pc.Close() }, transfer.ErrLost},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHouse(t, nil)
			s := newStranger(t, h, "stranger's", 0)
			s.send(c.size, func(dc *webrtc.DataChannel) { c.send(s.pc, dc) })
			in := awaitOffer(t, h.bob.Exchange)
			got, err := readAll(h.ctx, in)
			wantErr(t, "reading", err, c.want)
			if c.want == nil && !bytes.Equal(got, want) {
				t.Errorf("%d bytes, not what was sent", len(got))
			}
			if errors.Is(err, io.EOF) {
				t.Error("the end of a file that is not whole")
			}
		})
	}
}

// TestStrangerMessageTooLarge: more in one message than we said we take.
func TestStrangerMessageTooLarge(t *testing.T) {
	h := newHouse(t, nil)
	s := newStranger(t, h, "stranger's", 0)
	refused := make(chan error, 1)
	s.send(10<<20, func(dc *webrtc.DataChannel) { refused <- dc.Send(make([]byte, 1<<20)) })
	in := awaitOffer(t, h.bob.Exchange)
	if err := in.Accept(); err != nil {
		t.Fatal(err)
	}
	// pion keeps to what our SDP says.
	if err := <-refused; err == nil {
		t.Error("our SDP does not bound the messages")
	}
}

// TestUnreliableChannel: a channel that may lose bytes carries no file.
func TestUnreliableChannel(t *testing.T) {
	h := newHouse(t, nil)
	s := newStranger(t, h, "stranger's", 0)
	ordered, none := false, uint16(0)
	s.sendOver(&webrtc.DataChannelInit{Ordered: &ordered, MaxRetransmits: &none}, 10, func(*webrtc.DataChannel) {})
	_, err := readAll(h.ctx, awaitOffer(t, h.bob.Exchange))
	wantErr(t, "reading", err, transfer.ErrLost)
}
