package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/statuspage"
)

// newOps returns the operators' page: what becomes of the old sessions, and the rollout,
// which says which of them move. OnEvent feeds it.
func (a *app) newOps() *statuspage.Page {
	return statuspage.New(statuspage.Options{Back: "/", Dial: statuspage.Dial{
		Stages: []stytchmigrate.Stage{
			stytchmigrate.StageObserve, stytchmigrate.StageShadow, stytchmigrate.StageKeep, stytchmigrate.StageReplace, stytchmigrate.StageRetired,
		},
		Get: func() stytchmigrate.Rollout { return a.auth().Rollout() },
		Set: func(_ context.Context, r stytchmigrate.Rollout) error { return a.auth().SetRollout(r) },
	}})
}

// operatorsOnly is where a real application has its operators' access control:
// who can change the rollout decides for all users. Here there is none, as there are no
// passwords: everybody who reaches this server is an operator.
func operatorsOnly(page http.Handler) http.Handler { return page }

// opsStatus is some of what the page tells programs.
type opsStatus struct {
	Sessions struct {
		Seen     int `json:"seen"`
		Migrated int `json:"migrated"`
		Left     int `json:"left_alone"`
	} `json:"legacy_sessions"`
	Requests map[string]uint64 `json:"requests"` // by outcome
	Dial     struct {
		Stage string `json:"stage"`
	} `json:"dial"`
}

func (s opsStatus) sessions() string {
	return fmt.Sprintf("%d seen, %d migrated, %d left alone", s.Sessions.Seen, s.Sessions.Migrated, s.Sessions.Left)
}

// ops reads the page as a program does.
func (b *browser) ops(ctx context.Context) (s opsStatus, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.base.JoinPath("/ops").String(), nil)
	if err != nil {
		return s, err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := b.client.Do(req)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	return s, json.NewDecoder(resp.Body).Decode(&s)
}

// turn sends the form of the rollout.
func (b *browser) turn(ctx context.Context, to stytchmigrate.Stage, holdBack float64) (visit, error) {
	return b.do(ctx, http.MethodPost, "/ops", url.Values{
		"stage": {to.String()}, "hold_back": {strconv.FormatFloat(holdBack, 'f', -1, 64)}, "per_second": {"0"},
	})
}

// count reads on the operators' page what the walk did until then.
func (w *walker) count(ctx context.Context) error {
	s, err := w.operator.ops(ctx)
	if err != nil {
		return err
	}
	w.line("request", "GET /ops")
	w.line("legacy sessions", s.sessions())
	w.line("requests", fmt.Sprintf("%d migrated, %d authenticated", s.Requests["migrated"], s.Requests["authenticated"]))
	w.line("rollout", s.Dial.Stage)
	return expect(
		fact{"legacy sessions", "2 seen, 2 migrated, 0 left alone", s.sessions()},
		fact{"requests in which somebody moved", uint64(11), s.Requests["migrated"]},
		fact{"requests of somebody who had moved", uint64(2), s.Requests["authenticated"]},
		fact{"rollout", "replace", s.Dial.Stage},
	)
}

// turn stops the migration by the rollout, and lets it go on.
func (w *walker) turn(ctx context.Context) error {
	if _, err := w.katherine.login(ctx, "katherine"); err != nil {
		return err
	}
	if err := w.turnTo(ctx, stytchmigrate.StageObserve); err != nil {
		return err
	}
	w.say("Katherine's old session stays what it is:")
	k, err := w.katherine.me(ctx)
	if err != nil {
		return err
	}
	w.tell(k)
	w.say("Ada, who has moved, notices nothing:")
	a, err := w.ada.me(ctx)
	if err != nil {
		return err
	}
	w.tell(a)
	w.say("They choose \"replace\" again:")
	return cmp.Or(w.turnTo(ctx, stytchmigrate.StageReplace), isLeftAlone(k, "legacy", "katherine"),
		expect(fact{"calls", "none", callList(k.calls)}), isStay(a, w.firstSession))
}

func (w *walker) turnTo(ctx context.Context, to stytchmigrate.Stage) error {
	v, err := w.operator.turn(ctx, to, 0)
	if err != nil {
		return err
	}
	s, err := w.operator.ops(ctx)
	if err != nil {
		return err
	}
	w.line("request", fmt.Sprintf("%s → %d", v.request, v.status))
	w.line("rollout", s.Dial.Stage)
	return expect(fact{"status", http.StatusSeeOther, v.status}, fact{"rollout", to.String(), s.Dial.Stage})
}
