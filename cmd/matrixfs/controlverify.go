package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/matrixfs/matrixfs/matrix"
	"github.com/matrixfs/matrixfs/transfer"
)

// A verification through a running mount is a dialog on the control socket.
// The client asks for "POST /verify" with "Upgrade: matrixfs-verify", and gets
// 101. Then both sides send JSON values: the client its verifyJob, the mount
// lines to show and questions, the client one answer to each, and the mount at
// last the result. Whoever closes the connection before that ends it.
const verifyProtocol = "matrixfs-verify"

// Limits on what one side of a dialog may send, in bytes: a job holds a secret,
// and each of two questions has one answer. The mount tells some ten lines.
const (
	maxJobBytes    = 64 << 10
	maxDialogBytes = 256 << 10
)

// dialogLine is what the mount sends: one of these.
type dialogLine struct {
	Tell   string            `json:"tell,omitempty"`
	Accept *transfer.Peer    `json:"accept,omitempty"`
	Match  *transfer.Peer    `json:"match,omitempty"`
	Code   *matrix.ShortCode `json:"code,omitempty"` // with Match
	Result *verifyResult     `json:"result,omitempty"`
	Error  string            `json:"error,omitempty"`
}

// dialogReply is an answer to a question. None is when the person is gone.
type dialogReply struct {
	Yes  bool `json:"yes"`
	None bool `json:"none,omitempty"`
}

// verifyFunc does a job.
type verifyFunc func(context.Context, verifyJob, matrix.Judge) (verifyResult, error)

// serveVerify answers POST /verify.
func (s *controlServer) serveVerify(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != verifyProtocol {
		http.Error(w, "matrixfs verify asks this", http.StatusUpgradeRequired)
		return
	}
	// Before Hijack: from then on the server does not wait for this call.
	s.done.Add(1)
	defer s.done.Done()
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(s.open)
	defer cancel()
	release := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) }) // ends the reader
	defer release()
	_, err = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", verifyProtocol)
	if err != nil {
		return
	}
	d := &remoteDialog{conn: conn, in: json.NewDecoder(io.LimitReader(buffered, maxJobBytes)), replies: make(chan dialogReply, 1)}
	d.serve(ctx, cancel, s.verify)
}

// remoteDialog asks the person at the other end of the control socket.
type remoteDialog struct {
	conn    io.Writer
	in      *json.Decoder
	replies chan dialogReply // capacity 1

	mu sync.Mutex // held while writing
}

var _ matrix.Judge = (*remoteDialog)(nil)

// serve does one job, and tells the result.
func (d *remoteDialog) serve(ctx context.Context, cancel func(), verify verifyFunc) {
	var job verifyJob
	if d.in.Decode(&job) != nil {
		return
	}
	var reading sync.WaitGroup
	defer reading.Wait()
	defer cancel() // ends the reader
	reading.Go(func() {
		defer cancel() // the person is gone
		for {
			var reply dialogReply
			if d.in.Decode(&reply) != nil {
				return
			}
			select {
			case d.replies <- reply:
			default:
				return // nobody has asked
			}
		}
	})
	result, err := verify(ctx, job, d)
	line := dialogLine{Result: &result}
	if err != nil {
		line = dialogLine{Error: err.Error()}
	}
	_ = d.send(line) // an error here is the client's going away
}

func (d *remoteDialog) send(line dialogLine) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return json.NewEncoder(d.conn).Encode(line)
}

// Accept implements matrix.Judge.
func (d *remoteDialog) Accept(ctx context.Context, from transfer.Peer) (bool, error) {
	return d.ask(ctx, dialogLine{Accept: &from})
}

// Match implements matrix.Judge.
func (d *remoteDialog) Match(ctx context.Context, with transfer.Peer, code matrix.ShortCode) (bool, error) {
	return d.ask(ctx, dialogLine{Match: &with, Code: &code})
}

// Tell implements matrix.Judge.
func (d *remoteDialog) Tell(text string) { _ = d.send(dialogLine{Tell: text}) }

func (d *remoteDialog) ask(ctx context.Context, question dialogLine) (bool, error) {
	if err := d.send(question); err != nil {
		return false, err
	}
	select {
	case r := <-d.replies:
		if r.None {
			return false, errNoAnswer
		}
		return r.Yes, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// mountVerifier does jobs through the mount that has the state.
type mountVerifier struct{ dir string }

var _ verifier = mountVerifier{}

// close implements verifier.
func (mountVerifier) close() {}

// do implements verifier.
func (m mountVerifier) do(ctx context.Context, job verifyJob, person matrix.Judge) (verifyResult, error) {
	gone := errors.New("the running mount has gone: start again")
	conn, err := dialIn(ctx, m.dir)
	if err != nil {
		return verifyResult{}, gone
	}
	defer conn.Close()
	release := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer release()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://matrixfs/verify", nil)
	if err != nil {
		return verifyResult{}, err
	}
	request.Header.Set("Connection", "Upgrade")
	request.Header.Set("Upgrade", verifyProtocol)
	if err := request.Write(conn); err != nil {
		return verifyResult{}, gone
	}
	buffered := bufio.NewReader(io.LimitReader(conn, maxDialogBytes))
	response, err := http.ReadResponse(buffered, request)
	if err != nil {
		return verifyResult{}, gone
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		return verifyResult{}, fmt.Errorf("the running mount can't verify (%s): it is of another version", safeText(response.Status))
	}
	if err := json.NewEncoder(conn).Encode(job); err != nil {
		return verifyResult{}, gone
	}
	result, err := follow(ctx, conn, json.NewDecoder(buffered), person)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = gone
	}
	return result, err
}

// follow passes questions to the person and answers to the mount, until there
// is a result. A question that is still open when the mount goes on is called
// off.
func follow(ctx context.Context, conn io.Writer, from *json.Decoder, person matrix.Judge) (verifyResult, error) {
	var asking sync.WaitGroup
	defer asking.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	for {
		var line dialogLine
		if err := from.Decode(&line); err != nil {
			return verifyResult{}, err
		}
		switch {
		case line.Error != "":
			return verifyResult{}, errors.New(oneLine(line.Error))
		case line.Result != nil:
			return *line.Result, nil
		case line.Tell != "":
			person.Tell(line.Tell)
		case line.Accept != nil || line.Match != nil && line.Code != nil:
			asking.Wait() // there is one at a time
			asking.Go(func() {
				yes, err := false, error(nil)
				if line.Accept != nil {
					yes, err = person.Accept(ctx, *line.Accept)
				} else {
					yes, err = person.Match(ctx, *line.Match, *line.Code)
				}
				_ = json.NewEncoder(conn).Encode(dialogReply{Yes: yes, None: err != nil}) // the mount's end is seen above
			})
		}
	}
}
