package statuspage

import (
	"slices"
	"strings"
	"sync"
	"time"

	"example.com/stytchmigrate"
)

const (
	maxFailures = 32 // kinds of failures that are kept apart
	keptIDs     = 5  // request ids of each, all different
	maxWord     = 64
)

// What a failure is called that came without an error type, by its cause. In
// brackets, for these are no words of Stytch's.
var called = map[string]string{
	"timed_out":      "(timed out)",
	"no_answer":      "(no answer that can be used)",
	"held_back":      "(not asked: breaker or pause)",
	"stytch":         "(an error without a type)",
	"brake":          "(not believed: Stytch knew too few)",
	"application":    "(the application's own code failed, or a setting is wrong: see the log)",
	"identity":       "(nobody verified who it is)",
	"another_person": "(Stytch's user is somebody else)",
	"unverified":     "(the email is not verified at Stytch)",
	"logged_out":     "(logged out before)",
	"per_second":     "(left alone: exchanges a second)",
	"in_flight":      "(left alone: no place in flight)",
}

const (
	malformed = "(not a word)"
	unknown   = "(of a later version)"
	older     = "(others, longer ago)"
)

// failures are requests that were refused, could not be told about, or found no
// room, by Stytch's error type.
type failures struct {
	mu      sync.Mutex
	by      map[string]*failure // maxFailures at most
	dropped failure             // all that had to make room, together
}

type failure struct {
	n    uint64
	last time.Time
	ids  [keptIDs]string // the newest last; empty first
}

func (f *failures) note(now time.Time, e *stytchmigrate.Event) {
	label, id := labelOf(e), word(e.RequestID)
	f.mu.Lock()
	defer f.mu.Unlock()
	x := f.by[label]
	if x == nil {
		f.makeRoom()
		x = new(failure)
		f.by[strings.Clone(label)] = x // else the whole answer would stay in memory
	}
	x.n++
	x.last = now
	if id != "" && !slices.Contains(x.ids[:], id) {
		copy(x.ids[:], x.ids[1:])
		x.ids[keptIDs-1] = strings.Clone(id)
	}
}

// makeRoom drops what was not seen for longest: what goes on now is never hidden
// by what once filled the table. Call it with mu held.
func (f *failures) makeRoom() {
	if len(f.by) < maxFailures {
		return
	}
	oldest := ""
	for label, x := range f.by {
		if oldest == "" || x.last.Before(f.by[oldest].last) {
			oldest = label
		}
	}
	x := f.by[oldest]
	f.dropped.n += x.n
	if x.last.After(f.dropped.last) {
		f.dropped.last = x.last
	}
	delete(f.by, oldest)
}

// labelOf names a failure by a word of bounded length. The error's text is not
// taken: it may quote what the application's own code said.
func labelOf(e *stytchmigrate.Event) string {
	if e.ErrorType == "" {
		if label := called[e.Cause]; label != "" {
			return label
		}
		return unknown
	}
	if w := word(e.ErrorType); w != "" {
		return w
	}
	return malformed
}

// word returns s if it looks like an error type or a request id, and else "". An
// email has a character that neither has.
func word(s string) string {
	ok := len(s) <= maxWord && strings.IndexFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-' && r != '_' && r != '.'
	}) < 0
	if !ok {
		return ""
	}
	return s
}

// failureStatus is a row of the page.
type failureStatus struct {
	Type       string    `json:"error_type"`
	Count      uint64    `json:"count"`
	Last       time.Time `json:"last"`
	RequestIDs []string  `json:"request_ids"` // the newest first
}

// list returns the rows, the latest first.
func (f *failures) list() []failureStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	rows := make([]failureStatus, 0, len(f.by)+1)
	for label, x := range f.by {
		rows = append(rows, x.status(label))
	}
	slices.SortFunc(rows, func(a, b failureStatus) int {
		if c := b.Last.Compare(a.Last); c != 0 {
			return c
		}
		return strings.Compare(a.Type, b.Type)
	})
	if f.dropped.n > 0 {
		rows = append(rows, f.dropped.status(older))
	}
	return rows
}

func (x *failure) status(label string) failureStatus {
	row := failureStatus{Type: label, Count: x.n, Last: x.last.UTC(), RequestIDs: []string{}}
	for _, id := range x.ids {
		if id != "" {
			row.RequestIDs = append(row.RequestIDs, id)
		}
	}
	slices.Reverse(row.RequestIDs)
	return row
}
