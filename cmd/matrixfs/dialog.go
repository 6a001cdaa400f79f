package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/matrixfs/matrixfs/matrix"
	"github.com/matrixfs/matrixfs/transfer"
)

// errNoAnswer: standard input ended before the person had said yes or no.
var errNoAnswer = errors.New("no answer: nothing was verified")

// maxAnswer bounds a line that somebody types, in bytes.
const maxAnswer = 1024

// dialog asks the person at the terminal, or whoever writes to standard input.
type dialog struct {
	con   *console
	emoji bool // the terminal can show them
	once  sync.Once
	lines chan string // closed at the end of standard input
}

var _ matrix.Judge = (*dialog)(nil)

func newDialog(con *console) *dialog {
	return &dialog{con: con, emoji: canShowEmoji(os.Getenv), lines: make(chan string)}
}

// canShowEmoji reports whether the locale is one of UTF-8 (POSIX, "Environment
// Variables": the first of the three that is set counts).
func canShowEmoji(getenv func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if value := strings.ToUpper(getenv(name)); value != "" {
			return strings.Contains(value, "UTF-8") || strings.Contains(value, "UTF8")
		}
	}
	return false
}

// Accept implements matrix.Judge.
func (d *dialog) Accept(ctx context.Context, from transfer.Peer) (bool, error) {
	return d.ask(ctx, fmt.Sprintf("%s (device %s) wants to verify. Go on?", safeText(string(from.User)), safeText(string(from.Device))))
}

// Match implements matrix.Judge.
func (d *dialog) Match(ctx context.Context, with transfer.Peer, code matrix.ShortCode) (bool, error) {
	fmt.Fprintf(d.con.err, "Compare this with what %s (device %s) shows:\n\n", safeText(string(with.User)), safeText(string(with.Device)))
	names := make([]string, len(code.Emoji))
	for i, e := range code.Emoji {
		if names[i] = e.Name; d.emoji {
			names[i] = e.Symbol + " " + e.Name
		}
	}
	fmt.Fprintf(d.con.err, "    %s\n    or as numbers: %d %d %d\n\n", strings.Join(names, ", "), code.Numbers[0], code.Numbers[1], code.Numbers[2])
	return d.ask(ctx, "Do they match?")
}

// Tell implements matrix.Judge.
func (d *dialog) Tell(text string) { fmt.Fprintln(d.con.err, safeText(text)) }

// ask asks until the answer is yes or no. Enter alone is no.
func (d *dialog) ask(ctx context.Context, question string) (bool, error) {
	d.once.Do(func() { go d.read() })
	for {
		fmt.Fprintf(d.con.err, "%s yes/no [no]: ", question)
		select {
		case line, ok := <-d.lines:
			if !ok {
				return false, errNoAnswer
			}
			switch strings.ToLower(strings.TrimSpace(line)) {
			case "yes", "y":
				return true, nil
			case "no", "n", "":
				return false, nil
			}
		case <-ctx.Done():
			fmt.Fprintln(d.con.err)
			return false, ctx.Err()
		}
	}
}

// read passes lines on. It ends with standard input or with the program: a read
// can't be called off.
func (d *dialog) read() {
	defer close(d.lines)
	scanner := bufio.NewScanner(d.con.in)
	scanner.Buffer(nil, maxAnswer)
	for scanner.Scan() {
		d.lines <- scanner.Text()
	}
}
