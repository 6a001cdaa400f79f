package fs

import (
	"strings"
	"testing"
)

func TestParseDD(t *testing.T) {
	for args, want := range map[string]struct {
		block int64
		whole bool
	}{
		"":                                    {0, true},
		"if=a of=b bs=4M":                     {4 << 20, true},
		"if=a of=b bs=512 conv=fsync,notrunc": {512, true},
		"of=b bs=1MiB status=none":            {0, true},
		"bs=64k iflag=fullblock oflag=dsync":  {64 << 10, true},
		"bs=1G -- if=a":                       {1 << 30, true},
		"if=a of=b count=2":                   {0, false},
		"if=a of=b skip=1":                    {0, false},
		"if=a of=b seek=1":                    {0, false},
		"if=a of=b iseek=1":                   {0, false},
		"if=a of=b conv=sync":                 {0, false},
		"if=a of=b conv=fsync,ucase":          {0, false},
		"if=a of=b cbs=80":                    {0, false},
		"--help":                              {0, false},
		"bs=99999999999999999999 if=a":        {0, true},
		"bs=-1":                               {0, true},
	} {
		block, whole := parseDD(strings.Fields(args))
		if block != want.block || whole != want.whole {
			t.Errorf("%q: %d %v", args, block, whole)
		}
	}
}

func TestCopiesOne(t *testing.T) {
	for command, want := range map[string]bool{
		"cat": true, "cat a": true, "cat -u a": true, "cat -- a": true, "cat -": true, "pv -pter a": true, "pv -q a": true,
		"cat a a": false, "cat a -": false, "cat -n a": false, "cat -- -u a": false, "cat --squeeze-blank a": false,
		"pv -qS a": false, "pv -s 10 a": false, "pv --skip-errors a": false,
	} {
		args := strings.Fields(command)
		if copiesOne(args[0], args[1:]) != want {
			t.Errorf("%s: %v", command, !want)
		}
	}
}
