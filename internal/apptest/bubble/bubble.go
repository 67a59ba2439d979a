// Package bubble counts goroutines in a bubble of testing/synctest.
package bubble

import (
	"bytes"
	"regexp"
	"runtime"
)

var header = regexp.MustCompile(`^goroutine \d+[^\n]*(synctest bubble \d+)`)

// Goroutines returns how many goroutines the bubble of the caller has. It panics
// outside of a bubble. runtime.NumGoroutine counts those of other tests too.
func Goroutines() (n int) {
	own := header.FindSubmatch(stacks(false))
	if own == nil {
		panic("bubble: not in a bubble of testing/synctest")
	}
	for stack := range bytes.SplitSeq(stacks(true), []byte("\n\n")) {
		if m := header.FindSubmatch(stack); m != nil && bytes.Equal(m[1], own[1]) {
			n++
		}
	}
	return n
}

func stacks(all bool) []byte {
	for size := 1 << 16; ; size *= 2 {
		buf := make([]byte, size)
		if n := runtime.Stack(buf, all); n < size {
			return buf[:n]
		}
	}
}
