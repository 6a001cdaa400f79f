package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/matrixfs/matrixfs/fs"
	"github.com/matrixfs/matrixfs/matrix"
	"github.com/matrixfs/matrixfs/transfer"
)

const (
	// cacheName is the directory of received bytes, in the state directory.
	cacheName = "cache"
	// spoolName is the one of files that are yet to be offered.
	spoolName = "spool"
	// firstSync is how long the first mount ever waits to learn its rooms.
	// Without a homeserver it mounts all the same: rooms come when they can.
	firstSync = 15 * time.Second
	// abandonTimeout bounds the unmounting of a program that must end now.
	abandonTimeout = 2 * time.Second
)

// daemonOptions says what a daemon works with.
type daemonOptions struct {
	stateDir        string
	mountpoint      string // absolute
	lifetime        time.Duration
	cacheSize       int64
	readers         fs.Readers
	ask             bool // reading accepts nothing
	spool           bool
	allowPublic     bool
	requireVerified bool
	relayOnly       bool
	keepEvents      bool
	allowOther      bool
	debugFUSE       bool
	notify          string    // notifyOff, or else when there is a desktop
	onOffer         string    // a command for each offer, or empty
	output          io.Writer // of that command
	log             *slog.Logger
}

// daemon is a running mount: the account, the exchange, the control socket
// and the mount itself, made in this order and ended in the package's order.
type daemon struct {
	options daemonOptions
	log     *slog.Logger

	client   *matrix.Client
	exchange *transfer.Exchange
	control  *controlServer
	syncing  sync.WaitGroup
	syncErr  chan error // gets what Run returned

	mu       sync.Mutex  // guards all below: abandon and report come from other goroutines
	mount    *fs.Mounted // nil until there is one
	attend   attendants
	standing string // how this device stands to its account's identity; empty: not known
}

func newDaemon(o daemonOptions) *daemon {
	return &daemon{options: o, log: o.log, syncErr: make(chan error, 1)}
}

// run starts everything, calls mounted, serves until ctx ends or the mount
// is gone, and ends everything. It returns nil after an orderly end. The
// service manager learns of each step.
func (d *daemon) run(ctx context.Context, mounted func() error) error {
	defer d.close()
	defer tellManager(stopping, "")
	switch err := d.start(ctx); {
	case err != nil && ctx.Err() != nil:
		return nil // stopped while starting: as wanted
	case err != nil:
		return err
	}
	if err := mounted(); err != nil {
		return err
	}
	tellManager(ready, fmt.Sprintf("%s is mounted on %s", safeText(string(d.client.Account().User)), d.options.mountpoint))
	return d.serve(ctx)
}

// start makes everything, the mount last.
func (d *daemon) start(ctx context.Context) error {
	if err := d.openAccount(ctx); err != nil {
		return err
	}
	if err := d.startExchange(); err != nil {
		return err
	}
	var err error
	if d.control, err = startControl(d.options.stateDir, d.report, d.verify, d.log); err != nil {
		return err
	}
	// It outlives the signal: the peers are to be told. Closing it ends it.
	d.syncing.Go(func() { d.syncErr <- d.client.Run(context.WithoutCancel(ctx)) })
	if err := d.awaitRooms(ctx); err != nil {
		return err
	}
	if err := d.mountRooms(); err != nil {
		return err
	}
	d.syncing.Go(func() { d.lookAtStanding(context.WithoutCancel(ctx)) })
	return nil
}

// openAccount opens the account, and checks that it can be mounted.
func (d *daemon) openAccount(ctx context.Context) error {
	o := d.options
	var options []matrix.Option
	if o.allowPublic {
		options = append(options, matrix.AllowPublic())
	}
	if o.requireVerified {
		options = append(options, matrix.RequireVerified())
	}
	if o.keepEvents {
		options = append(options, matrix.KeepEvents())
	}
	var err error
	if d.client, err = matrix.Open(ctx, o.stateDir, d.log, options...); err != nil {
		return err
	}
	// Said now, although Mount would say it: learning the rooms may take long.
	if err := fs.CheckMountpoint(o.mountpoint); err != nil {
		return err
	}
	if o.allowOther {
		return fs.CheckAllowOther()
	}
	return nil
}

// startExchange makes the exchange, which gets what the account receives.
func (d *daemon) startExchange() (err error) {
	o := d.options
	least := transfer.TrustNone
	if o.requireVerified {
		least = transfer.TrustVerified
	}
	d.exchange, err = transfer.New(transfer.Config{
		Self:      d.self(),
		Signaller: d.client,
		CacheDir:  filepath.Join(o.stateDir, cacheName),
		CacheSize: o.cacheSize,
		Lifetime:  o.lifetime,
		Loopback:  onLoopback(d.client.Account().Homeserver),
		RelayOnly: o.relayOnly,
		MinTrust:  least,
		Logger:    d.log,
	})
	if err != nil {
		return err
	}
	d.client.SetReceiver(d.exchange)
	return nil
}

// self is this device, as others see it.
func (d *daemon) self() transfer.Peer {
	account := d.client.Account()
	return transfer.Peer{User: account.User, Device: account.Device}
}

// mountRooms makes the mount, and starts those who attend to it.
func (d *daemon) mountRooms() error {
	o := d.options
	var spoolDir string
	if o.spool {
		spoolDir = filepath.Join(o.stateDir, spoolName)
	}
	mount, err := fs.Mount(fs.Options{
		Mountpoint: o.mountpoint,
		Rooms:      rooms{d.client},
		Exchange:   d.exchange,
		Self:       d.self(),
		Readers:    o.readers,
		Ask:        o.ask,
		Announce:   newCrier,
		SpoolDir:   spoolDir,
		SpoolSize:  o.cacheSize,
		Logger:     d.log,
		AllowOther: o.allowOther,
		Debug:      o.debugFUSE,
	})
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mount = mount
	d.attend = d.startAttendants(mount, mount.Mountpoint())
	return nil
}

// awaitRooms waits until the rooms are known, for a while.
func (d *daemon) awaitRooms(ctx context.Context) error {
	patience := time.NewTimer(firstSync)
	defer patience.Stop()
	select {
	case <-d.client.Ready():
	case err := <-d.syncErr:
		return err
	case <-patience.C:
		d.log.Warn("the homeserver does not answer; the rooms appear when it does")
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// serve waits for the end: a signal, an unmount by somebody else, or a login
// that is no longer valid.
func (d *daemon) serve(ctx context.Context) error {
	gone := make(chan struct{})
	d.syncing.Go(func() {
		d.mount.Wait()
		close(gone)
	})
	select {
	case <-ctx.Done():
		return nil
	case <-gone:
		d.log.Info("unmounted from outside")
		return nil
	case err := <-d.syncErr:
		return err
	}
}

// close ends everything, in the order the package promises: blocked readers
// and writers first, so that the mount is not busy when its turn comes.
func (d *daemon) close() {
	d.mu.Lock()
	mount, attend := d.mount, d.attend
	d.mu.Unlock()
	attend.Close()
	if d.exchange != nil {
		if err := d.exchange.Close(); err != nil {
			d.log.Warn("could not tell every peer", "error", err)
		}
	}
	if mount != nil {
		if err := mount.Close(); err != nil {
			d.log.Error("could not unmount", "error", err)
		}
	}
	if d.control != nil {
		d.control.Close()
	}
	if d.client != nil {
		if err := d.client.Close(); err != nil {
			d.log.Error("could not close the state", "error", err)
		}
	}
	d.syncing.Wait()
}

// abandon ends the commands of offers and unmounts, and does nothing else, for a program that must end now. It
// may be called while close is at work.
func (d *daemon) abandon() {
	d.mu.Lock()
	mount, attend := d.mount, d.attend
	d.mu.Unlock()
	if mount == nil {
		return
	}
	attend.abandon()
	unmounted := make(chan struct{})
	go func() {
		defer close(unmounted)
		_ = mount.Close()
	}()
	select {
	case <-unmounted:
	case <-time.After(abandonTimeout):
	}
}

// verify does a verifyJob with the account of the mount.
func (d *daemon) verify(ctx context.Context, job verifyJob, person matrix.Judge) (verifyResult, error) {
	result, err := job.run(ctx, d.client, person)
	d.lookAtStanding(ctx)
	return result, err
}

// report tells what a running mount tells of itself.
func (d *daemon) report() report {
	account := d.client.Account()
	d.mu.Lock()
	standing := d.standing
	d.mu.Unlock()
	told := report{
		Version:    version(),
		PID:        os.Getpid(),
		User:       safeText(string(account.User)),
		Device:     safeText(string(account.Device)),
		Homeserver: safeText(account.Homeserver),
		Mountpoint: d.options.mountpoint,
		Online:     d.client.Online(),
		Standing:   standing,
		Transfers:  []transfer.Status{}, // "[]" in JSON
	}
	for _, s := range d.exchange.Status() {
		told.Transfers = append(told.Transfers, safeStatus(s))
	}
	return told
}

// onLoopback reports whether the homeserver runs on this machine, as in the
// demo and in tests. Nobody but programs of this machine is there then, so
// nothing needs to leave it.
func onLoopback(homeserver string) bool {
	u, err := url.Parse(homeserver)
	if err != nil {
		return false
	}
	if u.Hostname() == "localhost" {
		return true
	}
	address, err := netip.ParseAddr(u.Hostname())
	return err == nil && address.IsLoopback()
}
