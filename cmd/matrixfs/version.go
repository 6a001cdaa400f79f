package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// versionCommand prints what this program is.
type versionCommand struct{}

// Run prints one line: version, Go version, operating system and processor.
func (versionCommand) Run(con *console) error {
	_, err := fmt.Fprintf(con.out, "matrixfs %s %s %s/%s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

// version is the version of the main module, with the commit where the build
// recorded one.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	if v == "" {
		v = "(devel)"
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" && v == "(devel)" && len(setting.Value) >= 12 {
			v = "(devel) " + setting.Value[:12]
		}
	}
	return v
}
