package outbound

import (
	"errors"
	"net/http"
	"strconv"
	"time"
)

// Never is what [RetryAfter] makes of a number of seconds that no int64 holds. It
// is longer than any wait, and small enough to be added to another duration.
const Never = 100 * 365 * 24 * time.Hour

// RetryAfter reads the header Retry-After as a number of seconds or as a date (RFC
// 9110 section 10.2.3). It returns 0 if the header is absent or malformed, and for
// a time that is past. It returns a day at most, or Never.
func RetryAfter(h http.Header) time.Duration {
	const most = 24 * time.Hour
	v := h.Get("Retry-After")
	seconds, err := strconv.ParseUint(v, 10, 63)
	switch {
	case err == nil:
		return time.Duration(min(seconds, uint64(most/time.Second))) * time.Second
	case errors.Is(err, strconv.ErrRange):
		return Never
	}
	if at, err := http.ParseTime(v); err == nil {
		return min(max(0, time.Until(at)), most)
	}
	return 0
}

// WholeSeconds rounds up. Retry-After counts in seconds, and a client that comes
// back a moment early comes back in vain.
func WholeSeconds(d time.Duration) time.Duration {
	return (d + time.Second - 1).Truncate(time.Second)
}
