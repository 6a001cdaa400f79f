package transfer

// maxEarly bounds the candidates of a transfer that wait for a connection, from
// whomever. Two devices have a few dozen; the oldest go.
const maxEarly = 128

// early holds candidates that come before there is a connection to use them
// for. It belongs to the goroutine of its transfer.
type early []earlyCandidate

type earlyCandidate struct {
	from Peer
	Candidate
}

// add keeps the candidates of a message, if it is one that has some.
func (e *early) add(r Received) {
	m, ok := r.Message.(*Candidates)
	if !ok {
		return
	}
	for _, k := range m.Candidates {
		if len(*e) >= maxEarly {
			*e = (*e)[1:]
		}
		*e = append(*e, earlyCandidate{claimed(r), k})
	}
}

// give hands those that the peer may have sent to the connection.
func (e early) give(c *call, peer Peer) {
	for _, k := range e {
		if k.from.couldBe(peer) {
			c.add(k.Candidate)
		}
	}
}
