package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/matrixfs/matrixfs/transfer"
)

// watched is a status with transfers of all kinds.
func watched(now time.Time) report {
	return report{User: "@alice:example.org", Device: "D", Mountpoint: "/home/alice/matrix", Online: true, Transfers: []transfer.Status{
		{ID: "1", Direction: transfer.In, Name: "under way.iso", Size: 4 << 30, Bytes: 1 << 30, State: transfer.Streaming, Rate: 30 << 20, Path: "direct", Created: now},
		{ID: "2", Name: "\u751f\u547d\u751f\u547d\u751f\u547d\u751f\u547d\u751f\u547d\u751f\u547d\u751f\u547d\u751f\u547d\u751f\u547d.txt", Size: 1000, State: transfer.Offered, Expires: now.Add(552 * time.Second), Created: now.Add(1)},
		{ID: "3", Name: "pipe", Size: -1, Bytes: 3 << 20, State: transfer.Streaming, Rate: 1 << 20, Created: now.Add(2)},
		{ID: "4", Direction: transfer.In, Name: "e\u202evil\x1b[2J.exe", Size: 9, State: transfer.Failed, Err: "the connection was lost\n", Ended: now},
		{ID: "5", Name: "done.txt", Size: 12, Bytes: 12, State: transfer.Delivered, Ended: now.Add(-time.Hour)},
	}}
}

func TestRenderStatusFits(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	const wide = "\u751f\u547d\u751f\u547d\u751f\u547d\u751f\u547d\u751f\u547d\u751f\u547d\u751f\u547d\u751f\u547d\u751f"
	for _, c := range []struct {
		width, height int
		want          []string
	}{
		{100, 24, []string{
			"online, @alice:example.org at /home/alice/matrix",
			"out done.txt                           delivered, 12 B",
			"in  evil[2J.exe                        failed: the connection was lost\ufffd, 9 B",
			"in  under way.iso                      [#######-----------------------]  25%, 30 MiB/s, 1:42",
			"out " + wide[:16*3] + "~  offered, 1000 B, 9:12 left",
			"out pipe                               3.0 MiB, 1.0 MiB/s",
		}},
		{80, 24, []string{
			"online, @alice:example.org at /home/alice/matrix",
			"out done.txt                    delivered, 12 B",
			"in  evil[2J.exe                 failed: the connection was lost\ufffd, 9 B",
			"in  under way.iso               [#####----------------]  25%, 30 MiB/s, 1:42",
			"out " + wide[:12*3] + "~   offered, 1000 B, 9:12 left",
			"out pipe                        3.0 MiB, 1.0 MiB/s",
		}},
		{40, 24, []string{
			"online, @alice:example.org at /home/al~",
			"out done.txt",
			"    delivered, 12 B",
			"in  evil[2J.exe",
			"    failed: the connection was lost\ufffd, ~",
			"in  under way.iso",
			"    [##-------]  25%, 30 MiB/s, 1:42",
			"out " + wide[:17*3] + "~",
			"    offered, 1000 B, 9:12 left",
			"out pipe",
			"    3.0 MiB, 1.0 MiB/s",
		}},
		{40, 8, []string{
			"online, @alice:example.org at /home/al~",
			"3 more: see matrixfs status",
			"out " + wide[:17*3] + "~",
			"    offered, 1000 B, 9:12 left",
			"out pipe",
			"    3.0 MiB, 1.0 MiB/s",
		}},
		{20, 4, []string{"online, @alice:exa~", "5 more: see matrix~"}},
		{1, 3, []string{"~", "~"}},
	} {
		got := watchFrame(watched(now), now, c.width, c.height)
		if !slices.Equal(got, c.want) {
			t.Errorf("%d columns:\n%s\nwant\n%s", c.width, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
	for width := 1; width < 200; width++ {
		for height := 3; height < 30; height++ {
			got := watchFrame(watched(now), now, width, height)
			if len(got) >= height {
				t.Errorf("%d lines on a terminal of %d", len(got), height)
			}
			for _, line := range got {
				if n := text.StringWidth(line); n >= width && width > 1 || strings.ContainsAny(line, "\x1b\u202e\n") {
					t.Errorf("%d columns on a terminal of %d: %q", n, width, line)
				}
			}
		}
	}
}

// The status is painted over the one before, and anew where the size changes.
func TestScreen(t *testing.T) {
	t.Parallel()
	now := time.Now()
	var out bytes.Buffer
	width, failure := 80, error(nil)
	s := &screen{out: &out, size: func() (int, int, error) { return width, 24, failure }}
	for _, c := range []struct {
		before func()
		want   string
	}{
		{func() {}, ""},
		{func() {}, "\x1b[6A\x1b[J"},
		{func() { width = 40 }, "\x1b[H\x1b[2J"},
		{func() {}, "\x1b[11A\x1b[J"},
		{func() { failure = errors.New("no terminal") }, "\x1b[H\x1b[2J"},
	} {
		c.before()
		out.Reset()
		if err := s.paint(watched(now), now); err != nil {
			t.Fatal(err)
		}
		if got, _, _ := strings.Cut(out.String(), "online"); got != c.want {
			t.Errorf("it begins with %q, want %q", got, c.want)
		}
	}
}

// A file gets a line for each change, and none without one.
func TestTicker(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var out bytes.Buffer
	p := &ticker{out: &out, told: map[string]progressMark{}}
	for _, c := range []struct {
		change func(*report)
		want   string
	}{
		{func(*report) {}, "online, @alice:example.org at /home/alice/matrix\nout done.txt: delivered, 12 B\n" +
			"in evil[2J.exe: failed: the connection was lost\ufffd, 9 B\nin under way.iso: 25%, 30 MiB/s, 1:42 left\n" +
			"out " + watched(now).Transfers[1].Name + ": offered, 1000 B, 9:12 left\nout pipe: 3.0 MiB, 1.0 MiB/s\n"},
		{func(*report) {}, ""},
		{func(r *report) { r.Transfers[0].Bytes *= 2 }, "in under way.iso: 50%, 30 MiB/s, 1:08 left\n"},
		{func(r *report) { r.Transfers[0].Rate = 0 }, "in under way.iso: 25%\n"}, // Bytes are as before the last
		{func(r *report) { r.Online = false; r.Transfers = r.Transfers[:1] }, "offline, @alice:example.org at /home/alice/matrix\n"},
	} {
		told := watched(now)
		c.change(&told)
		out.Reset()
		if err := p.paint(told, now); err != nil {
			t.Fatal(err)
		}
		if out.String() != c.want {
			t.Errorf("it prints\n%s, want\n%s", out.String(), c.want)
		}
	}
}

// endless shows nothing, and counts.
type endless struct{ painted, ended int }

func (e *endless) paint(report, time.Time) error { e.painted++; return nil }
func (e *endless) end() error                    { e.ended++; return nil }

// A mount that does not answer once or twice is asked again; the end of it is
// a good end.
func TestWatchEnds(t *testing.T) {
	t.Parallel()
	broken := errors.New("it does not answer")
	for name, c := range map[string]struct {
		answers []error
		want    error
		painted int
		ended   int
	}{
		"the mount ends":              {[]error{nil, broken, broken, nil, broken, fmt.Errorf("so %w", errNotMounted)}, nil, 3, 1},
		"the mount does not answer":   {[]error{broken, broken, broken}, broken, 1, 0},
		"the person ends the program": {[]error{nil, context.Canceled}, nil, 2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			p := &endless{}
			err := watch(ctx, report{}, func() (report, error) {
				answer := c.answers[0]
				c.answers = c.answers[1:]
				if errors.Is(answer, context.Canceled) {
					cancel()
				}
				return report{}, answer
			}, time.Millisecond, p)
			if !errors.Is(err, c.want) || p.painted != c.painted || p.ended != c.ended {
				t.Errorf("it ends with %v after %+v", err, p)
			}
		})
	}
}
