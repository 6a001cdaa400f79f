package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/term"
)

// statusCommand shows what a running mount is doing.
type statusCommand struct {
	stateFlag
	JSON  bool `name:"json" help:"Print JSON, for programs."`
	Watch bool `help:"Show it again every second, until Ctrl-C."`
}

// watchEvery is how often --watch asks.
const watchEvery = time.Second

// Run prints the status once, or every second with --watch until a signal.
// With both flags it prints one JSON object per line.
func (c *statusCommand) Run(ctx context.Context, con *console) error {
	dir, err := c.dir()
	if err != nil {
		return err
	}
	ctx, stop := untilSignal(ctx, func() {})
	defer stop()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		told, err := askStatus(ctx, dir)
		switch {
		case c.Watch && ctx.Err() != nil:
			return nil
		case errors.Is(err, errNotMounted):
			return fmt.Errorf("no mount is running with the state in %s: start one with matrixfs mount MOUNTPOINT", dir)
		case err != nil:
			return err
		}
		if err := c.print(con, told); err != nil || !c.Watch {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// print writes one status. On a terminal, --watch paints over the last one.
func (c *statusCommand) print(con *console, told report) error {
	if c.JSON {
		encoder := json.NewEncoder(con.out)
		if !c.Watch {
			encoder.SetIndent("", "  ")
		}
		return encoder.Encode(told)
	}
	text := renderStatus(told, time.Now())
	if c.Watch && con.outIsTerminal() {
		text = "\x1b[H\x1b[2J" + text // home, clear
	}
	_, err := fmt.Fprint(con.out, text)
	return err
}

// outIsTerminal reports whether a person sees the output directly.
func (con *console) outIsTerminal() bool {
	file, ok := con.out.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(file.Fd()))
}
