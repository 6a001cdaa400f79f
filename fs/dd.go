package fs

import (
	"strconv"
	"strings"
)

// ddOperands are the operands of dd that leave what it copies as it is.
var ddOperands = map[string]bool{
	"if": true, "of": true, "bs": true, "ibs": true, "obs": true, "status": true, "iflag": true, "oflag": true,
}

// ddConversions are those of its conversions that do.
var ddConversions = map[string]bool{"fsync": true, "fdatasync": true, "notrunc": true, "excl": true, "nocreat": true}

// parseDD reads the arguments of dd. whole reports whether it copies all of its
// input, unchanged; block is how much it copies at a time, or 0.
func parseDD(args []string) (block int64, whole bool) {
	for _, arg := range args {
		name, value, _ := strings.Cut(arg, "=")
		switch {
		case arg == "--":
		case name == "conv":
			for conversion := range strings.SplitSeq(value, ",") {
				if !ddConversions[conversion] {
					return 0, false
				}
			}
		case !ddOperands[name]:
			return 0, false
		case name == "bs":
			block = parseBlock(value)
		}
	}
	return block, true
}

// parseBlock reads "4M", "512" and the like; it gives 0 for what it does not
// know.
func parseBlock(s string) int64 {
	unit := int64(1)
	for suffix, n := range map[string]int64{"K": 1 << 10, "k": 1 << 10, "M": 1 << 20, "G": 1 << 30} {
		if digits, ok := strings.CutSuffix(s, suffix); ok {
			s, unit = digits, n
			break
		}
	}
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n < 0 {
		return 0
	}
	return n * unit
}

// plainOptions are the options of cat and pv, each a letter, that leave what
// they copy as it is, and have no value.
var plainOptions = map[string]string{"cat": "u", "pv": "0abCcefIlnpqrTtW"}

// copiesOne reads the arguments of cat or pv, and reports whether it copies all
// of one file, unchanged.
func copiesOne(program string, args []string) bool {
	files := 0
	for i, arg := range args {
		letters, option := strings.CutPrefix(arg, "-")
		switch {
		case arg == "--":
			return files+len(args[i+1:]) <= 1
		case !option || arg == "-":
			files++
		case strings.Trim(letters, plainOptions[program]) != "":
			return false
		}
	}
	return files <= 1
}
