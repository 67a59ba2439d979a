package stories_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
)

// The wrong project's keys were deployed: Stytch knows nobody, for five minutes.
func TestStytchKnowsNobody(t *testing.T) {
	for name, n := range map[string]int{"a few users": 6, "many users": 30} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				tabs := a.Tabs(n)
				seen := map[string]int{}
				comeEvery20Seconds := func(during time.Duration) {
					for start := time.Now(); time.Since(start) < during; {
						for _, b := range tabs {
							out := b.Visit()
							seen[out.Saw[:4]+" "+strings.Join(out.Cookies(), " ")]++
							time.Sleep(20 * time.Second / time.Duration(n))
						}
					}
				}
				for _, b := range tabs { // they first come at various times, so that their JWTs expire at various times
					require.Contains(t, b.Visit().String(), "authenticated")
					time.Sleep(5 * time.Minute / time.Duration(n))
				}
				a.Stytch.FailAll(stytchtest.Authenticate, stytchtest.Error(404, apptest.SuddenNo))
				comeEvery20Seconds(5*time.Minute + time.Second)
				assert.Greater(t, seen["unav "], 3*n)
				delete(seen, "unav ")
				delete(seen, "auth ")                                    // the JWT is good still,
				delete(seen, "auth +stytch_session +stytch_session_jwt") // or a newer one is in memory
				assert.Empty(t, seen, "nobody lost a cookie")
				require.NotEmpty(t, a.Heard())
				assert.Contains(t, a.Log.String(), `"level":"ERROR","msg":"stytchmigrate: authenticate: Stytch suddenly knows too few`)
				assert.LessOrEqual(t, len(a.Events), 6, "once a minute")
				assert.Equal(t, "brake", a.Events[0].Kind)

				a.Stytch.Heal(stytchtest.Any)
				for _, b := range tabs {
					assert.Contains(t, b.Visit().String(), "authenticated")
				}
				told := a.Told("brake")
				assert.Equal(t, "brake recovered", told[len(told)-1])
				assert.NotContains(t, told[:len(told)-1], "brake recovered")
			})
		})
	}
}

// One session among others that are well has ended: Stytch is asked by its token,
// which this process does not know, by its JWT, and about a session that was alive
// a moment ago, and is believed.
func TestOneOfManyHasEnded(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		tabs := a.Tabs(10)
		time.Sleep(6 * time.Minute)
		for _, b := range tabs[1:] {
			require.Contains(t, b.Visit().String(), "authenticated")
		}
		a.Stytch.RevokeSession(a.Stytch.Sessions()[0].ID)
		assert.Equal(t, apptest.EndedReply+"authenticate authenticate authenticate", tabs[0].Visit().String())
		assert.Empty(t, a.Events)
	})
}

// Of three in a row the third waits a minute, where nobody else has come.
func TestThreeInARowHaveEnded(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		tabs := a.Tabs(3)
		time.Sleep(6 * time.Minute)
		a.Stytch.RevokeAll()
		for _, b := range tabs[:2] {
			assert.Equal(t, apptest.EndedReply+"authenticate authenticate", b.Visit().String())
		}
		for range 6 {
			assert.Equal(t, "unavailable", tabs[2].Visit().Saw)
			time.Sleep(10 * time.Second)
		}
		assert.Equal(t, "anonymous", tabs[2].Visit().Saw)
	})
}

// More than half of at least twenty, in any order.
func TestMoreThanHalfHaveEnded(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		tabs := a.Tabs(45) // of whom 30 go
		sessions := a.Stytch.Sessions()
		for i, s := range sessions {
			if i%3 != 0 {
				a.Stytch.RevokeSession(s.ID)
			}
		}
		time.Sleep(6 * time.Minute)
		ended := 0
		for _, b := range tabs {
			if strings.HasPrefix(b.Visit().String(), "anonymous") {
				ended++
			}
		}
		assert.Less(t, ended, brakeFew)
	})
}

const brakeFew = 20

// Cookies that were made up pull no brake, and neither do sessions that ran out.
func TestWhatPullsNoBrake(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		tabs := a.Tabs(30)
		for i := range 30 {
			assert.Equal(t, "anonymous | -stytch_session -stytch_session_jwt | no-store | authenticate", a.Get(fmt.Sprintf("stytch_session=%044d", i)).String())
		}
		time.Sleep(30*24*time.Hour - time.Minute)
		a.Stytch.RevokeAll()
		for _, b := range tabs {
			assert.Equal(t, apptest.EndedReply+"authenticate authenticate", b.Visit().String())
		}
		assert.Empty(t, a.Events)
	})
}
