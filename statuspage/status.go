package statuspage

import (
	"time"

	"example.com/stytchmigrate"
)

// status is all that the page knows at a moment. Its JSON is what the page
// answers to programs.
type status struct {
	Scope      string            `json:"scope"`
	At         time.Time         `json:"at"`
	Since      time.Time         `json:"since"`
	Removal    verdict           `json:"removal"`
	Sessions   sessionCounts     `json:"legacy_sessions"`
	Stages     []stageStatus     `json:"stages"`
	LastLegacy time.Time         `json:"last_legacy_session,omitzero"`
	Requests   map[string]uint64 `json:"requests"`
	Hours      []hourStatus      `json:"hours"`
	Failures   []failureStatus   `json:"failures"`
	Lanes      []laneStatus      `json:"held_back"`
	Kinds      []kindStatus      `json:"events"`
	Dial       *rolloutStatus    `json:"dial,omitempty"`
}

// counts are of distinct legacy sessions. One can be in several.
type counts struct {
	Seen        uint64 `json:"seen"`
	Migrated    uint64 `json:"migrated"`
	Left        uint64 `json:"left_alone"`
	Refused     uint64 `json:"refused"`
	Unavailable uint64 `json:"unavailable"`
}

type sessionCounts struct {
	counts
	ToMove       uint64  `json:"to_move"`                 // seen, and never with a Stytch session
	MovedPercent *uint64 `json:"moved_percent,omitempty"` // of those seen, cut and not rounded; nil: none was seen
	ErrorPercent float64 `json:"error_percent"`
}

// stageStatus is of the time in which the rollout had a stage.
type stageStatus struct {
	Stage string `json:"stage"`
	counts
}

type hourStatus struct {
	From time.Time `json:"from"`
	counts
	Requests uint64 `json:"requests"`
}

type kindStatus struct {
	Kind      string    `json:"kind"`
	Title     string    `json:"-"`
	Count     uint64    `json:"count"`
	Last      time.Time `json:"last,omitzero"`
	Failing   bool      `json:"failing,omitzero"`
	Recovered time.Time `json:"recovered,omitzero"` // since when it works again
}

func (d *distinct) counts() counts {
	return counts{
		Seen: d[seen].count(), Migrated: d[migrated].count(), Left: d[left].count(),
		Refused: d[refused].count(), Unavailable: d[unavailable].count(),
	}
}

// toMove is how many have not been seen with a Stytch session. Both numbers are
// estimates, of which the second can be the larger.
func (d *distinct) toMove() uint64 {
	all, done := d[seen].count(), d[moved].count()
	return all - min(all, done)
}

func (d *distinct) sessionCounts() sessionCounts {
	s := sessionCounts{counts: d.counts(), ToMove: d.toMove(), ErrorPercent: errorPercent}
	if s.Seen > 0 {
		percent := 100 * (s.Seen - min(s.Seen, s.ToMove)) / s.Seen
		s.MovedPercent = &percent
	}
	return s
}

// byStage leaves out stages in which no legacy session came.
func (p *Page) byStage() []stageStatus {
	rows := []stageStatus{}
	for _, s := range []stytchmigrate.Stage{stytchmigrate.StageObserve, stytchmigrate.StageShadow, stytchmigrate.StageKeep, stytchmigrate.StageReplace, stytchmigrate.StageRetired} {
		if row := (stageStatus{s.String(), p.stages[s].counts()}); row.Seen > 0 {
			rows = append(rows, row)
		}
	}
	return rows
}

// status reads all numbers once. Those of requests that come meanwhile may be in
// one and not in another.
func (p *Page) status(now time.Time) *status {
	s := &status{
		Scope: "this process, since it started", At: now.UTC(), Since: p.started.UTC(),
		Sessions: p.distinct.sessionCounts(), Stages: p.byStage(),
		LastLegacy: latest(p.legacy[:]), Removal: p.verdict(now),
		Requests: make(map[string]uint64, outcomes), Hours: p.hourly(now),
		Failures: p.failures.list(), Lanes: p.lanes.list(now), Dial: p.dial.status(),
	}
	for o := range p.outcomes {
		s.Requests[stytchmigrate.Outcome(o).String()] = p.outcomes[o].n.Load()
	}
	for i := range p.kinds {
		row := kindStatus{Kind: "other", Title: "Events of other kinds", Count: p.kinds[i].n.Load(), Last: p.kinds[i].when()}
		row.Failing = p.failing[i].Load()
		if at := p.over[i].when(); !row.Failing && !at.Before(row.Last) {
			row.Recovered = at
		}
		if i < len(kinds) {
			row.Kind, row.Title = kinds[i].name, kinds[i].title
		} else if row.Count == 0 {
			continue
		}
		s.Kinds = append(s.Kinds, row)
	}
	return s
}

func (p *Page) hourly(now time.Time) []hourStatus {
	from, list := p.hours.last(now)
	rows := make([]hourStatus, shownHours)
	for i, h := range list {
		rows[i].From = from.Add(time.Duration(i) * time.Hour)
		if h != nil {
			rows[i].counts, rows[i].Requests = h.distinct.counts(), h.requests.Load()
		}
	}
	return rows
}

// latest returns when any of them last was, the zero time for never.
func latest(of []tally) (t time.Time) {
	for i := range of {
		if x := of[i].when(); x.After(t) {
			t = x
		}
	}
	return t
}
