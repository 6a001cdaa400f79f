package transfer

import (
	"net"

	"github.com/pion/transport/v5"
	"github.com/pion/transport/v5/stdnet"
)

// socketBuffer is asked of the kernel for each UDP socket, in bytes. The usual
// 208 KiB overflow while a busy receiver looks away, and SCTP takes the loss
// for congestion. The kernel may give less.
const socketBuffer = 4 << 20

// roomyNet is the machine's network with larger socket buffers.
type roomyNet struct{ *stdnet.Net }

var _ transport.Net = (*roomyNet)(nil)

func newRoomyNet() (*roomyNet, error) {
	n, err := stdnet.NewNet()
	if err != nil {
		return nil, err
	}
	return &roomyNet{n}, nil
}

// ListenUDP makes a socket as stdnet does, and enlarges its buffers.
func (n *roomyNet) ListenUDP(network string, addr *net.UDPAddr) (transport.UDPConn, error) {
	conn, err := n.Net.ListenUDP(network, addr)
	if err != nil {
		return nil, err
	}
	// What the kernel refuses costs speed and nothing else.
	_ = conn.SetReadBuffer(socketBuffer)
	_ = conn.SetWriteBuffer(socketBuffer)
	return conn, nil
}
