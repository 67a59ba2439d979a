package stytchmigrate_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/stytchtest"
)

// many signs in n people, each at a browser of their own.
func (a *app) many(n int) []*tab {
	tabs := make([]*tab, n)
	for i := range tabs {
		u := a.stytch.AddUser(stytchtest.Person(fmt.Sprintf("user%d@example.com", i)))
		cookies, session := a.signedIn(u)
		tabs[i] = &tab{a: a, cookies: cookies, until: session.ExpiresAt}
	}
	return tabs
}

const suddenNo = "session_not_found"

// The wrong project's keys were deployed: Stytch knows nobody, for five minutes.
func TestStytchKnowsNobody(t *testing.T) {
	for name, n := range map[string]int{"a few users": 6, "many users": 30} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *app) {
				tabs := a.many(n)
				seen := map[string]int{}
				comeEvery20Seconds := func(during time.Duration) {
					for start := time.Now(); time.Since(start) < during; {
						for _, b := range tabs {
							out := b.visit()
							seen[out.saw[:4]+" "+strings.Join(out.cookies(), " ")]++
							time.Sleep(20 * time.Second / time.Duration(n))
						}
					}
				}
				for _, b := range tabs { // they first come at various times, so that their JWTs expire at various times
					require.Contains(t, b.visit().String(), "authenticated")
					time.Sleep(5 * time.Minute / time.Duration(n))
				}
				a.stytch.FailAll(stytchtest.Authenticate, stytchtest.Error(404, suddenNo))
				comeEvery20Seconds(5*time.Minute + time.Second)
				assert.Greater(t, seen["unav "], 3*n)
				delete(seen, "unav ")
				delete(seen, "auth ")                                    // the JWT is good still,
				delete(seen, "auth +stytch_session +stytch_session_jwt") // or a newer one is in memory
				assert.Empty(t, seen, "nobody lost a cookie")
				require.NotEmpty(t, a.heard())
				assert.Contains(t, a.log.String(), `"level":"ERROR","msg":"stytchmigrate: authenticate: Stytch suddenly knows too few`)
				assert.LessOrEqual(t, len(a.events), 6, "once a minute")
				assert.Equal(t, "brake", a.events[0].Kind)

				a.stytch.Heal(stytchtest.Any)
				for _, b := range tabs {
					assert.Contains(t, b.visit().String(), "authenticated")
				}
				told := a.told("brake")
				assert.Equal(t, "brake recovered", told[len(told)-1])
				assert.NotContains(t, told[:len(told)-1], "brake recovered")
			})
		})
	}
}

const endedReply = "anonymous | -stytch_session -stytch_session_jwt | no-store | "

// One session among others that are well has ended: Stytch is asked by its token,
// which this process does not know, by its JWT, and about a session that was alive
// a moment ago, and is believed.
func TestOneOfManyHasEnded(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		tabs := a.many(10)
		time.Sleep(6 * time.Minute)
		for _, b := range tabs[1:] {
			require.Contains(t, b.visit().String(), "authenticated")
		}
		a.stytch.RevokeSession(a.stytch.Sessions()[0].ID)
		assert.Equal(t, endedReply+"authenticate authenticate authenticate", tabs[0].visit().String())
		assert.Empty(t, a.events)
	})
}

// Of three in a row the third waits a minute, where nobody else has come.
func TestThreeInARowHaveEnded(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		tabs := a.many(3)
		time.Sleep(6 * time.Minute)
		a.stytch.RevokeAll()
		for _, b := range tabs[:2] {
			assert.Equal(t, endedReply+"authenticate authenticate", b.visit().String())
		}
		for range 6 {
			assert.Equal(t, "unavailable", tabs[2].visit().saw)
			time.Sleep(10 * time.Second)
		}
		assert.Equal(t, "anonymous", tabs[2].visit().saw)
	})
}

// More than half of at least twenty, in any order.
func TestMoreThanHalfHaveEnded(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		tabs := a.many(45) // of whom 30 go
		sessions := a.stytch.Sessions()
		for i, s := range sessions {
			if i%3 != 0 {
				a.stytch.RevokeSession(s.ID)
			}
		}
		time.Sleep(6 * time.Minute)
		ended := 0
		for _, b := range tabs {
			if strings.HasPrefix(b.visit().String(), "anonymous") {
				ended++
			}
		}
		assert.Less(t, ended, brakeFew)
	})
}

const brakeFew = 20

// Cookies that were made up pull no brake, and neither do sessions that ran out.
func TestWhatPullsNoBrake(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		tabs := a.many(30)
		for i := range 30 {
			assert.Equal(t, "anonymous | -stytch_session -stytch_session_jwt | no-store | authenticate", a.get(fmt.Sprintf("stytch_session=%044d", i)).String())
		}
		time.Sleep(30*24*time.Hour - time.Minute)
		a.stytch.RevokeAll()
		for _, b := range tabs {
			assert.Equal(t, endedReply+"authenticate authenticate", b.visit().String())
		}
		assert.Empty(t, a.events)
	})
}
