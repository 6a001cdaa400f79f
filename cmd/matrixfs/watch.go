package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/matrixfs/matrixfs/transfer"
)

const (
	// watchEvery is how often --watch asks.
	watchEvery = time.Second
	// watchMisses is how often in a row a mount may fail to answer: one that is
	// ending may break off an answer, and one that is busy be late.
	watchMisses = 3
)

// painter shows one status after another.
type painter interface {
	paint(told report, now time.Time) error
	// end is for when the mount has ended.
	end() error
}

// watch shows told, and what ask gives every so often, until ctx or the mount
// ends.
func watch(ctx context.Context, told report, ask func() (report, error), every time.Duration, p painter) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for misses := 0; ; {
		if misses == 0 {
			if err := p.paint(told, time.Now()); err != nil {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		now, err := ask()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errNotMounted):
			return p.end()
		case err != nil:
			if misses++; misses == watchMisses {
				return err
			}
		default:
			told, misses = now, 0
		}
	}
}

// mountEnded is the last line of --watch.
const mountEnded = "The mount has ended."

// jsonPainter prints one object per line.
type jsonPainter struct{ *json.Encoder }

func (p jsonPainter) paint(told report, _ time.Time) error { return p.Encode(told) }
func (jsonPainter) end() error                             { return nil }

// screen paints on a terminal, each status over the one before.
type screen struct {
	out  io.Writer
	size func() (width, height int, err error)

	drawn         int // lines of the last status
	width, height int // that it was drawn for
}

// The sequences that every terminal since the VT100 knows (ECMA-48, ED and CUP).
const (
	eraseBelow = "\x1b[J"
	clearAll   = "\x1b[H\x1b[2J"
)

func (s *screen) paint(told report, now time.Time) error {
	width, height, err := s.size()
	if err != nil || width <= 0 || height <= 0 {
		width, height = 80, 24 // a terminal that does not know
	}
	var b strings.Builder
	switch {
	case s.drawn == 0:
	case width != s.width || height != s.height:
		b.WriteString(clearAll) // the terminal has folded the lines anew
	default:
		b.WriteString(text.CursorUp.Sprintn(s.drawn) + eraseBelow)
	}
	lines := watchFrame(told, now, width, height)
	for _, line := range lines {
		b.WriteString(line + "\n")
	}
	s.drawn, s.width, s.height = len(lines), width, height
	_, err = io.WriteString(s.out, b.String()) // at once, so that it does not flicker
	return err
}

func (s *screen) end() error {
	_, err := fmt.Fprintln(s.out, mountEnded)
	return err
}

// ticker prints a line for each change, for a file or a pipe.
type ticker struct {
	out  io.Writer
	head string
	told map[string]progressMark // of each transfer, by markKey
}

// progressMark is what makes a line worth printing when it changes.
type progressMark struct {
	state transfer.State
	bytes int64
	path  string
}

// markKey tells transfers apart: an id is unique for its user in its room.
func markKey(s transfer.Status) string {
	key := fmt.Sprintf("%s %s %s", s.Direction, s.Room, s.ID)
	if s.Direction == transfer.In {
		key += " " + string(s.Peer.User)
	}
	return key
}

func (t *ticker) paint(told report, now time.Time) error {
	var b strings.Builder
	if head := headText(told); head != t.head {
		t.head = head
		b.WriteString(head + "\n")
	}
	before := t.told
	t.told = make(map[string]progressMark, len(told.Transfers))
	for _, s := range inOrder(told.Transfers) {
		key, mark := markKey(s), progressMark{s.State, s.Bytes, s.Path}
		t.told[key] = mark
		if last, known := before[key]; !known || last != mark {
			fmt.Fprintf(&b, "%s %s: %s\n", s.Direction, s.Name, progressText(s, now, 0))
		}
	}
	_, err := io.WriteString(t.out, b.String())
	return err
}

func (t *ticker) end() error {
	_, err := fmt.Fprintln(t.out, mountEnded)
	return err
}
