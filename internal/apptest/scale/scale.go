// Package scale says how large a test run is. The flag -full asks for the full
// size. It has a package of its own so that the tests of a single package can
// use it without an application.
package scale

import "flag"

var full = flag.Bool("full", false, "send all the requests that tests speak of, not a fifth of them, and walk the large models")

// Full reports whether the run is of the full size.
func Full() bool { return *full }

// Down is n requests in a run of the full size, else a fifth of n. The bounds
// that a test is about do not shrink with it, so a fifth of n must exceed them.
func Down(n int) int {
	if *full {
		return n
	}
	return n / 5
}
