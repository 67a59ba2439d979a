// Package background runs work outside the goroutine of a request: work that
// several requests wait for ([Group]), work that might never return ([Call]), and
// work that no request waits for ([Go], [Queue]). A panic in such work must not end
// the process, so each of them recovers it.
package background

import (
	"context"
	"time"
)

// Go runs f in a goroutine of its own and ignores its panic. f may call the
// application's code.
func Go(f func()) {
	go func() {
		defer func() { _ = recover() }()
		f()
	}()
}

// Sleep waits for d, or until ctx is done.
func Sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
