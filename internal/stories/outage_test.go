package stories_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/internal/apptest/bubble"
	"example.com/stytchmigrate/stytchtest"
)

// Stytch is down, slow, silent or broken. No user is signed out by that, no request
// waits longer than Timeout, and all works again when Stytch is back. Only an error
// that is known to mean "no" clears cookies.
//
// What each error means is tested in package stytch, what becomes of a connection in
// package client, and what is tried again in package outbound. Here are the rows in
// which the whole middleware behaves differently.

const signedOutAsked = "anonymous | -stytch_session -stytch_session_jwt | no-store | authenticate authenticate" // by the token, and by the JWT

// Each row is an error that Stytch answers an exchange with. The next request with
// the same cookie shows whether a refusal was remembered.
func TestErrorOfExchange(t *testing.T) {
	const (
		once  = apptest.RefusedUntouched + "migrate, then " + apptest.RefusedUntouched + "-"
		each  = apptest.UnavailableUntouched + "migrate, then " + apptest.UnavailableUntouched + "migrate"
		twice = apptest.UnavailableUntouched + "migrate migrate, then " + apptest.UnavailableUntouched + "migrate migrate" // it is tried again at once
	)
	for name, row := range map[string]struct {
		status    int
		errorType string
		want      string
	}{
		"no such session":                  {404, "session_not_found", once},
		"no such email, as unauthorized":   {401, "migrate_from_external_email_does_not_exist", once},
		"the user is locked":               {429, "user_lock_limit_reached", once},
		"a client error for a new reason":  {400, "brand_new_error", once},
		"UserInfo refused the token":       {400, "migrate_from_external_unexpected_response", apptest.UnavailableUntouched + "migrate, then " + apptest.UnavailableUntouched + "-"},
		"our credentials":                  {401, "unauthorized_credentials", apptest.UnavailableUntouched + "migrate, then " + apptest.UnavailableUntouched + "-"},
		"too many requests":                {429, "too_many_requests", twice},
		"Stytch is failing, and says no":   {500, "session_not_found", twice},
		"a gateway's 404":                  {404, "", each},
		"a redirect with an error in it":   {302, "session_not_found", each},
		"a success that is none":           {204, "", each},
		"another success that is an error": {201, "session_not_found", each},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Error(row.status, row.errorType))
				got := a.Get("sid=ada-1").String()
				assert.EqualValues(t, "ada-1", a.LegacySeen.ID, "the old code can still serve the user")
				assert.Equal(t, row.want, got+", then "+a.Get("sid=ada-1").String())
				var stytch *stytchmigrate.Error
				require.ErrorAs(t, a.Requests[0].Err, &stytch)
				assert.Equal(t, row.status, stytch.StatusCode)
				assert.Equal(t, row.errorType, a.Requests[0].ErrorType)
				var kinds []string
				for _, e := range a.SettledEvents() {
					kinds = append(kinds, e.Kind)
				}
				if row.errorType == "unauthorized_credentials" {
					assert.Equal(t, []string{"paused"}, kinds, "exchanges wait until the credentials may be right")
				} else {
					assert.Empty(t, kinds)
				}
			})
		})
	}
}

// Each row is an error that Stytch answers with when it is asked about a session. A
// "no" clears cookies, so fewer errors are a "no" than on an exchange.
func TestErrorOfRefresh(t *testing.T) {
	const unsure, twice = apptest.UnavailableUntouched + "authenticate", apptest.UnavailableUntouched + "authenticate authenticate"
	for name, row := range map[string]struct {
		status    int
		errorType string
		want      string
	}{
		"no such session":                 {404, "session_not_found", signedOutAsked},
		"a JWT of another issuer":         {400, "jwt_invalid_issuer", signedOutAsked},
		"no such user":                    {404, "user_not_found", unsure},
		"the user is locked":              {429, "user_lock_limit_reached", unsure},
		"a client error for a new reason": {400, "brand_new_error", unsure},
		"our credentials":                 {401, "unauthorized_credentials", unsure},
		"too many requests":               {429, "too_many_requests", twice},
		"throttled for bad tokens":        {429, "too_few_tokens_authenticated", unsure},
		"Stytch is failing, and says no":  {502, "session_not_found", twice},
		"a gateway's 404":                 {404, "", unsure},
		"a redirect with an error in it":  {302, "session_not_found", unsure},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				cookies, _ := a.Expired(a.Ada, "both")
				a.Stytch.FailAll(stytchtest.Authenticate, stytchtest.Error(row.status, row.errorType))
				assert.Equal(t, row.want, a.Get(cookies).String())
			})
		})
	}
}

// Each row is what becomes of a connection, or of an answer on its way. None of them
// says anything about the user.
func TestFault(t *testing.T) {
	html := "<html>502 Bad Gateway</html>"
	for name, row := range map[string]struct {
		fault  stytchtest.Fault
		takes  time.Duration
		calls  string
		reason string
	}{
		"reset":                      {stytchtest.Reset(), apptest.RetryPause, "migrate migrate", "stytchmigrate: migrate: read: connection reset by peer"},
		"reset in mid-answer":        {stytchtest.Fault{}.WithCut(50), apptest.RetryPause, "migrate migrate", "stytchmigrate: migrate: answer 200 broke off: connection closed"},
		"reset after the work":       {stytchtest.Reset().AfterWork(), apptest.RetryPause, "migrate migrate", "stytchmigrate: migrate: read: connection reset by peer"},
		"silence":                    {stytchtest.Silence(), 5 * time.Second, "migrate migrate", "stytchmigrate: call: no answer within the time of the request"},
		"a byte a second":            {stytchtest.Fault{}.WithDrip(time.Second), 5 * time.Second, "migrate migrate", "stytchmigrate: call: no answer within the time of the request"},
		"an answer that never ends":  {stytchtest.Endless(), 0, "migrate", "stytchmigrate: migrate: answer 200 is longer than 1 MiB"},
		"502 of a gateway":           {stytchtest.Respond(502, html), apptest.RetryPause, "migrate migrate", "stytchmigrate: stytch answered 502 to migrate"},
		"504, cut off":               {stytchtest.Respond(504, html).WithCut(5), apptest.RetryPause, "migrate migrate", "stytchmigrate: stytch answered 504 to migrate"},
		"a redirect to another host": {stytchtest.Redirect("https://elsewhere.example"), 0, "migrate", "stytchmigrate: stytch answered 307 to migrate"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				a.Stytch.FailAll(stytchtest.Migrate, row.fault)
				start := time.Now()
				assert.Equal(t, apptest.UnavailableUntouched+row.calls, a.Get("sid=ada-1").String())
				apptest.RequireTook(t, row.takes, start)
				assert.EqualError(t, a.Requests[0].Err, row.reason)

				time.Sleep(15 * time.Second)
				assert.Zero(t, a.Stytch.InFlight(stytchtest.Any), "nothing outlives three times Timeout")
				a.Stytch.Heal(stytchtest.Any)
				assert.Equal(t, apptest.Moved, a.Get("sid=ada-1").String())
			})
		})
	}
}

// A server that is closed is an outage like any other.
func TestConnectionRefused(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Stytch.Close()
		assert.Equal(t, apptest.UnavailableUntouched+"-", a.Get("sid=ada-1").String())
		assert.EqualError(t, a.Requests[0].Err, "stytchmigrate: migrate: dial: connection refused")
	})
}

// Each row is a Retry-After of Stytch's, and the one of our own 503.
func TestRetryAfter(t *testing.T) {
	for name, row := range map[string]struct{ given, want, calls string }{
		"a second": {"1", "1", "migrate migrate"}, // the second call is in time
		"an hour":  {"3600", "60", "migrate"},
		"none":     {"", "5", "migrate migrate"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				a.Stytch.FailAll(stytchtest.Migrate, downFor(row.given))
				out := a.GetRequiringUser("sid=ada-1")
				assert.Equal(t, "handler not run | - | no-store | "+row.calls, out.String())
				assert.Equal(t, http.StatusServiceUnavailable, out.Code)
				assert.Equal(t, row.want, out.Header().Get("Retry-After"))
			})
		})
	}
}

// A JWT that verifies is enough while Stytch, asked for the full user, is silent.
func TestSilenceBesideValidJWT(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies, _ := a.SignedIn(a.Ada)
		a.Stytch.FailAll(stytchtest.Authenticate, stytchtest.Silence())
		start := time.Now()
		assert.Equal(t, "authenticated partial ada"+apptest.CookiesUntouched+"authenticate", a.Get(cookies).String())
		assert.Equal(t, 500*time.Millisecond, time.Since(start))
	})
}

// A call that gets no answer leaves nothing behind after three times Timeout.
func TestSilenceLeavesNothing(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Silence())
		start, goroutines := time.Now(), bubble.Goroutines()
		assert.Equal(t, apptest.UnavailableUntouched+"migrate migrate", a.Get("sid=ada-1").String())
		assert.InDelta(t, 5*time.Second, time.Since(start), float64(200*time.Millisecond))
		assert.Greater(t, bubble.Goroutines(), goroutines, "the call goes on without its request")
		time.Sleep(time.Until(start.Add(15 * time.Second)))
		synctest.Wait()
		assert.Zero(t, a.Stytch.InFlight(stytchtest.Any))
		assert.LessOrEqual(t, bubble.Goroutines(), goroutines)
	})
}

// slowTransport fails at once or hangs for a day, whatever the context says.
type slowTransport struct {
	http.RoundTripper
	mode atomic.Int32
}

const (
	transportWorks = iota
	transportFails
	transportHangs
)

func (s *slowTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	switch s.mode.Load() {
	case transportFails:
		return nil, errors.New("down")
	case transportHangs:
		time.Sleep(24 * time.Hour)
		return nil, errors.New("late")
	}
	return s.RoundTripper.RoundTrip(r)
}

// The breaker is open and lets one call through as its probe. That call never
// returns. It must not stay the only probe, or exchanges would never recover.
func TestProbeThatHangsIsGivenUp(t *testing.T) {
	var transport slowTransport
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		transport.mode.Store(transportFails)
		for range 8 {
			a.Get("sid=ada-1")
		}
		transport.mode.Store(transportHangs)
		time.Sleep(6 * time.Second)
		a.Get("sid=ada-1")
		transport.mode.Store(transportWorks)
		time.Sleep(10 * time.Minute)
		assert.Equal(t, apptest.Moved, a.Get("sid=ada-1").String())
		time.Sleep(25 * time.Hour) // the call returns in the bubble
	}, func(c *stytchmigrate.Config) {
		transport.RoundTripper = c.HTTPClient.Transport
		c.HTTPClient = &http.Client{Transport: &transport}
	})
}

// downFor is a Stytch that says when to come again.
func downFor(retryAfter string) stytchtest.Fault {
	return stytchtest.Error(503, "server_unavailable").WithHeader("Retry-After", retryAfter)
}

// Each row is a fault of one call. The second try works, if it is in time for the
// request.
func TestSecondTry(t *testing.T) {
	for name, row := range map[string]struct {
		fault func() stytchtest.Fault
		takes time.Duration
		tries int
	}{
		"reset before the answer":     {stytchtest.Reset, apptest.RetryPause, 2},
		"reset, but the work is done": {func() stytchtest.Fault { return stytchtest.Reset().AfterWork() }, apptest.RetryPause, 2},
		"cut off, the work is done":   {func() stytchtest.Fault { return stytchtest.Fault{}.WithCut(50).AfterWork() }, apptest.RetryPause, 2},
		"silence":                     {stytchtest.Silence, 2500*time.Millisecond + apptest.RetryPause, 2},
		"502 of a gateway":            {func() stytchtest.Fault { return stytchtest.Respond(502, "<html>") }, apptest.RetryPause, 2},
		"in a second":                 {func() stytchtest.Fault { return downFor("1") }, time.Second, 2},
		"in an hour":                  {func() stytchtest.Fault { return downFor("3600") }, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				known, _ := a.Expired(a.Bob, "jwt")
				for op, c := range map[stytchtest.Op]struct{ cookies, want string }{
					stytchtest.Migrate:      {"sid=ada-1", apptest.Moved},
					stytchtest.Authenticate: {known, strings.Replace(apptest.Refreshed, "ada", "bob", 1)},
				} {
					a.Stytch.Fail(op, row.fault())
					want := c.want + " " + string(op)
					if row.tries == 1 {
						want = apptest.UnavailableUntouched + string(op)
					}
					start := time.Now()
					assert.Equal(t, want, a.Get(c.cookies).String())
					assert.InDelta(t, row.takes, time.Since(start), float64(apptest.RetryPause/2))
				}
			})
		})
	}
}

// The key set's endpoint is silent. A JWT that names an unknown key waits for it, but
// not long. A JWT that names a known key does not wait.
func TestKeySetIsSilentForAnUnknownKey(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		s := a.Stytch.NewSession(a.Ada.ID, time.Hour)
		bob, _ := a.SignedIn(a.Bob)
		require.Equal(t, apptest.JWTAccepted, a.Get("stytch_session_jwt="+s.JWT).WithKeySets())
		time.Sleep(61 * time.Second)
		a.Stytch.FailAll(stytchtest.JWKS, stytchtest.Silence())
		unknown := "stytch_session_jwt=" + a.Stytch.SignJWT(a.Stytch.Claims(s.ID), apptest.Object{"kid": "jwk-nobodys"})

		a.Stytch.ResetCalls()
		var wg sync.WaitGroup
		for i := range 10 { // all during one fetch
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 100 * time.Millisecond)
				start := time.Now()
				assert.Equal(t, "anonymous", a.ParallelGet(unknown).Saw)
				assert.LessOrEqual(t, time.Since(start), 2*time.Second)
				assert.Greater(t, time.Since(start), time.Second)
			})
		}
		time.Sleep(time.Second)
		assert.Equal(t, 1, a.Stytch.InFlight(stytchtest.JWKS))
		for want, cookies := range map[string]string{"authenticated ada": "stytch_session_jwt=" + a.Stytch.JWT(s.ID), "authenticated bob": bob} {
			start := time.Now()
			assert.Equal(t, want, a.ParallelGet(cookies).Saw)
			apptest.RequireTook(t, 0, start)
		}
		wg.Wait()
		assert.Equal(t, 1, a.Stytch.Count(stytchtest.JWKS))
	})
}

// Stytch is down for half a minute, while ten users a second come.
func TestOutageOfHalfAMinute(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = apptest.ResolveAsAda
		works := stytchtest.Handle(a.Copies(t))
		a.Stytch.ResetCalls()
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Error(503, "server_unavailable"))
		end := time.Now().Add(30 * time.Second)
		time.AfterFunc(30*time.Second, func() { a.Stytch.FailAll(stytchtest.Migrate, works) })
		var mu sync.Mutex
		var lastLoss time.Time
		var wg sync.WaitGroup
		calls := 0 // during the outage
		for i := range 10 * 40 {
			wg.Go(func() {
				start := time.Now()
				if a.ParallelGet(fmt.Sprint("sid=", i)).Saw == "unavailable" {
					mu.Lock()
					defer mu.Unlock()
					lastLoss = start
				}
			})
			if time.Sleep(100 * time.Millisecond); time.Now().Before(end) {
				calls = a.Stytch.Count(stytchtest.Migrate)
			}
		}
		wg.Wait()
		assert.Less(t, lastLoss.Sub(end), 6*time.Second, "from the recovery to full traffic")
		assert.Greater(t, lastLoss.Sub(end), time.Duration(0))
		assert.LessOrEqual(t, calls, 2*(5+3)+2*5, "five that fail, those beside them, and a probe in five seconds")
		assert.Equal(t, "stytchmigrate: exchange: breaker open", a.SettledEvents()[0].Err.Error())
		assert.Equal(t, "stytchmigrate: exchange: breaker closed", a.SettledEvents()[len(a.SettledEvents())-1].Err.Error())
	})
}

// Three calls in ten fail, chosen by dice with a fixed seed.
func TestThreeInTenFail(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = apptest.ResolveAsAda
		works := a.Copies(t)
		dice := rand.New(rand.NewPCG(1, 2))
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Handle(func(w http.ResponseWriter, r *http.Request) {
			switch p := dice.Float64(); { // of one call at a time
			case p < 0.15:
				panic(http.ErrAbortHandler)
			case p < 0.3:
				w.WriteHeader(http.StatusBadGateway)
			default:
				works(w, r)
			}
		}))
		got := map[string]int{}
		for i := range 200 {
			got[a.ParallelGet(fmt.Sprint("sid=", i)).Saw]++
		}
		assert.GreaterOrEqual(t, got["migrated ada"], 180)
		assert.Equal(t, 200, got["migrated ada"]+got["unavailable"], "of %v", got)
		assert.Empty(t, a.SettledEvents(), "no breaker opens over that")
	})
}

// Stytch says no to one of two tokens, and can't be asked about the other: no cookie is
// cleared.
func TestOneTokenEndedAndOneUnsure(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Get("sid=ada-1")
		first, second := a.Stytch.Sessions()[0], a.Stytch.NewSession(a.Ada.ID, time.Hour*24*30)
		time.Sleep(time.Hour)
		a.Stytch.RevokeSession(first.ID)
		a.Stytch.Fail(stytchtest.Authenticate, stytchtest.Fault{}, stytchtest.Reset(), stytchtest.Reset())
		assert.Equal(t, apptest.UnavailableUntouched+"authenticate authenticate authenticate",
			a.Get("stytch_session="+first.Token+"; stytch_session="+second.Token).String())
	})
}

// panickingLog is a log handler that panics on the line about a failed call.
type panickingLog struct{ slog.Handler }

func (panickingLog) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "call to Stytch failed") {
		panic("ada@example.com")
	}
	return nil
}

func TestPanicOfALogHandlerIsNotQuoted(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Reset())
		assert.Equal(t, "unavailable", a.Get("sid=ada-1").Saw)
		require.Len(t, a.Requests, 1)
		assert.EqualError(t, a.Requests[0].Err, "stytchmigrate: panic in a call to Stytch (string)")
	}, func(c *stytchmigrate.Config) { c.Logger = slog.New(panickingLog{slog.NewTextHandler(io.Discard, nil)}) })
}
