package transfer

import (
	"context"
	"mime"
	"path"
	"time"

	"github.com/gabriel-vasile/mimetype"
)

// invite fixes what is offered and tells the room, for the first time.
func (o *Outgoing) invite(sdp string) error {
	o.freeze()
	m := o.makeInvite(o.x.cfg.Lifetime, sdp)
	if _, err := o.x.cfg.Signaller.Send(o.ctx, o.room, m); err != nil {
		if o.ctx.Err() != nil {
			return context.Cause(o.ctx)
		}
		return err
	}
	o.mu.Lock()
	o.expires = time.Now().Add(o.x.cfg.Lifetime)
	o.mu.Unlock()
	o.step(evInvite, nil)
	return nil
}

// freeze fixes what is offered.
func (o *Outgoing) freeze() {
	o.mu.Lock()
	o.frozen = true
	if o.finished {
		o.size = o.window.end // whatever was announced: nobody has been told
	}
	if o.size >= 0 && o.window.end > o.size {
		o.size = -1 // the hint was wrong, and nobody has been told of it
	}
	o.info.Size = o.size
	o.info.MIMEType = mimeType(o.info.Name, o.window.head(3072))
	sum, finished, w := o.sum, o.finished, o.window
	o.mu.Unlock()
	switch {
	case finished:
		sum = w.hash() // without the lock: a finished file does not change
	case o.info.Size < 0:
		sum = nil
	}
	o.mu.Lock()
	o.hash = sum
	o.mu.Unlock()
}

// makeInvite gives the invite, once all is fixed.
func (o *Outgoing) makeInvite(lifetime time.Duration, sdp string) *Invite {
	o.mu.Lock()
	defer o.mu.Unlock()
	ext := o.x.extension("")
	ext.SHA256 = o.hash
	return &Invite{ID: o.id, Lifetime: lifetime, File: o.info, SDP: sdp, Ext: ext}
}

// mimeType goes by the name, and where that says nothing by the first bytes.
func mimeType(name string, head []byte) string {
	t := mime.TypeByExtension(path.Ext(name))
	if t == "" && len(head) > 0 {
		t = mimetype.Detect(head).String()
	}
	if t, _, err := mime.ParseMediaType(t); err == nil && len(t) <= maxMIMEType {
		return t
	}
	return ""
}

// repeat sends the invite once more, for devices that could not read it the
// first time. Those that could know it by its ID.
func (o *Outgoing) repeat(sdp string) {
	o.mu.Lock()
	left := time.Until(o.expires)
	o.mu.Unlock()
	if left > 0 {
		o.tell(o.ctx, o.makeInvite(left, sdp))
	}
}
