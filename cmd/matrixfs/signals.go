package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// untilSignal returns a context that ends with the first SIGINT, SIGTERM or
// SIGHUP. A further one calls force, which is not expected to return. stop
// ends the watch; after it, the signals do what they do by default. It may be
// called twice.
func untilSignal(parent context.Context, force func()) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // nohup
		signal.Notify(signals, syscall.SIGHUP)
	}
	quit := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-signals:
			cancel()
		case <-quit:
			return
		}
		select {
		case <-signals:
			force()
		case <-quit:
		}
	})
	return ctx, sync.OnceFunc(func() {
		signal.Stop(signals)
		close(quit)
		watch.Wait()
		cancel()
	})
}
