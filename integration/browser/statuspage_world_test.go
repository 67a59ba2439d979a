package browser

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/statuspage"
)

// dialOf is a dial of s.
func dialOf(s *stytchmigrate.Rollout) statuspage.Dial {
	return statuspage.Dial{
		Get: func() stytchmigrate.Rollout { return *s },
		Set: func(_ context.Context, to stytchmigrate.Rollout) error {
			if to.HoldBack == 66.6 {
				return errors.New("stytchmigrate: rollout: not while the release is frozen")
			}
			*s = to
			return nil
		},
	}
}

// printed is a page as it was at some time, served for ever: the days that fill it
// pass in a bubble, and no browser gets into that.
func printed(t *testing.T, r *http.Request, live func(*statuspage.Page)) http.Handler {
	t.Helper()
	w := httptest.NewRecorder()
	synctest.Test(t, func(*testing.T) {
		rollout := stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep, HoldBack: 90, PerSecond: 20, Until: time.Now().AddDate(0, 1, 0)}
		page := statuspage.New(statuspage.Options{Dial: dialOf(&rollout)})
		live(page)
		page.ServeHTTP(w, r)
	})
	return http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		for name, values := range w.Header() {
			out.Header()[name] = values
		}
		out.WriteHeader(w.Code)
		_, _ = out.Write(w.Body.Bytes())
	})
}

// busyDays are three days of an application with some thousand users, which end
// in trouble.
func busyDays(page *statuspage.Page) {
	rng := rand.New(rand.NewPCG(1, 2))
	users := 0
	for h := range 60 {
		time.Sleep(time.Hour)
		for range 40 + 30*(12-abs(time.Now().Hour()-14)) {
			users++
			e := request(rng, users)
			switch {
			case h < 20 && e.Fingerprint != "":
				tried := e
				tried.Kind, e.Stage = "shadow", stytchmigrate.StageShadow
				e.Outcome, e.Cause, e.Err = stytchmigrate.OutcomeLegacy, "shadow", nil
				page.Observe(context.Background(), tried)
			case h < 30:
				e.Stage = stytchmigrate.StageKeep
			}
			page.Observe(context.Background(), e)
		}
	}
	trouble(page)
}

// request is that of a user, by a legacy session most of the time.
func request(rng *rand.Rand, user int) stytchmigrate.Event {
	e := stytchmigrate.Event{Kind: "request", Fingerprint: fmt.Sprint("fingerprint ", user)}
	switch n := rng.IntN(100); {
	case n < 20:
		e.Outcome = stytchmigrate.OutcomeMigrated
	case n < 60:
		e.Outcome = stytchmigrate.OutcomeLegacy
	case n < 62:
		e.Outcome, e.Cause, e.ErrorType, e.RequestID = stytchmigrate.OutcomeRefused, "stytch", "user_not_found", fmt.Sprintf("request-id-test-%036d", user)
		e.Err = errors.New("stytchmigrate: migrate: no user has that email")
	case n < 90:
		e.Outcome, e.Fingerprint = stytchmigrate.OutcomeAuthenticated, ""
	default:
		e.Fingerprint = ""
	}
	return e
}

// trouble is an outage that a breaker answers.
func trouble(page *statuspage.Page) {
	tell := func(e stytchmigrate.Event) { page.Observe(context.Background(), e) }
	for i := range 37 {
		tell(stytchmigrate.Event{
			Kind: "request", Outcome: stytchmigrate.OutcomeUnavailable, Fingerprint: fmt.Sprint("unlucky ", i),
			Cause: "stytch", ErrorType: "service_unavailable", RequestID: fmt.Sprintf("request-id-test-%036d", i), Err: errors.New("stytchmigrate: migrate: 503"),
		})
	}
	tell(stytchmigrate.Event{Kind: "request", Outcome: stytchmigrate.OutcomeUnavailable, Cause: "timed_out", Err: context.DeadlineExceeded})
	tell(stytchmigrate.Event{Kind: "breaker", Cause: "open", Calls: "exchange", Duration: 5 * time.Second})
	tell(stytchmigrate.Event{Kind: "breaker", Cause: "closed", Calls: "session"})
	tell(stytchmigrate.Event{Kind: "paused", Cause: "paused", Calls: "exchange", Duration: 5 * time.Minute})
	for kind, n := range map[string]int{"logout": 1204, "mismatch": 3, "conflict": 1, "store": 12, "jwks": 1} {
		for range n {
			tell(stytchmigrate.Event{Kind: kind})
		}
	}
	time.Sleep(90 * time.Second)
	tell(stytchmigrate.Event{Kind: "store", Cause: "recovered"})
}

func abs(n int) int { return max(n, -n) }

// wrongForm is a form in which no field is right.
func wrongForm() *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/ops", strings.NewReader("stage=retired&hold_back=half&per_second=-1&until=tomorrow"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}
