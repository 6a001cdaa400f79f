package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/matrixfs/matrixfs/matrix"
	"github.com/matrixfs/matrixfs/transfer"
)

const (
	// wideEnough is the width from which on a transfer has one line, not two.
	wideEnough = 64
	// minBar and maxBar bound the width of a bar. Less says nothing.
	minBar, maxBar = 4, 30
	// factsWidth is what stands beside a bar in most cases. It is kept free, so
	// that the bar keeps its length.
	factsWidth = len("100%, 1023 KiB/s, 10:00")
	// minName and maxName bound the column of names, where there is one.
	minName, maxName = 16, 40
	// directionWidth is that of "out".
	directionWidth = 3
)

// watchFrame draws the status in as many lines and columns as a terminal has:
// the transfers under way come last, and those that ended first give way. No
// line fills the last column: terminals differ in what they do then.
func watchFrame(told report, now time.Time, width, height int) []string {
	width = max(width-1, 1)
	head := []string{headText(told)}
	if told.Standing == matrix.Unverified.String() {
		head = append(head, unverifiedHint)
	}
	var rows [][]string
	for _, s := range inOrder(told.Transfers) {
		rows = append(rows, watchRow(s, now, width))
	}
	hidden := hiddenRows(rows, height-1-len(head)) // the cursor is below
	switch {
	case len(rows) == 0:
		head = append(head, "No transfers yet.")
	case hidden > 0:
		head = append(head, fmt.Sprintf("%d more: see matrixfs status", hidden))
	}
	lines := slices.Concat(head, slices.Concat(rows[hidden:]...))
	for i, line := range lines {
		lines[i] = fit(line, width)
	}
	return lines
}

// hiddenRows is how many of the first rows have to be left out to fit into a
// number of lines, one of which says so then.
func hiddenRows(rows [][]string, lines int) int {
	all := 0
	for _, row := range rows {
		all += len(row)
	}
	if all <= lines {
		return 0
	}
	first, used := len(rows), 1
	for first > 0 && used+len(rows[first-1]) <= lines {
		first--
		used += len(rows[first])
	}
	return first
}

// headText is the line about the mount.
func headText(told report) string {
	online := "online"
	if !told.Online {
		online = "offline"
	}
	return fmt.Sprintf("%s, %s at %s", online, safeText(told.User), safeText(told.Mountpoint))
}

// inOrder gives the transfers as --watch shows them, safe to print: what ended
// first, then what is under way, each in the order of time.
func inOrder(list []transfer.Status) []transfer.Status {
	sorted := make([]transfer.Status, 0, len(list))
	for _, s := range list {
		sorted = append(sorted, safeStatus(s)) // the socket's other end may be older than this program
	}
	slices.SortStableFunc(sorted, func(a, b transfer.Status) int {
		switch {
		case a.State.Ended() && b.State.Ended():
			return a.Ended.Compare(b.Ended)
		case a.State.Ended() != b.State.Ended():
			if a.State.Ended() {
				return -1
			}
			return 1
		}
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	return sorted
}

// watchRow draws one transfer, on two lines where the terminal is narrow.
func watchRow(s transfer.Status, now time.Time, width int) []string {
	begin := text.Pad(s.Direction.String(), directionWidth, ' ') + " "
	if width < wideEnough {
		indent := strings.Repeat(" ", directionWidth+1)
		return []string{begin + s.Name, indent + progressText(s, now, width-len(indent))}
	}
	name := min(max(width/3, minName), maxName)
	begin += text.Pad(fit(s.Name, name), name, ' ') + "  "
	return []string{begin + progressText(s, now, width-text.StringWidth(begin))}
}

// progressText is how far a transfer has come, with a bar if that fits into
// width.
func progressText(s transfer.Status, now time.Time, width int) string {
	if s.State != transfer.Streaming {
		return joinFacts(stateText(s), sizeText(s.Size), timeLeft(s, now))
	}
	if s.Size < 0 {
		return joinFacts(sizeText(max(s.Bytes, 0)), rateText(s))
	}
	part := partDone(s)
	facts := joinFacts(fmt.Sprintf("%3.0f%%", 100*part), rateText(s), leftText(s, now))
	bar := min(width-max(text.StringWidth(facts), factsWidth)-len("[] "), maxBar)
	if bar < minBar {
		return joinFacts(fmt.Sprintf("%.0f%%", 100*part), rateText(s), timeLeft(s, now))
	}
	return "[" + barText(part, bar) + "] " + facts
}

// timeLeft is leftText for where no column says what it is.
func timeLeft(s transfer.Status, now time.Time) string {
	left := leftText(s, now)
	if left == "" {
		return ""
	}
	return left + " left"
}

// joinFacts joins what there is to say.
func joinFacts(facts ...string) string {
	return strings.Join(slices.DeleteFunc(facts, func(fact string) bool { return fact == "" }), ", ")
}

// fit cuts a line that is wider than width.
func fit(line string, width int) string {
	if text.StringWidth(line) <= width {
		return line
	}
	return text.Trim(line, width-1) + "~"
}
