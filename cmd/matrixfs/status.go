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
	Watch bool `help:"Go on until Ctrl-C or the end of the mount: bars on a terminal, else a line for each change, or JSON each second."`
}

// Run prints the status once, or with --watch until a signal or the end of the
// mount.
func (c *statusCommand) Run(ctx context.Context, con *console) error {
	dir, err := c.dir()
	if err != nil {
		return err
	}
	ctx, stop := untilSignal(ctx, func() {})
	defer stop()
	told, err := askStatus(ctx, dir)
	switch {
	case errors.Is(err, errNotMounted):
		return fmt.Errorf("no mount is running with the state in %s: start one with matrixfs mount MOUNTPOINT", dir)
	case err != nil && c.Watch && ctx.Err() != nil:
		return nil
	case err != nil:
		return err
	case c.Watch:
		return watch(ctx, told, func() (report, error) { return askStatus(ctx, dir) }, watchEvery, c.painter(con))
	case c.JSON:
		encoder := json.NewEncoder(con.out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(told)
	}
	_, err = fmt.Fprint(con.out, renderStatus(told, time.Now()))
	return err
}

// painter chooses how --watch shows the status.
func (c *statusCommand) painter(con *console) painter {
	fd, terminal := con.outTerminal()
	switch {
	case c.JSON:
		return jsonPainter{json.NewEncoder(con.out)}
	case terminal:
		return &screen{out: con.out, size: func() (width, height int, err error) { return term.GetSize(fd) }}
	}
	return &ticker{out: con.out, told: map[string]progressMark{}}
}

// outTerminal gives the terminal where a person sees the output directly.
func (con *console) outTerminal() (fd int, ok bool) {
	file, ok := con.out.(interface{ Fd() uintptr })
	if !ok {
		return 0, false
	}
	fd = int(file.Fd())
	return fd, term.IsTerminal(fd)
}
