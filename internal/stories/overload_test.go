package stories_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/internal/apptest/scale"
	"example.com/stytchmigrate/stytchtest"
)

const (
	noAnswerInTime = "stytchmigrate: call: no answer within the time of the request"
)

// served is what the handler saw of one of many requests, and how soon.
type served struct {
	saw  string
	took time.Duration
}

// stream sends n requests at a pace, each in a goroutine of its own, and returns
// what became of each once all are done.
func stream(a *apptest.App, n int, pace time.Duration, cookies func(i int) string) []served {
	out := make([]served, n)
	var wg sync.WaitGroup
	for i := range out {
		sent, start := cookies(i), time.Now()
		wg.Go(func() { out[i] = served{a.ParallelGet(sent).Saw, time.Since(start)} })
		time.Sleep(pace)
	}
	wg.Wait()
	return out
}

// A thousand legacy sessions, or a fifth of that, at once: Stytch has never more than 32 of them to do
// at a time, who is held back hears of it at once, and in the end all have moved.
func TestManyLegacySessions(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = apptest.ResolveAsAda
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Handle(a.Copies(t)).WithDelay(300*time.Millisecond))
		a.Stytch.ResetCalls()
		n := scale.Down(1000)
		left, tokens := make([]string, n), map[string]bool{}
		for i := range left {
			left[i] = fmt.Sprint("sid=ada-", i)
		}
		for round := 0; len(left) > 0; round++ { // all at once, and then a hundred a second
			require.Less(t, round, 3)
			var again []string
			for i, v := range a.Crowd(len(left), func(i int, r *http.Request) (*http.Request, time.Duration) {
				r.Header.Set("Cookie", left[i])
				return r, time.Duration(i*min(round, 1)) * 10 * time.Millisecond
			}) {
				if v.Outcome == stytchmigrate.OutcomeMigrated {
					tokens[v.Result().Cookies()[0].Value] = true
					continue
				}
				require.Equal(t, stytchmigrate.OutcomeLegacy, v.Outcome)
				require.Empty(t, v.Result().Header)
				require.Zero(t, v.Took)
				again = append(again, left[i])
			}
			left = again
		}
		assert.Len(t, tokens, n, "a session for each")
		assert.Equal(t, n, a.Stytch.Count(stytchtest.Migrate))
		assert.Equal(t, 32, a.Stytch.MaxInFlight(stytchtest.Migrate))
	}, apptest.LogWarnings(io.Discard))
}

// Stytch takes ever longer, from 50 ms to 5 s, with thirty users a second. No
// more than 32 wait for it, and no longer than Timeout; the others not at all.
func TestLatencyGrows(t *testing.T) {
	apptest.InBubbleAlone(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = apptest.ResolveAsAda
		works := stytchtest.Handle(a.Copies(t))
		a.Stytch.ResetCalls()
		goroutines, most := runtime.NumGoroutine(), 0
		const n = 300
		stream(a, n, time.Second/30, func(i int) string {
			a.Stytch.FailAll(stytchtest.Migrate, works.WithDelay(50*time.Millisecond+time.Duration(i)*4950*time.Millisecond/n))
			most = max(most, runtime.NumGoroutine()-goroutines)
			return fmt.Sprint("sid=ada-", i)
		})
		got := map[string]int{}
		for _, e := range a.Requests {
			switch {
			case e.Outcome == stytchmigrate.OutcomeMigrated:
				assert.LessOrEqual(t, e.Duration, 5*time.Second)
				got["migrated"]++
			case e.Err.Error() == noAnswerInTime:
				assert.Equal(t, 5*time.Second, e.Duration)
				got["in vain"]++
			default:
				assert.EqualError(t, e.Err, apptest.TooManyInFlight)
				assert.Zero(t, e.Duration)
				got["held back"]++
			}
		}
		assert.Equal(t, n, got["migrated"]+got["in vain"]+got["held back"])
		assert.Greater(t, got["migrated"], 75, "of %v", got)
		assert.Greater(t, got["held back"], 100, "of %v", got)
		assert.Equal(t, 32, a.Stytch.MaxInFlight(stytchtest.Migrate))
		assert.LessOrEqual(t, most, 32*8)
	}, apptest.LogWarnings(io.Discard))
}

// A flood of session tokens that somebody made up, and of exchanges that fail.
// Users with a JWT of ours that has expired don't notice.
func TestFloodBesideRefreshes(t *testing.T) {
	for name, row := range map[string]struct {
		madeUp func(*http.Request) (*http.Response, error)
		most   int // calls in ten seconds
	}{
		"Stytch does not know them": {answer(404, `{"status_code":404,"error_type":"session_not_found"}`), 100 + 10*25},
		"Stytch fails over them":    {answer(500, ""), 2 * (16 + 4 + 2)}, // what is in flight, beside four that failed, and two probes
	} {
		t.Run(name, func(t *testing.T) {
			var stytch http.RoundTripper
			var madeUp atomic.Int64
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				stytch, a.Resolve = a.Stytch.RoundTripper(), apptest.ResolveAsAda
				users := tenExpired(a)
				a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Error(500, "internal_server_error"))
				n := scale.Down(2_500)
				every := n / 10
				all := stream(a, n, 10*time.Second/time.Duration(n), func(i int) string {
					switch {
					case i%every == every-1:
						return users[i/every]
					case i%20 == 1:
						return fmt.Sprint("sid=ada-", i)
					}
					return fmt.Sprintf("stytch_session=made-up-%044d", i)
				})
				for i := every - 1; i < n; i += every {
					assert.Equal(t, served{"authenticated ada", 0}, all[i])
				}
				assert.LessOrEqual(t, int(madeUp.Load()), row.most)
				assert.GreaterOrEqual(t, int(madeUp.Load()), 10)
				for _, e := range a.SettledEvents() {
					assert.NotContains(t, e.Err.Error(), "stytchmigrate: session:")
				}
			}, apptest.LogWarnings(io.Discard), apptest.Through(func(r *http.Request) (*http.Response, error) {
				if !isMadeUp(r) {
					return stytch.RoundTrip(r)
				}
				madeUp.Add(1)
				return row.madeUp(r)
			}))
		})
	}
}

// tenExpired are sessions whose JWT has expired, every other one without its token.
func tenExpired(a *apptest.App) (users []string) {
	for i := range 10 {
		both, _ := a.SignedIn(a.Ada)
		_, jwt, _ := strings.Cut(both, "; ")
		users = append(users, []string{both, jwt}[i%2])
	}
	time.Sleep(6 * time.Minute)
	return users
}

func isMadeUp(r *http.Request) bool {
	if r.GetBody == nil {
		return false
	}
	body, err := r.GetBody()
	if err != nil {
		return false
	}
	defer body.Close()
	sent, _ := io.ReadAll(body)
	return bytes.Contains(sent, []byte("made-up-"))
}

func answer(status int, body string) apptest.RoundTripper {
	return func(r *http.Request) (*http.Response, error) {
		return apptest.Answering(status, strings.NewReader(body))(r)
	}
}

// The old code saves its cookie anew in each response, as a CookieStore does, so
// that its value is never the same. Each row says what tells the application
// that it is the same session.
func TestLegacyCookieIsSavedEachTime(t *testing.T) {
	for name, row := range map[string]struct {
		id        stytchmigrate.Secret
		exchanges int
	}{
		"the id":  {"ada's", 1},
		"nothing": {"", 10},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				a.Resolve = func(v string) (stytchmigrate.LegacySession, error) {
					s := apptest.LegacySession("ada", v)
					a.Stytch.Accept(v, "ada@example.com")
					s.ID, s.Token = row.id, stytchmigrate.Secret(v)
					return s, nil
				}
				var out *apptest.Reply
				exchanges := 0
				for i := range 10 { // no Stytch session comes back
					out = a.Get(fmt.Sprint("sid=ada-", i))
					assert.Equal(t, "migrated ada | +stytch_session +stytch_session_jwt -sid | no-store", strings.TrimSuffix(strings.TrimSuffix(out.String(), " | migrate"), " | -"))
					exchanges += a.Stytch.Count(stytchtest.Any)
				}
				assert.Equal(t, row.exchanges, exchanges)
				assert.Len(t, a.Stytch.Sessions(), row.exchanges)
				cookies := out.Jar("sid=ada-9")
				for i := range 10 {
					assert.Equal(t, "authenticated ada | -sid | no-store | -", a.Get(cookies+fmt.Sprint("; sid=ada-1", i)).String())
				}
			})
		})
	}
}

// A user logs out and signs in again, and the old code gives the new legacy
// session the id of the one before.
func TestSignInAgainUnderTheSameID(t *testing.T) {
	for name, known := range map[string]bool{"known when it started": true, "not known when it started": false} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				signedIn := time.Now()
				a.Resolve = func(v string) (stytchmigrate.LegacySession, error) {
					s := apptest.LegacySession("ada", v)
					if known {
						s.StartedAt = signedIn
					}
					return s, nil
				}
				a.LogOut(a.Get("sid=ada-1").Jar("sid=ada-1"))
				assert.Equal(t, apptest.RefusedUntouched+"-", a.Get("sid=ada-1").String())
				time.Sleep(time.Minute)
				signedIn = time.Now()
				out := a.Get("sid=ada-1")
				if !known {
					assert.Equal(t, apptest.RefusedUntouched+"-", out.String())
					assert.Equal(t, "ada", a.LegacySeen.Identity.Subject, "the old code can still serve the user")
					return
				}
				assert.Equal(t, apptest.Swapped, out.String())
				assert.Equal(t, "authenticated ada"+apptest.CookiesUntouched+"-", a.Get(out.Jar("sid=ada-1")).String())
			})
		})
	}
}

// Stytch is down, and 2000 requests a second come: of users with a JWT, whether
// they are known or not, and of users who need Stytch.
func TestOutageUnderLoad(t *testing.T) {
	var log bytes.Buffer
	apptest.InBubbleAlone(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = apptest.ResolveAsAda
		kinds := []string{"known", "verified", "expired", "legacy"}
		expired := make([]string, 64) // as many as come during a probe, or some would share its call
		for i := range expired {
			expired[i] = "stytch_session_jwt=" + a.Stytch.NewSession(a.Bob.ID, 30*24*time.Hour).JWT
		}
		time.Sleep(6 * time.Minute)
		known, _ := a.SignedIn(a.Ada)
		verified, _ := a.SignedIn(a.Ada)
		require.Equal(t, apptest.AuthenticatedUntouched+"authenticate", a.Get(known).String())
		a.Stytch.ResetCalls()
		a.Stytch.FailAll(stytchtest.Any, stytchtest.Error(503, "server_unavailable"))
		goroutines, later := runtime.NumGoroutine(), 0
		n, pace := scale.Down(2_500), time.Second/time.Duration(scale.Down(2_000))
		open := scale.Down(1_000) // the breakers, after half a second at most
		cookies := func(i int) string {
			if i > open {
				later = max(later, runtime.NumGoroutine()-goroutines)
			}
			return map[string]string{"known": known, "verified": verified, "expired": expired[i/4%64], "legacy": fmt.Sprint("sid=ada-", i)}[kinds[i%4]]
		}
		start := time.Now()
		all := stream(a, n, pace, cookies)
		time.Sleep(time.Until(start.Add(6 * time.Second))) // when probes are due, whatever the pauses were
		all = append(all, stream(a, n, pace, func(i int) string { return cookies(i + n) })...)
		got, slow := map[string]int{}, 0
		for i, v := range all {
			got[kinds[i%4]+" "+v.saw]++
			assert.LessOrEqual(t, v.took, 500*time.Millisecond)
			if i > open && v.took > 0 {
				slow++
			}
		}
		assert.Equal(t, map[string]int{"known authenticated ada": n / 2, "verified authenticated partial ada": n / 2,
			"expired unavailable": n / 2, "legacy unavailable": n / 2}, got)
		assert.LessOrEqual(t, slow, 2+2, "two probes, and who shares them")
		assert.LessOrEqual(t, later, 32)
		probes := 0
		for _, e := range a.SettledEvents() { // and so all that is logged
			if strings.HasSuffix(e.Err.Error(), "half-open") {
				probes++
			}
		}
		assert.GreaterOrEqual(t, probes, 2, "a probe in each lane")
		assert.Less(t, strings.Count(log.String(), "\n"), 150, "lines in the log")
		assert.Less(t, a.Stytch.Count(stytchtest.Any), 200)
	}, apptest.LogWarnings(&log))
}
