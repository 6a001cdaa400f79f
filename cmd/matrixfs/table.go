package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/matrixfs/matrixfs/matrix"
	"github.com/matrixfs/matrixfs/transfer"
)

const (
	barWidth  = 10
	nameWidth = 30 // of the columns with names: ids of rooms have 29 characters and more
)

// renderStatus draws the status for a person: one line about the mount, then
// a table of the transfers.
func renderStatus(told report, now time.Time) string {
	online := "online"
	if !told.Online {
		online = "offline: the homeserver does not answer"
	}
	head := fmt.Sprintf("%s (%s) mounted at %s, %s\n",
		safeText(told.User), safeText(told.Device), safeText(told.Mountpoint), online)
	if told.Standing == matrix.Unverified.String() {
		head += unverifiedHint + "\n"
	}
	if len(told.Transfers) == 0 {
		return head + "No transfers yet.\n"
	}
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Options = table.OptionsNoBordersAndSeparators
	t.Style().Format.Header = text.FormatDefault
	t.AppendHeader(table.Row{"", "File", "Size", "Done", "Rate", "Left", "State", "Room", "With", "Trust"})
	t.SetColumnConfigs([]table.ColumnConfig{
		{Number: 2, WidthMax: nameWidth, WidthMaxEnforcer: text.Trim},
		{Number: 3, Align: text.AlignRight},
		{Number: 5, Align: text.AlignRight},
		{Number: 6, Align: text.AlignRight},
		{Number: 8, WidthMax: nameWidth, WidthMaxEnforcer: text.Trim},
		{Number: 9, WidthMax: nameWidth, WidthMaxEnforcer: text.Trim},
	})
	for _, s := range told.Transfers {
		s = safeStatus(s) // the socket's other end may be older than this program
		t.AppendRow(table.Row{
			s.Direction, s.Name, sizeText(s.Size), doneText(s), rateText(s), leftText(s, now), stateText(s), string(s.Room), peerText(s.Peer), trustText(s),
		})
	}
	return head + t.Render() + "\n"
}

// sizeText is the size as a person reads it.
func sizeText(size int64) string {
	if size < 0 {
		return "?"
	}
	return humanize.IBytes(uint64(size))
}

// doneText is a bar with a percentage, or the bytes where the size is not
// known.
func doneText(s transfer.Status) string {
	if s.Size < 0 {
		return sizeText(max(s.Bytes, 0))
	}
	part := partDone(s)
	return fmt.Sprintf("%s %3.0f%%", barText(part, barWidth), 100*part)
}

// partDone is how much of a file of known size has arrived, from 0 to 1.
func partDone(s transfer.Status) float64 {
	switch {
	case s.State == transfer.Delivered:
		return 1
	case s.Size > 0:
		return min(max(float64(s.Bytes)/float64(s.Size), 0), 1)
	}
	return 0
}

// barText draws the part of a bar of width columns.
func barText(part float64, width int) string {
	full := int(part * float64(width))
	return strings.Repeat("#", full) + strings.Repeat("-", width-full)
}

// rateText is the speed of a transfer under way.
func rateText(s transfer.Status) string {
	if s.State != transfer.Streaming || s.Rate < 1 {
		return ""
	}
	return humanize.IBytes(uint64(s.Rate)) + "/s"
}

// leftText is the time until the end at the present speed, or until an offer
// nobody has accepted runs out.
func leftText(s transfer.Status, now time.Time) string {
	switch {
	case s.State == transfer.Streaming && s.Size >= s.Bytes && s.Rate >= 1:
		seconds := float64(s.Size-s.Bytes) / s.Rate
		return shortDuration(time.Duration(min(seconds, 99*3600) * float64(time.Second)))
	case s.State == transfer.Offered && s.Expires.After(now):
		return shortDuration(s.Expires.Sub(now))
	}
	return ""
}

// shortDuration is a time in minutes and seconds, as "1:05".
func shortDuration(d time.Duration) string {
	seconds := int64(d.Round(time.Second) / time.Second)
	if seconds >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", seconds/3600, seconds/60%60, seconds%60)
	}
	return fmt.Sprintf("%d:%02d", seconds/60, seconds%60)
}

// stateText is the state, and why it came to that.
func stateText(s transfer.Status) string {
	switch {
	case s.Err != "":
		return fmt.Sprintf("%s: %s", s.State, s.Err)
	case s.State == transfer.Streaming && s.Path != "":
		return fmt.Sprintf("%s, %s", s.State, safeText(s.Path))
	}
	return s.State.String()
}

// trustText says how sure it is who the other side is.
func trustText(s transfer.Status) string {
	if s.Peer.User == "" {
		return ""
	}
	return s.Trust.String()
}

// peerText is the other side, where it is known.
func peerText(p transfer.Peer) string {
	if p.User == "" {
		return ""
	}
	return p.String()
}
