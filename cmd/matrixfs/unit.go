package main

import (
	_ "embed"
	"fmt"
	"os"
	"strings"
)

// unit is the unit for systemd, in which the path of this program is left out.
//
//go:embed matrixfs.service
var unit string

// unitCommand prints it.
type unitCommand struct{}

// Run prints the unit with the path of this program.
func (unitCommand) Run(con *console) error {
	executable, err := os.Executable()
	if err != nil {
		return fmt.Errorf("can't tell where this program is: %w", err)
	}
	_, err = fmt.Fprint(con.out, strings.Replace(unit, "@MATRIXFS@", unitWord(executable), 1))
	return err
}

// unitWord writes a path so that systemd reads it as it is (systemd.service(5),
// "Command lines"). One with quotes or backslashes it does not take at all.
func unitWord(path string) string {
	path = strings.ReplaceAll(path, "%", "%%")
	if strings.Contains(path, " ") {
		path = `"` + path + `"`
	}
	return path
}
