package transfer

import "context"

// claimed is who a message says it is from: the device that encryption proves,
// or else the one that the message names, which proves nothing.
func claimed(r Received) Peer {
	p := r.From
	if e := r.Message.extension(); p.Device == "" && e != nil {
		p.Device = e.Device
	}
	return p
}

// chosen gives the word on who won, of an extension that may be nil.
func (e *Extension) chosen() *Chosen {
	if e == nil {
		return nil
	}
	return e.Chosen
}

// isEcho reports whether a message is one of our own coming back. A message of
// our user without a device is from another device of ours: this one always
// names itself.
func (x *Exchange) isEcho(r Received) bool { return claimed(r) == x.cfg.Self }

// Receive takes a message of a room. The messages of a room must come in the
// order of the room. It never waits.
func (x *Exchange) Receive(r Received) {
	if r.Trust < x.cfg.MinTrust {
		x.log.Info("message ignored: its device is not trusted", "room", r.Room, "from", r.From.String(), "trust", r.Trust.String())
		return
	}
	if m, ok := r.Message.(*Invite); ok {
		if !x.isEcho(r) {
			x.invited(r, m)
		}
		return
	}
	echo := x.isEcho(r)
	x.mu.Lock()
	if x.closed {
		x.mu.Unlock()
		return
	}
	var to []*transfer
	id := r.Message.Transfer()
	// Our own answer is of use only to the offer that it answers: it shows
	// whether another came first.
	if o := x.outgoing[id]; o != nil && o.room == r.Room && !echo {
		to = append(to, &o.transfer)
	}
	for _, in := range x.incoming {
		if in.id == id && in.room == r.Room && !in.retired {
			to = append(to, &in.transfer)
		}
	}
	_, isAnswer := r.Message.(*Answer)
	switch {
	case len(to) > 0 || echo:
	case !isAnswer:
		x.orphan(r)
	case x.late(r):
		x.wg.Go(func() { x.tellLate(r) })
	}
	for _, t := range to {
		t.deliver(r) // with the lock: see retireOutgoing
	}
	x.mu.Unlock()
}

// late reports whether an answer is for an offer of ours that is over; once
// for each offer. mu is held.
func (x *Exchange) late(r Received) bool {
	k := key{r.Room, x.cfg.Self.User, r.Message.Transfer()}
	_, over := x.past[k]
	delete(x.past, k) // told once
	return over
}

// tellLate tells whoever answered an offer that is over, so that it need not
// wait for a connection.
func (x *Exchange) tellLate(r Received) {
	ctx, cancel := context.WithTimeout(x.ctx, farewell)
	defer cancel()
	m := &Cancel{ID: r.Message.Transfer(), Ext: x.extension(reasonCancelled)}
	if _, err := x.cfg.Signaller.Send(ctx, r.Room, m); err != nil {
		x.log.Info("message not sent", "type", EventCancel, "error", err)
	}
}

// orphan keeps a message whose invite may still come: encrypted events can
// arrive out of order. mu is held.
func (x *Exchange) orphan(r Received) {
	if len(x.orphans) >= maxOrphans {
		x.orphans = x.orphans[1:]
	}
	x.orphans = append(x.orphans, r)
}

// adopt gives the orphans of an invite. mu is held.
func (x *Exchange) adopt(r Received) []Received {
	var mine []Received
	rest := x.orphans[:0]
	for _, o := range x.orphans {
		if o.Room == r.Room && o.Message.Transfer() == r.Message.Transfer() {
			mine = append(mine, o)
		} else {
			rest = append(rest, o)
		}
	}
	clear(x.orphans[len(rest):])
	x.orphans = rest
	return mine
}

// invited takes an offer made to us, if it is still alive, new, and one of a
// sensible number.
func (x *Exchange) invited(r Received, m *Invite) {
	log := x.log.With("room", r.Room, "transfer", m.ID, "from", r.From.String())
	left := m.Lifetime - r.Age
	if left <= 0 {
		return
	}
	if err := checkOffer(m.SDP); err != nil {
		log.Info("offer refused", "error", err)
		return
	}
	k := key{r.Room, r.From.User, m.ID}
	x.mu.Lock()
	if _, known := x.past[k]; known || x.closed {
		x.mu.Unlock()
		return
	}
	total, his := 0, 0
	for _, in := range x.incoming {
		total++
		if in.room == r.Room && in.from.User == r.From.User {
			his++
		}
	}
	if total >= maxIncoming || his >= maxPerSender {
		x.mu.Unlock()
		log.Warn("too many offers, this one is not shown")
		return
	}
	x.remember(k, left)
	in := newIncoming(x, r, m)
	x.incoming = append(x.incoming, in)
	for _, o := range x.adopt(r) {
		in.deliver(o)
	}
	x.wg.Go(in.run)
	x.mu.Unlock()
	x.notify()
}
