package statuspage

import (
	"slices"
	"strings"
	"sync"
	"time"

	"example.com/stytchmigrate"
)

const maxLanes = 8 // there are four kinds of calls that are held back apart

// lanes are the kinds of calls to Stytch, each with its breaker and its pause.
type lanes struct {
	mu sync.Mutex
	by map[string]*lane // maxLanes at most
}

type lane struct {
	state       string // open, half-open, closed; empty: nothing was heard of it
	since       time.Time
	pausedUntil time.Time
}

func (l *lanes) note(now time.Time, e *stytchmigrate.Event) {
	paused := e.Kind == "paused"
	known := paused || e.Cause == "open" || e.Cause == "half_open" || e.Cause == "closed"
	if !known || word(strings.ReplaceAll(e.Calls, " ", "")) == "" {
		return // rather no row than one that says closed
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch x := l.at(e.Calls); {
	case x == nil:
	case paused:
		x.pausedUntil = now.Add(e.Duration)
	default:
		x.state, x.since = strings.ReplaceAll(e.Cause, "_", "-"), now
	}
}

// at returns nil where there are too many. Call it with mu held.
func (l *lanes) at(name string) *lane {
	x := l.by[name]
	if x == nil && len(l.by) < maxLanes {
		x = new(lane)
		l.by[strings.Clone(name)] = x
	}
	return x
}

// laneStatus is a row of the page.
type laneStatus struct {
	Calls       string    `json:"calls"`
	Breaker     string    `json:"breaker"`
	Since       time.Time `json:"since,omitzero"`
	PausedUntil time.Time `json:"paused_until,omitzero"`
}

func (l *lanes) list(now time.Time) []laneStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	rows := make([]laneStatus, 0, len(l.by))
	for name, x := range l.by {
		row := laneStatus{Calls: name, Breaker: x.state, Since: x.since.UTC()}
		if x.state == "" {
			row.Breaker = "closed"
		}
		if x.pausedUntil.After(now) {
			row.PausedUntil = x.pausedUntil.UTC()
		}
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b laneStatus) int { return strings.Compare(a.Calls, b.Calls) })
	return rows
}
