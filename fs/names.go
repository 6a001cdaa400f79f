package fs

import (
	"fmt"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

const (
	// maxName is the longest name that Linux file systems take, in bytes.
	maxName = 255
	// maxRaw bounds what of a name is looked at at all: more than anybody
	// could see, and enough for 255 bytes to remain.
	maxRaw = 4096
	// maxExtension is the longest extension, with its dot, that is worth
	// keeping when a name is cut.
	maxExtension = 16
	// noName stands for a name of which nothing is left.
	noName = "unnamed"
)

// SafeName makes one harmless path component of a name from the network. The
// result is valid UTF-8 in NFC and has 1 to 255 bytes. It has no slash, no
// control character, and none that is invisible or changes the direction of
// writing. It does not start with a dot, a dash or a combining mark, and has
// no space at its ends or twice in a row. A name that is safe stays as it is.
func SafeName(name string) string {
	if len(name) > maxRaw {
		// What matters most is at both ends.
		name = name[:maxRaw/2] + name[len(name)-maxRaw/2:]
	}
	name = norm.NFC.String(strings.ToValidUTF8(name, "_"))
	var b strings.Builder
	for _, r := range name {
		if r = safeRune(r); r < 0 || r == ' ' && strings.HasSuffix(b.String(), " ") {
			continue
		}
		b.WriteRune(r)
	}
	// What was left out may have kept a letter and its accent apart.
	name = trim(norm.NFC.String(b.String()))
	if len(name) > maxName {
		name = shorten(name, maxName)
	}
	if name == "" {
		return noName
	}
	return name
}

// safeRune gives what stands for r in a safe name, or a negative number for
// nothing.
func safeRune(r rune) rune {
	switch {
	case r >= ' ' && r < '\x7f' && r != '/':
		return r // the usual case, without looking at tables
	case r == '/' || r == 0 || r == unicode.ReplacementChar:
		return '_'
	case unicode.IsSpace(r) || unicode.Is(unicode.Zs, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r):
		return ' '
	case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs), invisible(r):
		return -1
	}
	return r
}

// invisible reports whether r shows nothing although it is not a control or
// format character: fillers, joiners, variation selectors.
func invisible(r rune) bool {
	const brailleBlank = 0x2800
	return r == brailleBlank || unicode.In(r,
		unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector, unicode.Noncharacter_Code_Point)
}

// trim cuts what a name may not start or end with.
func trim(name string) string {
	name = strings.TrimLeftFunc(name, func(r rune) bool {
		return r == '.' || r == '-' || r == ' ' || unicode.Is(unicode.M, r)
	})
	return strings.TrimRight(name, " .")
}

// shorten cuts name to at most max bytes, between characters, and keeps a
// short extension.
func shorten(name string, max int) string {
	if len(name) <= max {
		return name
	}
	stem, extension := splitExtension(name)
	return trim(cut(stem, max-len(extension))) + extension
}

// cut gives the longest start of s of at most max bytes that ends between
// characters.
func cut(s string, max int) string {
	if len(s) <= max {
		return s
	}
	for max > 0 && !utf8.RuneStart(s[max]) {
		max--
	}
	return s[:max]
}

// splitExtension splits "a.b.c" into "a.b" and ".c". A name without a short
// extension is all stem.
func splitExtension(name string) (stem, extension string) {
	extension = path.Ext(name)
	if len(extension) < 2 || len(extension) > maxExtension || len(extension) == len(name) || strings.Contains(extension, " ") {
		return name, ""
	}
	return name[:len(name)-len(extension)], extension
}

// numbered gives the n-th name for things that would all be called name:
// "a.doc", "a (2).doc", "a (3).doc".
func numbered(name string, n int) string {
	if n < 2 {
		return name
	}
	stem, extension := splitExtension(name)
	suffix := fmt.Sprintf(" (%d)", n) + extension
	return strings.TrimRight(cut(stem, maxName-len(suffix)), " .") + suffix
}

// unique gives the first of the numbered names that is not taken.
func unique(name string, taken func(string) bool) string {
	for n := 1; ; n++ {
		if s := numbered(name, n); !taken(s) {
			return s
		}
	}
}

// plainName makes of a room's name one that a shell takes without quoting
// tricks: no '!', '#', '@' or '~' at its start, and no ':' at all.
func plainName(name string) string {
	name = strings.ReplaceAll(SafeName(name), ":", "_")
	return SafeName(strings.TrimLeft(name, "!#@~ .-"))
}
