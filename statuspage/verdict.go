package statuspage

import (
	"fmt"
	"time"

	"example.com/stytchmigrate"
)

// verdict is whether the old cookie may be removed from the code, and why. All
// reasons have to hold.
type verdict struct {
	Safe    bool     `json:"safe"`
	Quiet   string   `json:"quiet"` // what Options.Quiet is
	Reasons []reason `json:"reasons"`
}

type reason struct {
	Holds bool   `json:"holds"`
	Text  string `json:"text"`
}

// day is how long an outage of the old sessions may be over before those whom it
// kept from being told apart have come again.
const day = 24 * time.Hour

// verdict goes by times, which are exact, and not by estimates.
func (p *Page) verdict(now time.Time) verdict {
	v := verdict{Safe: true, Quiet: span(p.quiet)}
	say := func(holds bool, format string, args ...any) {
		v.Safe = v.Safe && holds
		v.Reasons = append(v.Reasons, reason{holds, fmt.Sprintf(format, args...)})
	}
	up := now.Sub(p.started)
	say(up >= p.quiet, "This process has watched for %s; it takes %s to tell.", span(up), v.Quiet)

	heard := latest(p.outcomes[:]) // a page that nobody feeds must not say that all is well
	say(!heard.IsZero() && now.Sub(heard) < day, "Last request of any kind: %s. Without requests nothing can be told.", ago(now, heard))

	last := latest(p.legacy[:])
	say(p.quietSince(now, last), "Last legacy session: %s. None may have come for %s.", ago(now, last), v.Quiet)

	stuck := latest(p.legacy[stytchmigrate.OutcomeLegacy:]) // and those after it: Refused, Unavailable
	say(p.quietSince(now, stuck), "Last one that did not move (left alone, refused or unavailable): %s.", ago(now, stuck))

	untold := p.untold.when()
	say(untold.IsZero() || now.Sub(untold) >= day,
		"Last request whose old cookie the application could not read: %s. Its user has a day to come again.", ago(now, untold))

	set := p.kinds[kindOf("still_set")].when()
	say(p.quietSince(now, set), "Last time that a handler set the old cookie in stage retired: %s. The old login must be gone.", ago(now, set))
	return v
}

func (p *Page) quietSince(now, t time.Time) bool { return t.IsZero() || now.Sub(t) >= p.quiet }

// ago tells how long it is since t; never, where t is the zero time.
func ago(now, t time.Time) string {
	switch {
	case t.IsZero():
		return "never"
	case now.Sub(t) < time.Second:
		return "just now"
	}
	return span(now.Sub(t)) + " ago"
}

// span is a duration by its largest unit, as people say it. It is cut, not
// rounded: it never tells that a time is over which is not.
func span(d time.Duration) string {
	for _, u := range []struct {
		size time.Duration
		name string
	}{{day, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}, {time.Second, "second"}} {
		n := d / u.size
		if n == 1 {
			return "1 " + u.name
		} else if n > 1 {
			return fmt.Sprintf("%d %ss", n, u.name)
		}
	}
	return "less than a second"
}
