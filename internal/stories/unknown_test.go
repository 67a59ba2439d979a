package stories_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/storetest"
	"example.com/stytchmigrate/stytchtest"
)

// What is not believed of a session is not believed for a request that says less.
func TestUnknownTokenBesideTheBrake(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		jar := a.On(m[0]).Get("sid=ada-1").Jar("sid=ada-1")
		token := ""
		for p := range strings.SplitSeq(jar, "; ") {
			if strings.HasPrefix(p, "stytch_session=") {
				token = p
			}
		}
		tabs := a.Tabs(4)
		time.Sleep(6 * time.Minute)
		a.Stytch.FailAll(stytchtest.Authenticate, stytchtest.Error(404, apptest.SuddenNo))
		a.On(m[1])
		for _, b := range tabs {
			b.Visit()
		}
		assert.Contains(t, a.Get(jar).String(), "unavailable", "the brake is pulled")
		a.Get(token) // a request that lacks the JWT: not vouched for
		assert.Contains(t, a.Get(jar).String(), "unavailable", "still")
		a.Stytch.Heal(stytchtest.Any)
		time.Sleep(2 * time.Minute)
		assert.Contains(t, a.Get("sid=ada-1").String(), "migrated ada")
	})
}
