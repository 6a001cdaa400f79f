package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

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
	lines chan typed // closed at the end of standard input
}

// typed is a line, and when it came.
type typed struct {
	line string
	at   time.Time
}

// maxTyped bounds the lines that wait for a question. What is over is dropped.
const maxTyped = 16

var _ matrix.Judge = (*dialog)(nil)

func newDialog(con *console) *dialog {
	return &dialog{con: con, emoji: canShowEmoji(os.Getenv), lines: make(chan typed, maxTyped)}
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

// ask asks until the answer is yes or no. Enter alone is no. What was typed
// before the question could be read answers nothing.
func (d *dialog) ask(ctx context.Context, question string) (bool, error) {
	asked := time.Now()
	forgetTyped(int(d.con.in.Fd())) // of a terminal; nothing else has any
	d.once.Do(func() { go d.read() })
	fmt.Fprintf(d.con.err, "%s yes/no [no]: ", question)
	for {
		select {
		case said, ok := <-d.lines:
			switch answer := strings.ToLower(strings.TrimSpace(said.line)); {
			case !ok:
				return false, errNoAnswer
			case said.at.Before(asked):
			case answer == "yes", answer == "y":
				return true, nil
			case answer == "no", answer == "n", answer == "":
				return false, nil
			default:
				fmt.Fprintf(d.con.err, "%s yes/no [no]: ", question)
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
		select {
		case d.lines <- typed{scanner.Text(), time.Now()}:
		default:
		}
	}
}
