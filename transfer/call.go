package transfer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"
)

const (
	// gatherWait is how long a description waits for slow candidates (a TURN
	// server far away, or dead). Those of the device itself take no time.
	gatherWait = 2 * time.Second
	// connectWait is how long two devices try to reach each other.
	connectWait = 30 * time.Second
	// iceDisconnected and iceFailed together are how long a peer may be
	// silent before it counts as lost; iceKeepAlive is how often each side
	// says that it is there.
	iceDisconnected = 5 * time.Second
	iceFailed       = 10 * time.Second
	iceKeepAlive    = 1 * time.Second
	// relayWait gives a direct path a head start over a relayed one; pion's
	// two seconds would be felt.
	relayWait = 500 * time.Millisecond
)

// dialler makes calls. It is safe for concurrent use.
type dialler struct {
	// loopback: use the addresses of this machine alone.
	loopback bool
	// relayOnly: show the peer the addresses of TURN servers alone.
	relayOnly bool
}

// config is the part of pion's configuration that does not change.
func (d *dialler) config() webrtc.Configuration {
	if d.relayOnly {
		return webrtc.Configuration{ICETransportPolicy: webrtc.ICETransportPolicyRelay}
	}
	return webrtc.Configuration{}
}

// api prepares pion for one call: the network is looked at afresh, since a
// laptop moves.
func (d *dialler) api() *webrtc.API {
	var s webrtc.SettingEngine
	s.DetachDataChannels()
	s.SetSCTPMaxMessageSize(maxMessage)
	s.EnableSCTPZeroChecksum(true)
	s.SetICETimeouts(iceDisconnected, iceFailed, iceKeepAlive)
	// These waits help pick a better pair; after an answer that carries all
	// candidates they only delay.
	s.SetSrflxAcceptanceMinWait(0)
	s.SetPrflxAcceptanceMinWait(0)
	s.SetRelayAcceptanceMinWait(relayWait)
	if d.relayOnly {
		s.SetRelayAcceptanceMinWait(0)
	}
	s.LoggerFactory = quiet{}
	if n, err := newRoomyNet(); err == nil { // else pion looks for itself, and says what fails
		s.SetNet(n)
	}
	if d.loopback {
		s.SetIncludeLoopbackCandidate(true)
		s.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() })
		s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	}
	return webrtc.NewAPI(webrtc.WithSettingEngine(s))
}

// call is one attempt to connect to a peer: a peer connection with one data
// channel. Its owner must close it.
type call struct {
	pc     *webrtc.PeerConnection
	config webrtc.Configuration

	opened   chan struct{}  // closed with the link set
	gathered chan struct{}  // closed when all candidates are known
	gone     chan struct{}  // closed when the connection has ended
	users    sync.WaitGroup // goroutines that use the link until it ends

	mu         sync.Mutex // guards all below
	link       *rtcLink
	err        error // why no link can come
	candidates []Candidate
	remoteSet  bool // the peer's description is in; candidates may follow
	early      []Candidate
	remote     []string // the candidates that the peer has sent
	closed     bool
}

func (d *dialler) newCall() (*call, error) {
	pc, err := d.api().NewPeerConnection(d.config())
	if err != nil {
		return nil, err
	}
	c := &call{pc: pc, config: d.config(), opened: make(chan struct{}), gathered: make(chan struct{}), gone: make(chan struct{})}
	var gathered, gone sync.Once
	pc.OnICECandidate(func(k *webrtc.ICECandidate) {
		if k == nil {
			gathered.Do(func() { close(c.gathered) })
			return
		}
		init := k.ToJSON()
		c.mu.Lock()
		defer c.mu.Unlock()
		c.candidates = append(c.candidates, Candidate{c.conceal(init.Candidate), init.SDPMid, init.SDPMLineIndex})
	})
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateFailed || s == webrtc.PeerConnectionStateClosed {
			gone.Do(func() { close(c.gone) })
		}
	})
	return c, nil
}

// offer makes a call and the description that invites to it. The description
// has no candidates, and no packet leaves before the answer: an offer that
// nobody accepts shows nobody our address, and holds no port.
func (d *dialler) offer() (*call, string, error) {
	c, err := d.newCall()
	if err != nil {
		return nil, "", err
	}
	dc, err := c.pc.CreateDataChannel("file", nil)
	if err != nil {
		c.close()
		return nil, "", err
	}
	c.adopt(dc)
	desc, err := c.pc.CreateOffer(nil)
	if err != nil {
		c.close()
		return nil, "", err
	}
	return c, desc.SDP, nil
}

// checkAnswer reports whether an answer is one that can be taken at all, so
// that a bad one does not use up the offer.
func checkAnswer(sdp string) error {
	return checkDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: sdp})
}

// checkOffer does the same for an offer.
func checkOffer(sdp string) error {
	return checkDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: sdp})
}

func checkDescription(d webrtc.SessionDescription) error {
	parsed, err := d.Unmarshal()
	if err != nil {
		return fmt.Errorf("%w: %v", ErrMessage, err)
	}
	_, fingerprint := parsed.Attribute("fingerprint")
	application := 0
	for _, m := range parsed.MediaDescriptions {
		if m.MediaName.Media == "application" {
			application++
		}
		if _, ok := m.Attribute("fingerprint"); ok {
			fingerprint = true
		}
	}
	if application != 1 || !fingerprint {
		return fmt.Errorf("%w: a description without a data channel", ErrMessage)
	}
	return nil
}

// answered takes the answer to the offer that sdp was made for, and starts to
// gather and to connect.
func (c *call) answered(offer, answer string, servers []TURNServer) error {
	if err := c.use(servers); err != nil {
		return err
	}
	if err := c.pc.SetLocalDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return err
	}
	return c.setRemote(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer})
}

// answer makes a call that answers an offer, and starts to gather. The caller
// awaits gather and sends description.
func (d *dialler) answer(offer string, servers []TURNServer) (*call, error) {
	c, err := d.newCall()
	if err != nil {
		return nil, err
	}
	c.pc.OnDataChannel(func(dc *webrtc.DataChannel) { c.adopt(dc) })
	err = c.use(servers)
	if err == nil {
		err = c.setRemote(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer})
	}
	if err == nil {
		var desc webrtc.SessionDescription
		if desc, err = c.pc.CreateAnswer(nil); err == nil {
			err = c.pc.SetLocalDescription(desc)
		}
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// use sets the TURN servers. One that pion can't use is left out: the others
// may do.
func (c *call) use(servers []TURNServer) error {
	conf := c.config
	for _, s := range servers {
		for _, url := range s.URLs {
			server := webrtc.ICEServer{URLs: []string{url}, Username: s.Username, Credential: s.Password}
			try := c.config
			try.ICEServers = []webrtc.ICEServer{server}
			if c.pc.SetConfiguration(try) == nil {
				conf.ICEServers = append(conf.ICEServers, server)
			}
		}
	}
	return c.pc.SetConfiguration(conf)
}

// adopt takes the first channel that is ordered and reliable, whatever its
// label; the transfer has no use for others.
func (c *call) adopt(dc *webrtc.DataChannel) {
	dc.OnOpen(func() {
		raw, err := dc.Detach()
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.link != nil || c.err != nil {
			return
		}
		ch, ok := raw.(channel)
		switch {
		case err != nil:
			c.err = err
		case !ok || !dc.Ordered() || dc.MaxRetransmits() != nil || dc.MaxPacketLifeTime() != nil:
			c.err = errors.New("the peer's data channel is not ordered and reliable")
		default:
			// RFC 8841 section 6.1: 64 KiB where the peer gives no size.
			size := min(int(c.pc.SCTP().GetCapabilities().MaxMessageSize), 64<<10)
			if size < minMessage {
				c.err = fmt.Errorf("the peer takes messages of %d bytes only", size)
				break
			}
			c.link = &rtcLink{channel: ch, max: size}
		}
		close(c.opened)
	})
}

// gather waits until every candidate of this device is known, gatherWait at
// most, and gives them.
func (c *call) gather(ctx context.Context) []Candidate {
	timer := time.NewTimer(gatherWait)
	defer timer.Stop()
	select {
	case <-c.gathered:
	case <-timer.C:
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Candidate(nil), c.candidates...)
}

// description is the local one, with the candidates known so far.
func (c *call) description() string { return c.conceal(c.pc.LocalDescription().SDP) }

// related is the part of a candidate that tells which address of the device
// is behind the one that is shown (RFC 8839 section 5.1).
var related = regexp.MustCompile(`raddr \S+ rport \d+`)

// conceal takes that part out of candidates where only relays are to be seen;
// RFC 8839 section 5.1 says what to put in its place.
func (c *call) conceal(sdp string) string {
	if c.config.ICETransportPolicy != webrtc.ICETransportPolicyRelay {
		return sdp
	}
	return related.ReplaceAllString(sdp, "raddr 0.0.0.0 rport 0")
}

func (c *call) setRemote(d webrtc.SessionDescription) error {
	if err := c.pc.SetRemoteDescription(d); err != nil {
		return err
	}
	c.mu.Lock()
	early := c.early
	c.early, c.remoteSet = nil, true
	for line := range strings.Lines(d.SDP) {
		if candidate, ok := strings.CutPrefix(line, "a=candidate"); ok && len(c.remote) < maxCandidates {
			c.remote = append(c.remote, candidate)
		}
	}
	c.mu.Unlock()
	for _, k := range early {
		c.add(k)
	}
	return nil
}

// add takes a candidate of the peer, at any time. A bad one is dropped: the
// others may do.
func (c *call) add(k Candidate) {
	c.mu.Lock()
	if len(c.remote) < maxCandidates {
		c.remote = append(c.remote, k.Candidate)
	}
	if !c.remoteSet {
		if len(c.early) < maxCandidates {
			c.early = append(c.early, k)
		}
		c.mu.Unlock()
		return
	}
	c.mu.Unlock()
	_ = c.pc.AddICECandidate(webrtc.ICECandidateInit{
		Candidate: k.Candidate, SDPMid: k.SDPMid, SDPMLineIndex: k.SDPMLineIndex})
}

// open waits until the data channel is open. Its error is the context's cause,
// or wraps ErrLost.
func (c *call) open(ctx context.Context) (link, error) {
	timer := time.NewTimer(connectWait)
	defer timer.Stop()
	select {
	case <-c.opened:
	case <-c.gone:
		return nil, fmt.Errorf("%w: no path between the devices works", ErrLost)
	case <-timer.C:
		return nil, fmt.Errorf("%w: no connection within %v", ErrLost, connectWait)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, fmt.Errorf("%w: %v", ErrLost, c.err)
	}
	return c.link, nil
}

// path tells how the packets travel: "direct", "relayed", or "" where that is
// not known: there is no connection, or the peer's candidates have not come.
func (c *call) path() string {
	pair, err := c.pc.SCTP().Transport().ICETransport().GetSelectedCandidatePair()
	if err != nil || pair == nil {
		return ""
	}
	remote := pair.Remote.Typ
	if remote == webrtc.ICECandidateTypePrflx {
		// pion met this address before it was told what is there.
		remote = c.told(pair.Remote.Address, pair.Remote.Port)
	}
	switch {
	case pair.Local.Typ == webrtc.ICECandidateTypeRelay, remote == webrtc.ICECandidateTypeRelay:
		return "relayed"
	case remote == webrtc.ICECandidateTypeUnknown:
		return ""
	}
	return "direct"
}

// told gives what the peer says is at an address. An address that it does not
// name is that of its NAT, once it has named any.
func (c *call) told(address string, port uint16) webrtc.ICECandidateType {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.remote) == 0 {
		return webrtc.ICECandidateTypeUnknown
	}
	at := fmt.Sprintf(" %s %d typ relay", address, port)
	for _, k := range c.remote {
		if strings.Contains(k, at) {
			return webrtc.ICECandidateTypeRelay
		}
	}
	return webrtc.ICECandidateTypePrflx
}

// close ends the connection at once and waits for its goroutines and users.
// Only the first call does anything.
func (c *call) close() {
	c.mu.Lock()
	done := c.closed
	c.closed = true
	c.mu.Unlock()
	if !done {
		_ = c.pc.GracefulClose()
		c.users.Wait()
	}
}
