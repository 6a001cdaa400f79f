package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/matrixfs/matrixfs/matrix"
	"github.com/matrixfs/matrixfs/transfer"
)

// What a verifyJob can be.
const (
	doStanding = "standing" // tell how the device stands to the account's identity
	doRecover  = "recover"  // with the recovery key in Secret
	doSetUp    = "setup"    // with the password in Secret
	doCompare  = "compare"  // ask User, or another device if that is empty
	doAnswer   = "answer"   // wait for a request
)

// verifyJob is what is to be done. It goes over the control socket.
type verifyJob struct {
	Do     string          `json:"do"`
	User   transfer.UserID `json:"user_id,omitempty"`
	Secret string          `json:"secret,omitempty"`
}

// verifyResult is what came of it.
type verifyResult struct {
	Account     transfer.UserID `json:"account"`
	Standing    matrix.Standing `json:"standing"` // of this device, for what is about it
	With        transfer.Peer   `json:"with"`     // whoever was verified, for the rest
	RecoveryKey string          `json:"recovery_key,omitempty"`
}

// text is one line for the person.
func (r verifyResult) text() string {
	switch {
	case r.With.User == "" || r.With.User == r.Account && r.With.Device == "":
		return "this device is " + r.Standing.String()
	case r.With.User == r.Account:
		return fmt.Sprintf("verified your device %s; this device is %v", safeText(string(r.With.Device)), r.Standing)
	}
	return fmt.Sprintf("verified %s", safeText(string(r.With.User)))
}

// verifier does jobs: with the account itself, or through the mount that has it.
type verifier interface {
	do(ctx context.Context, job verifyJob, person matrix.Judge) (verifyResult, error)
	close()
}

// openVerifier takes the account, or finds the mount that has it.
func openVerifier(ctx context.Context, dir string) (verifier, error) {
	client, err := matrix.Open(ctx, dir, nil)
	if err == nil {
		return &ownVerifier{client: client}, nil
	}
	if errors.Is(err, matrix.ErrInUse) {
		if _, askErr := askStatus(ctx, dir); askErr == nil {
			return mountVerifier{dir}, nil
		}
	}
	return nil, err
}

// ownVerifier has the account, and runs it if a job needs that.
type ownVerifier struct {
	client  *matrix.Client
	once    sync.Once
	running sync.WaitGroup
}

var _ verifier = (*ownVerifier)(nil)

// onlinePatience is how long the first sync may take before a verification.
const onlinePatience = 2 * time.Minute

// do implements verifier.
func (o *ownVerifier) do(ctx context.Context, job verifyJob, person matrix.Judge) (verifyResult, error) {
	if job.Do == doCompare || job.Do == doAnswer {
		if err := o.start(ctx); err != nil {
			return verifyResult{}, err
		}
	}
	return job.run(ctx, o.client, person)
}

// start runs the client, once, and waits until it knows its rooms.
func (o *ownVerifier) start(ctx context.Context) error {
	ended := make(chan error, 1)
	o.once.Do(func() {
		o.running.Go(func() { ended <- o.client.Run(context.WithoutCancel(ctx)) })
	})
	limited, cancel := context.WithTimeout(ctx, onlinePatience)
	defer cancel()
	select {
	case <-o.client.Ready():
		return nil
	case err := <-ended:
		return err
	case <-limited.Done():
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return transfer.ErrOffline
	}
}

// close implements verifier.
func (o *ownVerifier) close() {
	_ = o.client.Close() // nothing can be done about it, and all is stored
	o.running.Wait()
}

// run does a job. The client runs, where the job needs that.
func (j verifyJob) run(ctx context.Context, client *matrix.Client, person matrix.Judge) (r verifyResult, err error) {
	r.Account = client.Account().User
	switch j.Do {
	case doStanding:
	case doRecover:
		err = client.Recover(ctx, j.Secret)
	case doSetUp:
		r.RecoveryKey, err = client.MakeIdentity(ctx, j.Secret)
	case doCompare:
		r.With.User = j.User
		err = client.Verify(ctx, j.User, person)
	case doAnswer:
		r.With, err = client.Answer(ctx, person)
	default:
		err = fmt.Errorf("the running mount can't do %q: it is of another version", safeText(j.Do))
	}
	if err != nil || r.With.User != "" && r.With.User != r.Account {
		return r, err
	}
	r.Standing, err = client.Standing(ctx)
	return r, err
}
