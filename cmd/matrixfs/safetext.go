package main

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxText bounds, in bytes, what one untrusted string may add to a line.
// Matrix ids have at most 255 bytes; reasons and errors are shorter.
const maxText = 512

// maxLine bounds an error: paths have at most 4096 bytes.
const maxLine = 8192

// safeText makes a string from elsewhere fit for a terminal and a log: no
// control characters, none that turn the writing direction, nothing that is
// not UTF-8, no line breaks, and a bounded length.
func safeText(s string) string { return printable(s, maxText) }

// oneLine puts an error on one line that is safe to print. Errors of
// libraries, and errors joined together, have several.
func oneLine(s string) string {
	return printable(strings.Join(strings.FieldsFunc(s, func(r rune) bool {
		return r == '\n' || r == '\r'
	}), "; "), maxLine)
}

// printable replaces every character that is not plainly visible with U+FFFD
// and cuts the string after limit bytes.
func printable(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit] // may cut a character; that becomes U+FFFD below
	}
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return utf8.RuneError
		}
		return r
	}, s)
}
