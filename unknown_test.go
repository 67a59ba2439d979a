package stytchmigrate_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/storetest"
	"example.com/stytchmigrate/stytchtest"
)

// What is not believed of a session is not believed for a request that says less.
func TestUnknownTokenBesideTheBrake(t *testing.T) {
	inCluster(t, func(t *testing.T, a *app, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		jar := a.on(m[0]).get("sid=ada-1").jar("sid=ada-1")
		token := ""
		for p := range strings.SplitSeq(jar, "; ") {
			if strings.HasPrefix(p, "stytch_session=") {
				token = p
			}
		}
		tabs := a.many(4)
		time.Sleep(6 * time.Minute)
		a.stytch.FailAll(stytchtest.Authenticate, stytchtest.Error(404, suddenNo))
		a.on(m[1])
		for _, b := range tabs {
			b.visit()
		}
		assert.Contains(t, a.get(jar).String(), "unavailable", "the brake is pulled")
		a.get(token) // a request that lacks the JWT: not vouched for
		assert.Contains(t, a.get(jar).String(), "unavailable", "still")
		a.stytch.Heal(stytchtest.Any)
		time.Sleep(2 * time.Minute)
		assert.Contains(t, a.get("sid=ada-1").String(), "migrated ada")
	})
}
