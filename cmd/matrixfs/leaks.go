package main

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"
)

// errLeaks: the program is about to end and something of it still runs.
var errLeaks = errors.New("goroutines are left")

// leakPatience is how long the last goroutines get to end. What they were
// waiting for has been closed; they need only be scheduled.
const leakPatience = 3 * time.Second

// checkLeaks makes sure that nothing but the caller runs any more. It is for
// tests, which start this program as a child and can't look inside. What runs
// is printed.
func checkLeaks(con *console) error {
	deadline := time.Now().Add(leakPatience)
	left := otherGoroutines()
	for len(left) > 0 && time.Now().Before(deadline) {
		<-time.After(10 * time.Millisecond)
		left = otherGoroutines()
	}
	if len(left) == 0 {
		return nil
	}
	fmt.Fprintln(con.err, strings.Join(left, "\n\n"))
	return errLeaks
}

// otherGoroutines gives the stacks of all goroutines but the caller's and
// those that the Go runtime keeps once something has used signals.
func otherGoroutines() []string {
	buffer := make([]byte, 1<<20)
	buffer = buffer[:runtime.Stack(buffer, true)]
	var left []string
	for i, stack := range strings.Split(string(buffer), "\n\n") {
		if i == 0 || strings.Contains(stack, "os/signal.loop") || strings.Contains(stack, "runtime.ensureSigM") {
			continue // the first is the caller
		}
		left = append(left, stack)
	}
	return left
}
