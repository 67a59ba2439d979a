package stytchmigrate_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
	"example.com/stytchmigrate/userinfo"
)

const (
	movedKept = "migrated ada | +stytch_session +stytch_session_jwt | no-store | migrate"
	bobKept   = "migrated bob | +stytch_session +stytch_session_jwt | no-store | migrate revoke"
	leftBoth  = "migrated ada | -sid -stytch_session -stytch_session_jwt -sid | no-store | migrate revoke"
	leftLater = "authenticated ada | -sid -stytch_session -stytch_session_jwt -sid | no-store | revoke"
)

// The browser and the handler have both, and each request tells the same.
func TestKeep(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		first := a.get("theme=dark; sid=ada-1")
		assert.Equal(t, movedKept, first.String())
		both := first.jar("theme=dark; sid=ada-1")
		assert.Contains(t, both, "sid=ada-1")
		assert.Equal(t, both, a.passedOn[0], "the handler sees what the browser will send")
		for _, name := range []string{http.MethodGet, http.MethodPost} {
			assert.Equal(t, staysAlone, a.get(both, method(name)).String())
		}
		assert.Equal(t, both, a.passedOn[2])

		time.Sleep(6 * time.Minute)
		refreshed := a.get(both)
		assert.Equal(t, "authenticated ada | +stytch_session +stytch_session_jwt | no-store | authenticate", refreshed.String())
		both = refreshed.jar(both)
		a.roll(t, stytchmigrate.Rollout{})
		assert.Equal(t, staysAnd, a.get(both).String(), "StageReplace expires it")
	}, stage(stytchmigrate.StageKeep))
}

// Each row is a native Stytch session of ada and a legacy cookie.
func TestKeepTwoSessions(t *testing.T) {
	for name, row := range map[string]struct{ sid, want, passedOn string }{
		"the same person":              {"ada", staysAlone, "S sid=ada"},
		"the same person, later":       {"ada+1h", staysAlone, "S sid=ada+1h"},
		"no session":                   {"nobody", staysAlone, "S sid=nobody"},
		"another person, later":        {"bob+1h", bobKept, "sid=bob+1h N"},
		"another person, earlier":      {"bob-1h", staysAnd, "S"},
		"another person, unknown when": {"bob", neither, ""},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *app) {
				cookies, _ := a.signedIn(a.ada)
				a.asks(t, cookies)
				a.resolve = legacyOf(time.Now(), nil)
				assert.Equal(t, row.want, a.get(cookies+"; sid="+row.sid).settled())
				assert.Equal(t, row.passedOn, a.short(cookies, a.passedOn[1]))
			}, stage(stytchmigrate.StageKeep))
		})
	}
}

// oldLogout is a logout handler of the old code, as it always was.
func oldLogout(w http.ResponseWriter, _ *http.Request) {
	http.SetCookie(w, &http.Cookie{Name: "sid", Path: "/", MaxAge: -1})
}

// Each row is what the old code does with its cookie on the last of some visits,
// and what is left of the user then.
func TestKeepOldLogout(t *testing.T) {
	set := func(value string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			http.SetCookie(w, &http.Cookie{Name: "sid", Value: value, Path: "/"})
		}
	}
	both := func(f ...http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			for _, f := range f {
				f(w, r)
			}
		}
	}
	const alive, saved = true, "authenticated ada | +sid | no-store | -"
	for name, row := range map[string]struct {
		handler http.HandlerFunc
		visits  int
		change  func(*http.Request)
		want    string
		alive   bool
	}{
		"in the first request":             {oldLogout, 1, method("GET"), leftBoth, !alive},
		"in the first, by POST":            {oldLogout, 1, method("POST"), leftBoth, !alive},
		"in the first, by another site":    {oldLogout, 1, fetch("cross-site no-cors image"), leftBoth, !alive},
		"later":                            {oldLogout, 2, method("GET"), leftLater, !alive},
		"later, by POST":                   {oldLogout, 2, method("POST"), leftLater, !alive},
		"later, by an image":               {oldLogout, 2, fetch("same-origin no-cors image"), leftLater, !alive},
		"emptied":                          {set(""), 2, method("GET"), "authenticated ada | +sid -stytch_session -stytch_session_jwt | no-store | revoke", !alive},
		"emptied, then saved":              {both(set(""), set("ada-1")), 2, method("GET"), "authenticated ada | +sid +sid | no-store | -", alive},
		"a visitor's in its place":         {set("visitor"), 2, method("GET"), "authenticated ada | +sid -stytch_session -stytch_session_jwt | no-store | revoke", !alive},
		"a visitor's, at first, by POST":   {both(oldLogout, set("visitor")), 1, method("POST"), "migrated ada | -sid +sid -stytch_session -stytch_session_jwt | no-store | migrate revoke", !alive},
		"a visitor's before":               {both(set("visitor"), set("ada-1")), 2, method("GET"), "authenticated ada | +sid +sid | no-store | -", alive},
		"saved in another scope before":    {both(setCookie("sid=ada-1; Domain=example.com; Path=/"), oldLogout), 2, method("GET"), "authenticated ada | +sid -sid | no-store | -", alive},
		"saved, and cleared elsewhere":     {both(set("ada-2"), setCookie("sid=; Path=/app; Max-Age=0")), 2, method("GET"), "authenticated ada | +sid -sid | no-store | -", alive},
		"cleared in every scope":           {both(oldLogout, setCookie("sid=; Domain=example.com; Max-Age=0")), 2, method("GET"), "authenticated ada | -sid -sid -stytch_session -stytch_session_jwt -sid | no-store | revoke", !alive},
		"saved before":                     {both(set("ada-1"), oldLogout), 2, method("GET"), "authenticated ada | +sid -sid -stytch_session -stytch_session_jwt | no-store | revoke", !alive},
		"saved after":                      {both(oldLogout, set("ada-1")), 2, method("GET"), "authenticated ada | -sid +sid | no-store | -", alive},
		"saved":                            {set("ada-1"), 2, method("GET"), saved, alive},
		"saved under another id":           {set("ada-2"), 2, method("GET"), saved, alive},
		"saved under another id, at first": {set("ada-2"), 1, method("GET"), "migrated ada | +sid +stytch_session +stytch_session_jwt | no-store | migrate", alive},
		"another signs in, at first":       {set("bob-1"), 1, method("GET"), "migrated ada | +sid | no-store | migrate", alive},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *app) {
				cookies := "sid=ada-1"
				for range row.visits - 1 {
					cookies = a.get(cookies).jar(cookies)
				}
				a.handler = row.handler
				assert.Equal(t, row.want, a.get(cookies, row.change).settled())
				a.handler = nil
				assert.Equal(t, row.alive, a.stytch.Sessions()[0].Live)
				if !row.alive {
					assert.Equal(t, refusedKeep+"-", a.get("sid=ada-1").String(), "ended")
					assert.NotContains(t, a.get(cookies).saw, "ada")
				}
			}, stage(stytchmigrate.StageKeep))
		})
	}
}

// Each row is a visitor's cookie of another name, or a session that is saved in
// the format of another entry: nobody has left.
func TestKeepBesideAnotherCookie(t *testing.T) {
	for line, want := range map[string]string{
		"older=visitor": "migrated ada | +older +stytch_session +stytch_session_jwt | no-store | migrate",
		"sid=ada-2":     "migrated ada | +sid +stytch_session +stytch_session_jwt | no-store | migrate",
		"older=bob-1":   "migrated ada | +older | no-store | migrate",
	} {
		inBubble(t, func(t *testing.T, a *app) {
			a.handler = setCookie(line)
			assert.Equal(t, want, a.get("sid=ada-1").settled())
		}, stage(stytchmigrate.StageKeep), olderCookie, func(c *stytchmigrate.Config) {
			nobody := func(*http.Request, string) (stytchmigrate.LegacySession, error) {
				return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
			}
			c.Legacy = append([]stytchmigrate.LegacyCookie{{Name: "sid", Resolve: nobody}}, c.Legacy...)
		})
	}
}

// Each row is a request with ada's Stytch cookies that the old code serves, as
// Stytch can't be asked or somebody signed in later, and logs out: whoever comes
// next at that browser is nobody.
func TestOldLogoutBesideAStytchSession(t *testing.T) {
	down := func(a *app) { a.stytch.FailAll(stytchtest.Authenticate, stytchtest.Error(503, "down")) }
	bob := func(a *app) { a.stytch.FailAll(stytchtest.Migrate, stytchtest.Error(503, "down")) }
	for name, row := range map[string]struct {
		script  func(a *app)
		sid     string
		rollout stytchmigrate.Rollout
		want    string
	}{
		"Stytch is down":              {down, "ada-1", stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep}, "unavailable"},
		"Stytch is down, a later one": {down, "ada-2", stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep}, "unavailable"},
		"Stytch is down, another one": {down, "bob-1", stytchmigrate.Rollout{Stage: stytchmigrate.StageObserve}, "unavailable"},
		"Stytch is down, in replace":  {down, "ada-1", stytchmigrate.Rollout{HoldBack: 100}, "unavailable"},
		"a later one, held back":      {nil, "bob-1", stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep, HoldBack: 100}, "legacy"},
		"a later one, in an outage":   {bob, "bob-1", stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep}, "unavailable"},
		"a later one, who is refused": {func(a *app) { a.stytch.RemoveUser(a.bob.ID) }, "bob-1", stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep}, "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *app) {
				a.resolve = signedInAt(time.Now().Add(time.Minute))
				stytch := a.get("sid=ada-1").jar("")
				time.Sleep(6 * time.Minute)
				if strings.HasPrefix(name, "a later one") { // of a session that is known, for the rows are about bob
					stytch = a.get(stytch).jar(stytch)
				}
				a.roll(t, row.rollout)
				if row.script != nil {
					row.script(a)
				}
				a.handler = oldLogout
				out := a.get(stytch + "; sid=" + row.sid)
				assert.Equal(t, row.want+" | -sid -stytch_session -stytch_session_jwt -sid | no-store", strings.Join(strings.Split(out.String(), " | ")[:3], " | "))
				synctest.Wait()
				a.handler = nil
				a.stytch.Heal(stytchtest.Any)
				time.Sleep(10 * time.Second) // until the breaker closes
				assert.NotContains(t, a.get(stytch).saw, "ada", "nor by a copy")
				assert.Equal(t, refusedKeep+"-", a.get("sid="+row.sid).String())
			}, stage(stytchmigrate.StageKeep))
		})
	}
}

// signedInAt resolves the sessions of ada and bob, who signed in at a time.
func signedInAt(at time.Time) func(string) (stytchmigrate.LegacySession, error) {
	return func(v string) (stytchmigrate.LegacySession, error) {
		name, _, _ := strings.Cut(v, "-")
		s := legacySession(name, v)
		s.StartedAt = at
		return s, nil
	}
}

// A proxy to the old code gives up in the midst of the logout's answer.
func TestKeepOldLogoutThatPanics(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		a.handler = func(w http.ResponseWriter, r *http.Request) {
			oldLogout(w, r)
			w.WriteHeader(http.StatusOK)
			panic(http.ErrAbortHandler)
		}
		assert.PanicsWithValue(t, http.ErrAbortHandler, func() { a.get("sid=ada-1") })
		synctest.Wait()
		a.handler = nil
		assert.Equal(t, refusedKeep+"-", a.get("sid=ada-1").String())
		assert.False(t, a.stytch.Sessions()[0].Live)
	}, stage(stytchmigrate.StageKeep))
}

// Nor is anybody logged out by a handler that panics before it has answered.
func TestKeepPanicBeforeTheAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		a.handler = func(w http.ResponseWriter, r *http.Request) {
			oldLogout(w, r)
			panic(http.ErrAbortHandler)
		}
		assert.PanicsWithValue(t, http.ErrAbortHandler, func() { a.get("sid=ada-1") })
		a.handler = nil
		assert.Equal(t, "migrated ada | +stytch_session +stytch_session_jwt | no-store | -", a.get("sid=ada-1").settled())
	}, stage(stytchmigrate.StageKeep))
}

// The Stytch session came from a sign-in before the last one: a logout ends both.
func TestKeepOldLogoutOfALaterSignIn(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		cookies := strings.Replace(a.get("sid=ada-1").jar("sid=ada-1"), "ada-1", "ada-2", 1)
		a.handler = oldLogout
		assert.Equal(t, leftLater, a.get(cookies).settled())
		a.handler = nil
		for _, sid := range []string{"sid=ada-1", "sid=ada-2"} {
			assert.Equal(t, refusedKeep+"-", a.get(sid).String())
		}
	}, stage(stytchmigrate.StageKeep))
}

// What the old code makes of a cookie without a session is no logout.
func TestKeepCleansUpNoSession(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		cookies := a.get("sid=ada-1").jar("")
		a.handler = oldLogout
		assert.Equal(t, "authenticated ada | -sid | - | -", a.get(cookies+"; sid=nobody").settled())
		assert.True(t, a.stytch.Sessions()[0].Live)
	}, stage(stytchmigrate.StageKeep))
}

// Where nobody knows whose the legacy session is, it is taken for the user's.
func TestKeepOldLogoutOfNobodyKnowsWhom(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		a.resolve = legacyOf(time.Now(), setIdentity(userinfo.Identity{}))
		cookies, _ := a.signedIn(a.ada)
		a.asks(t, cookies)
		a.handler = oldLogout
		assert.Equal(t, leftLater, a.get(cookies+"; sid=ada").settled())
	}, stage(stytchmigrate.StageKeep))
}

// So it is where the rollout has left the stage, or leaves that session alone: both
// cookies stay. Only where the old one was to be replaced it is not the user's.
func TestOldLogoutOfNobodyKnowsWhomLater(t *testing.T) {
	for r, want := range map[stytchmigrate.Rollout]string{
		{Stage: stytchmigrate.StageKeep, HoldBack: 100}:    leftLater,
		{Stage: stytchmigrate.StageObserve}:                leftLater,
		{Stage: stytchmigrate.StageShadow}:                 leftLater,
		{Stage: stytchmigrate.StageRetired, HoldBack: 100}: leftLater,
		{HoldBack: 100}:          leftLater,
		{Until: time.Unix(1, 0)}: leftLater,
		{}:                       "authenticated ada | -sid | - | -",
	} {
		inBubble(t, func(t *testing.T, a *app) {
			a.resolve = legacyOf(time.Now(), setIdentity(userinfo.Identity{}))
			cookies := a.get("sid=ada").jar("")
			a.roll(t, r)
			a.handler = oldLogout
			assert.Equal(t, want, a.get(cookies+"; sid=ada+1h").settled(), r)
		}, stage(stytchmigrate.StageKeep))
	}
}

// Nor is it where the response has the Stytch cookies to write anew.
func TestOldLogoutOfNobodyKnowsWhomBesideARefresh(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		a.resolve = legacyOf(time.Now(), setIdentity(userinfo.Identity{}))
		cookies, s := a.expired(a.ada, "both")
		a.handler = oldLogout
		got := a.get(cookies+"; sid=ada", method(http.MethodPost))
		assert.Equal(t, "authenticated ada | -sid +stytch_session +stytch_session_jwt | no-store | authenticate", got.settled())
		assert.Equal(t, "authenticated ada", a.get("stytch_session="+s.Token).saw)
	})
}

// Where cookies may not change, none does and none is shown.
func TestKeepWhereNoCookiesMayChange(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		assert.Equal(t, "migrated ada"+keep+"migrate", a.get("sid=ada-1", fetch("same-origin no-cors image")).String())
		assert.Equal(t, "sid=ada-1", a.passedOn[0])
	}, stage(stytchmigrate.StageKeep))
}

// A Stytch session that ran out was ended by nobody.
func TestKeepRunsOut(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		cookies := a.get("sid=ada-1").jar("sid=ada-1")
		time.Sleep(2 * time.Hour)
		assert.Equal(t, "migrated ada | +stytch_session +stytch_session_jwt | no-store | authenticate migrate", a.get("sid=ada-1").String())
		time.Sleep(2 * time.Hour)
		assert.Equal(t, "migrated ada | +stytch_session +stytch_session_jwt | no-store | authenticate authenticate migrate", a.get(cookies).String())
		assert.Len(t, a.stytch.Sessions(), 3)
	}, stage(stytchmigrate.StageKeep), func(c *stytchmigrate.Config) { c.SessionDuration = time.Hour })
}

// Half of the machines run the old code alone, and browsers meet either at each
// of their requests: everybody is signed in all the time, on both.
func TestKeepOnHalfOfTheMachines(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		a.resolve = everybody
		for i := range load(400) {
			sid := fmt.Sprint("sid=ada-", i)
			cookies := a.get(sid).jar(sid)
			for _, step := range []int{i % 3, i % 5} {
				assert.True(t, strings.HasPrefix(cookies, sid+"; "), "for the machines without the middleware")
				time.Sleep(time.Duration(step) * time.Minute)
				got := a.get(cookies)
				cookies = got.jar(cookies)
				assert.Equal(t, "authenticated ada", got.saw)
			}
		}
		assert.Len(t, a.stytch.Sessions(), load(400))
	}, stage(stytchmigrate.StageKeep))
}
