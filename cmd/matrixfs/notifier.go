package main

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/matrixfs/matrixfs/transfer"
)

const (
	// maxPopups bounds the notifications of offers that are there at once, and
	// those that come within popupWindow: others decide how many offers come,
	// and nobody reads more.
	maxPopups   = 5
	popupWindow = 10 * time.Second
	// sumUpEvery is how often the notification that counts the others may
	// change.
	sumUpEvery = 2 * time.Second
	// desktopPause is how long a desktop that is not there, or hangs, is left
	// alone.
	desktopPause = 30 * time.Second
	// maxWaiting bounds the offers that wait for a desktop. What is beyond it is
	// counted only.
	maxWaiting = 256
	// maxMisses is how many calls in a row may go unanswered before the
	// connection is given up: what is not read fills it.
	maxMisses = 3
)

// notifier shows each new offer as a notification of the desktop, with buttons
// that accept, save and decline it.
type notifier struct {
	places    offerPlaces
	watch     *offerWatch
	address   func() string // of the bus; empty where there is none
	downloads func() string // the directory to save in
	window    time.Duration // popupWindow
	pauseFor  time.Duration // desktopPause
	log       *slog.Logger

	ctx      context.Context
	cancel   context.CancelFunc
	done     sync.WaitGroup // run, and what saves
	outcomes chan note      // of what a button has begun

	// All below belongs to run.
	desktop *desktop // nil while there is no connection
	pause   time.Time
	misses  int
	popups  map[uint32]*transfer.Incoming // shown, with buttons that count
	shown   []time.Time                   // when the last maxPopups of them came
	waiting []*transfer.Incoming          // not shown yet
	news    []note                        // not shown yet
	rest    summary                       // of the offers that get no popup of their own
}

// summary is the notification that stands for many.
type summary struct {
	offers map[*transfer.Incoming]bool // true for one that it counts already
	id     uint32                      // 0 while it is not there
	told   int                         // the number it shows
	next   time.Time
}

// startNotifier begins to show the offers of x, on a desktop if there is one.
func startNotifier(x *transfer.Exchange, places offerPlaces, address, downloads func() string, log *slog.Logger) *notifier {
	n := newNotifier(x, places, address, downloads, log)
	n.done.Go(n.run)
	return n
}

func newNotifier(x *transfer.Exchange, places offerPlaces, address, downloads func() string, log *slog.Logger) *notifier {
	n := &notifier{
		places: places, watch: watchOffers(x), address: address, downloads: downloads, window: popupWindow, pauseFor: desktopPause, log: log,
		outcomes: make(chan note),
		popups:   map[uint32]*transfer.Incoming{},
		rest:     summary{offers: map[*transfer.Incoming]bool{}},
	}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	return n
}

// Close takes the notifications away, ends what is being saved, and waits.
func (n *notifier) Close() {
	n.cancel()
	n.done.Wait()
}

// run is the goroutine to which all of it belongs. Whatever the desktop does,
// only this goroutine waits for it.
func (n *notifier) run() {
	defer n.watch.stop()
	defer n.takeAway()
	alarm := time.NewTimer(0)
	defer alarm.Stop()
	for {
		n.look()
		n.tell()
		if at := n.nextLook(); !at.IsZero() {
			alarm.Reset(time.Until(at))
		}
		select {
		case <-n.watch.changes:
		case s, ok := <-n.signals():
			if !ok {
				n.disconnect(errNoDesktop)
			} else {
				n.hear(s)
			}
		case outcome := <-n.outcomes:
			n.news = append(n.news, outcome)
		case <-alarm.C:
		case <-n.ctx.Done():
			return
		}
	}
}

// look learns which offers are new, and which are over.
func (n *notifier) look() {
	arrived, over := n.watch.look()
	for _, in := range over {
		n.withdraw(in)
	}
	for _, in := range arrived {
		n.enqueue(in)
	}
}

// enqueue has an offer wait to be shown.
func (n *notifier) enqueue(in *transfer.Incoming) {
	if len(n.waiting) == maxWaiting {
		n.rest.offers[in] = false
		return
	}
	n.waiting = append(n.waiting, in)
}

func (n *notifier) signals() <-chan *dbus.Signal {
	if n.desktop == nil {
		return nil
	}
	return n.desktop.signals
}

// nextLook says when to tell what could not be told now.
func (n *notifier) nextLook() time.Time {
	switch {
	case len(n.waiting) > 0 || len(n.news) > 0:
		return n.pause
	case n.rest.told != len(n.rest.offers):
		if n.rest.next.After(n.pause) {
			return n.rest.next
		}
		return n.pause
	}
	return time.Time{}
}

// tell shows what is not shown yet, as far as the desktop and the limits allow.
func (n *notifier) tell() {
	if len(n.waiting) == 0 && len(n.news) == 0 && n.rest.told == len(n.rest.offers) {
		return
	}
	if time.Now().Before(n.pause) || n.ctx.Err() != nil {
		return
	}
	err := n.connect()
	for err == nil && len(n.news) > 0 {
		if _, err = n.show(n.news[0]); err == nil {
			n.news = n.news[1:]
		}
	}
	for err == nil && len(n.waiting) > 0 {
		if err = n.popUp(n.waiting[0]); err == nil {
			n.waiting = n.waiting[1:]
		}
	}
	if err == nil {
		err = n.sumUp()
	}
	if err != nil {
		n.trouble(err)
	}
}

// connect makes sure that there is somebody who shows notifications.
func (n *notifier) connect() error {
	if n.desktop == nil {
		d, err := dialDesktop(n.ctx, n.address())
		if err != nil {
			return err
		}
		n.desktop = d
	}
	return n.desktop.findServer(n.ctx)
}

// popUp shows an offer, or counts it among the rest.
func (n *notifier) popUp(in *transfer.Incoming) error {
	if in.Status().State != transfer.Offered {
		return nil // over, as the next look will say
	}
	now := time.Now()
	crowded := len(n.shown) == maxPopups && now.Sub(n.shown[0]) < n.window
	if crowded || len(n.popups) >= maxPopups {
		n.rest.offers[in] = false
		return nil
	}
	id, err := n.show(n.offerNote(in))
	if err != nil {
		return err
	}
	if id != 0 {
		n.popups[id] = in
	}
	if n.shown = append(n.shown, now); len(n.shown) > maxPopups {
		n.shown = n.shown[1:]
	}
	return nil
}

// sumUp brings the notification for the rest up to date.
func (n *notifier) sumUp() error {
	r := &n.rest
	count := len(r.offers)
	switch {
	case count == r.told:
		return nil
	case count == 0:
		n.desktop.closePopup(r.id)
		r.id, r.told = 0, 0
		return nil
	case time.Now().Before(r.next):
		return nil
	}
	about := restNote(count)
	about.replaces = r.id
	id, err := n.show(about)
	if err != nil {
		return err
	}
	for in := range r.offers {
		r.offers[in] = true
	}
	r.id, r.told, r.next = id, count, time.Now().Add(sumUpEvery)
	return nil
}

// show shows a notification. One that the desktop refuses is given up, without
// an error; its id is 0.
func (n *notifier) show(about note) (id uint32, err error) {
	id, err = n.desktop.show(n.ctx, about)
	var refused dbus.Error
	if errors.As(err, &refused) && !isAbsent(err) {
		n.log.Info("the desktop refuses a notification", "error", safeText(err.Error()))
		return 0, nil
	}
	if err == nil {
		n.misses = 0
	}
	return id, err
}

// trouble leaves the desktop alone for a while.
func (n *notifier) trouble(err error) {
	n.pause = time.Now().Add(n.pauseFor)
	if errors.Is(err, errNoDesktop) {
		n.log.Debug("no notifications", "cause", safeText(err.Error()))
	} else {
		n.log.Info("no notifications", "cause", safeText(err.Error()))
	}
	if n.misses++; n.misses >= maxMisses {
		n.disconnect(err)
	}
}

// disconnect gives the connection up. There may be another one later.
func (n *notifier) disconnect(err error) {
	if n.desktop == nil {
		return
	}
	n.log.Debug("the desktop is left alone", "cause", err)
	n.desktop.close()
	n.desktop = nil
	n.misses = 0
	n.forget()
}

// forget is for when whoever showed notifications is gone. What is not over is
// to be shown again; ids mean nothing any more.
func (n *notifier) forget() {
	for _, id := range slices.Sorted(maps.Keys(n.popups)) {
		n.enqueue(n.popups[id])
	}
	clear(n.popups)
	n.shown = nil
	n.rest.id, n.rest.told = 0, 0
}

// hear does what a signal of the desktop asks for.
func (n *notifier) hear(s *dbus.Signal) {
	e, ok := n.desktop.understand(s)
	if !ok {
		return
	}
	if e.left {
		n.forget()
	}
	if e.came {
		n.pause = time.Time{}
	}
	in := n.popups[e.id]
	switch {
	case e.left, e.came, e.id == 0:
	case e.id == n.rest.id: // it has no buttons, and has been read
		n.rest.id, n.rest.told = 0, 0
		maps.DeleteFunc(n.rest.offers, func(_ *transfer.Incoming, counted bool) bool { return counted })
	case in != nil:
		delete(n.popups, e.id)
		if e.button != "" {
			n.desktop.closePopup(e.id)
			n.press(e.button, in)
		}
	}
}

// press does what a button says.
func (n *notifier) press(button string, in *transfer.Incoming) {
	switch button {
	case buttonAccept:
		if err := n.places.accept(in); err != nil {
			n.news = append(n.news, failureNote(in, "not accepted", err))
		}
	case buttonSave:
		dir := n.downloads()
		n.done.Go(func() {
			path, err := n.places.save(n.ctx, in, dir)
			outcome := savedNote(in, path)
			if err != nil {
				n.log.Warn("an offer was not saved", "transfer", in.ID(), "error", safeText(err.Error()))
				outcome = failureNote(in, "not saved", err)
			}
			select {
			case n.outcomes <- outcome:
			case <-n.ctx.Done():
			}
		})
	case buttonReject:
		in.Remove()
	}
}

// withdraw takes away what is shown, or is to be shown, of an offer that is over.
func (n *notifier) withdraw(in *transfer.Incoming) {
	delete(n.rest.offers, in)
	n.waiting = slices.DeleteFunc(n.waiting, func(other *transfer.Incoming) bool { return other == in })
	for id, of := range n.popups {
		if of == in {
			delete(n.popups, id)
			n.desktop.closePopup(id)
		}
	}
}

// takeAway takes everything away at the end: buttons would do nothing.
func (n *notifier) takeAway() {
	if n.desktop == nil {
		return
	}
	for id := range n.popups {
		n.desktop.closePopup(id)
	}
	n.desktop.closePopup(n.rest.id)
	n.desktop.close()
}
