package statuspage

import (
	"context"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Dial lets the page show how far the migration is turned up, and change it, on
// this process. What the numbers do is up to the functions.
type Dial struct {
	// Stages may be chosen, in this order. Leave out those that must not be
	// reached by a click.
	Stages []string

	// Get returns the setting in force. Nil: there is no dial.
	Get func() Setting

	// Set changes it. Nil: the page shows it only. The text of an error is shown.
	Set func(context.Context, Setting) error
}

// Setting is what a Dial shows.
type Setting struct {
	Stage     string    `json:"stage"`
	HoldBack  float64   `json:"hold_back"`      // percent of legacy sessions, 0 to 100
	PerSecond float64   `json:"per_second"`     // exchanges; 0: no limit
	Until     time.Time `json:"until,omitzero"` // zero: no end
}

func (d *Dial) get() *Setting {
	if d.Get == nil {
		return nil
	}
	s := d.Get()
	return &s
}

const (
	maxForm    = 4 << 10
	maxInput   = 64  // bytes of a field that are shown again
	maxMessage = 300 // bytes of an error of Set
	untilForm  = "2006-01-02T15:04:05"
)

// dialForm is the form as it is shown: what was sent, where that was wrong.
type dialForm struct {
	Stage, HoldBack, PerSecond, Until string

	Stages   []string
	ReadOnly bool
	Errors   map[string]string // by field; "" is Set's
}

func (d *Dial) form(s *Setting) *dialForm {
	if s == nil {
		return nil
	}
	f := &dialForm{Stage: s.Stage, HoldBack: number(s.HoldBack), PerSecond: number(s.PerSecond), Stages: d.Stages, ReadOnly: d.Set == nil}
	if !s.Until.IsZero() {
		f.Until = s.Until.UTC().Format(untilForm)
	}
	// Else a browser would choose another stage by itself.
	if !slices.Contains(f.Stages, s.Stage) {
		f.Stages = append([]string{s.Stage}, f.Stages...)
	}
	return f
}

func number(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }

// turn sets what a form asks for. It returns nil where that was done, and else
// the form with what was sent and what is wrong with it.
func (d *Dial) turn(r *http.Request) *dialForm {
	f := d.form(d.get())
	field := func(name string) string {
		v := strings.TrimSpace(r.PostForm.Get(name))
		return v[:min(len(v), maxInput)]
	}
	f.Stage, f.HoldBack, f.PerSecond, f.Until = field("stage"), field("hold_back"), field("per_second"), field("until")
	s := f.parse()
	if len(f.Errors) > 0 {
		return f
	}
	if err := d.Set(r.Context(), s); err != nil {
		f.wrong("", strings.ToValidUTF8(cut(err.Error(), maxMessage), ""))
		return f
	}
	return nil
}

func (f *dialForm) wrong(name, text string) {
	if f.Errors == nil {
		f.Errors = make(map[string]string)
	}
	f.Errors[name] = text
}

// parse reads the fields, and says of each what is wrong with it.
func (f *dialForm) parse() Setting {
	s := Setting{Stage: f.Stage}
	if !slices.Contains(f.Stages, f.Stage) {
		f.wrong("stage", "Choose one of the stages.")
	}
	var err error
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
		if s.Until, err = time.Parse(layout, f.Until); err == nil {
			return s
		}
	}
	f.wrong("until", "Give a time like 2030-01-31T18:00, in UTC, or nothing.")
	return s
}

// cut returns the first n bytes of s, and says that there was more.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "…"
}
