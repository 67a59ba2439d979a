package statuspage

import (
	"context"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"example.com/stytchmigrate"
)

// Dial lets the page show the rollout in force, and change it, on this process. The
// page calls it "Rollout".
// The functions are those of the Middleware that feeds the page. Requests call
// them at the same time:
//
//	Get: func() stytchmigrate.Rollout { return auth.Rollout() },
//	Set: func(_ context.Context, r stytchmigrate.Rollout) error { return auth.SetRollout(r) },
type Dial struct {
	// Stages may be chosen, in this order. Nil: all but StageRetired, which signs
	// people out.
	Stages []stytchmigrate.Stage

	// Get returns the rollout in force. Nil: there is no dial.
	Get func() stytchmigrate.Rollout

	// Set changes it. Nil: the page shows it only. It is given the request's
	// context, for who wants to note whose doing it was. The text of an error is shown.
	Set func(context.Context, stytchmigrate.Rollout) error
}

// rolloutStatus is the rollout as programs read it.
type rolloutStatus struct {
	Stage     string    `json:"stage"`
	HoldBack  float64   `json:"hold_back"`
	PerSecond float64   `json:"per_second"`
	Until     time.Time `json:"until,omitzero"`
	First     int       `json:"first_count,omitzero"` // and not who: a Subject may be an email
}

// settable reports that the page may change the rollout.
func (d *Dial) settable() bool { return d.Get != nil && d.Set != nil }

func (d *Dial) status() *rolloutStatus {
	if d.Get == nil {
		return nil
	}
	r := d.Get()
	return &rolloutStatus{r.Stage.String(), r.HoldBack, r.PerSecond, r.Until.UTC(), len(r.First)}
}

// stages are those that may be chosen. The one in force is, or a browser would
// choose another by itself.
func (d *Dial) stages(now stytchmigrate.Stage) []stytchmigrate.Stage {
	list := d.Stages
	if list == nil {
		list = []stytchmigrate.Stage{stytchmigrate.StageObserve, stytchmigrate.StageShadow, stytchmigrate.StageKeep, stytchmigrate.StageReplace}
	}
	if !slices.Contains(list, now) {
		list = append([]stytchmigrate.Stage{now}, list...)
	}
	return list
}

const (
	maxForm    = 4 << 10
	maxInput   = 64  // bytes of a field that are shown again
	maxMessage = 300 // bytes of an error of Set
	untilForm  = "2006-01-02T15:04:05"
)

// rolloutForm is the form as it is shown: what was sent, where that was wrong.
type rolloutForm struct {
	Stage, HoldBack, PerSecond, Until string

	Stages   []stytchmigrate.Stage
	First    int // how many users move first
	ReadOnly bool
	Errors   map[string]string // by field; "" is Set's
}

// form returns nil where there is no dial.
func (d *Dial) form() *rolloutForm {
	if d.Get == nil {
		return nil
	}
	return d.formOf(d.Get())
}

func (d *Dial) formOf(r stytchmigrate.Rollout) *rolloutForm {
	f := &rolloutForm{
		Stage: r.Stage.String(), HoldBack: number(r.HoldBack), PerSecond: number(r.PerSecond),
		Stages: d.stages(r.Stage), First: len(r.First), ReadOnly: d.Set == nil,
	}
	if !r.Until.IsZero() {
		f.Until = r.Until.UTC().Format(untilForm)
	}
	return f
}

func number(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }

// turn sets what a form asks for. It returns nil where that was done, and else
// the form with what was sent and what is wrong with it.
func (d *Dial) turn(r *http.Request) *rolloutForm {
	inForce := d.Get()
	f := d.formOf(inForce)
	field := func(name string) string {
		v := strings.TrimSpace(r.PostForm.Get(name))
		return shown(cut(v, maxInput))
	}
	f.Stage, f.HoldBack, f.PerSecond, f.Until = field("stage"), field("hold_back"), field("per_second"), field("until")
	s := f.parse()
	s.First = inForce.First // which the form has no field for
	if f.Errors["stage"] != "" {
		f.Stage = inForce.Stage.String() // the browser would choose the first by itself, and send that next time
	}
	if len(f.Errors) > 0 {
		return f
	}
	if err := d.Set(r.Context(), s); err != nil {
		f.wrong("", shown(cut(err.Error(), maxMessage)))
		return f
	}
	return nil
}

func (f *rolloutForm) wrong(name, text string) {
	if f.Errors == nil {
		f.Errors = make(map[string]string)
	}
	f.Errors[name] = text
}

// parse reads the fields, and says of each what is wrong with it.
func (f *rolloutForm) parse() (s stytchmigrate.Rollout) {
	err := s.Stage.UnmarshalText([]byte(f.Stage))
	if err != nil || !slices.Contains(f.Stages, s.Stage) {
		f.wrong("stage", "Choose one of the stages.")
	}
	if s.HoldBack, err = strconv.ParseFloat(f.HoldBack, 64); err != nil || !(s.HoldBack >= 0 && s.HoldBack <= 100) {
		f.wrong("hold_back", "Give a number from 0 to 100.")
	}
	if s.PerSecond, err = strconv.ParseFloat(f.PerSecond, 64); err != nil || !(s.PerSecond >= 0) || math.IsInf(s.PerSecond, 1) {
		f.wrong("per_second", "Give a number that is not below 0; 0 is no limit.")
	}
	if f.Until == "" {
		return s
	}
	for _, layout := range []string{untilForm, "2006-01-02T15:04", time.RFC3339} { // browsers leave seconds out where they are 0
		s.Until, err = time.Parse(layout, f.Until)
		// The zero time would stand for no end, and JSON has no form for the year 10000.
		if err == nil && !s.Until.IsZero() && s.Until.UTC().Year() <= 9999 {
			return s
		}
	}
	f.wrong("until", "Give a time like 2030-01-31T18:00, in UTC, or nothing.")
	return s
}

// shown puts a mark in place of what is no text: control characters, and bytes
// that are none. Were they left out, another number than was sent might be read.
func shown(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// cut returns the first n bytes of s, and says that there was more: a number that
// was cut must not pass for another one either.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "…"
}
