//go:build race

package main_test

// raceEnabled: the tests were built with the race detector, so the program
// they start is too.
const raceEnabled = true
