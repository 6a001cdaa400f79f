package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/matrixfs/matrixfs/matrix"
	"github.com/matrixfs/matrixfs/transfer"
)

// A terminal without UTF-8 gets the names and the numbers alone, and nothing
// that the other side chose can write on it.
func TestDialog(t *testing.T) {
	t.Parallel()
	code := matrix.ShortCode{Numbers: [3]int{1000, 2000, 9191}}
	for i := range code.Emoji {
		code.Emoji[i] = matrix.Emoji{Symbol: "🐶", Name: "Dog"}
	}
	for name, c := range map[string]struct {
		typed string
		emoji bool
		yes   bool
		err   error
	}{
		"yes":         {"yes\n", true, true, nil},
		"y":           {"Y \n", false, true, nil},
		"no":          {"no\n", false, false, nil},
		"Enter alone": {"\n", false, false, nil},
		"again":       {"perhaps\nyess\nyes\n", false, true, nil},
		"the end":     {"", false, false, errNoAnswer},
		"half a line": {"perhaps", false, false, errNoAnswer},
	} {
		reader, writer, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(writer, c.typed); err != nil {
			t.Fatal(err)
		}
		if err := writer.Close(); err != nil {
			t.Fatal(err)
		}
		var said bytes.Buffer
		d := newDialog(&console{in: reader, err: &said})
		d.emoji = c.emoji
		yes, err := d.Match(context.Background(), transfer.Peer{User: "@bob\x1b[2J:x", Device: "B\nC"}, code)
		if yes != c.yes || !errors.Is(err, c.err) {
			t.Errorf("%s: %v, %v", name, yes, err)
		}
		text := said.String()
		if strings.Contains(text, "🐶") != c.emoji || strings.Count(text, "Dog") != 7 || !strings.Contains(text, "1000 2000 9191") ||
			strings.ContainsAny(text, "\x1b") || strings.Contains(text, "B\nC") {
			t.Errorf("%s: says %q", name, text)
		}
		_ = reader.Close()
	}
}

// What was typed before a question answers nothing.
func TestDialogTypedAhead(t *testing.T) {
	t.Parallel()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if _, err := io.WriteString(writer, "yes\nyes\n"); err != nil {
		t.Fatal(err)
	}
	d := newDialog(&console{in: reader, err: io.Discard})
	if yes, err := d.Accept(t.Context(), transfer.Peer{User: "@bob:x", Device: "B"}); !yes || err != nil {
		t.Fatalf("the first question: %v, %v", yes, err)
	}
	for len(d.lines) == 0 {
		runtime.Gosched() // the second line is on its way through a pipe of our own
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	if yes, err := d.Match(t.Context(), transfer.Peer{User: "@bob:x", Device: "B"}, matrix.ShortCode{}); yes || !errors.Is(err, errNoAnswer) {
		t.Errorf("the second question: %v, %v", yes, err)
	}
}

func TestCanShowEmoji(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		all, ctype, lang string
		want             bool
	}{
		{"", "", "de_DE.UTF-8", true}, {"C.utf8", "", "", true}, {"", "", "", false}, {"C", "", "de_DE.UTF-8", false},
		{"", "POSIX", "de_DE.UTF-8", false}, {"", "en_US.UTF-8", "C", true},
	} {
		got := canShowEmoji(func(name string) string {
			return map[string]string{"LC_ALL": c.all, "LC_CTYPE": c.ctype, "LANG": c.lang}[name]
		})
		if got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
