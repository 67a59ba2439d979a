package stories_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
)

// A session that Stytch does not extend serves its user until it ends.
func TestSessionThatIsNotExtended(t *testing.T) {
	const written = " | +stytch_session +stytch_session_jwt | no-store | "
	factor := map[string]any{"type": "impersonated", "delivery_method": "impersonation", "impersonated_factor": map[string]any{"impersonator_id": "member-1"}}
	for name, row := range map[string]struct {
		faults []stytchtest.Fault
		want   string
	}{
		"as usual":             {[]stytchtest.Fault{{}}, "authenticated ada" + written + "authenticate authenticate"},
		"impersonated":         {[]stytchtest.Fault{change("session.authentication_factors", []any{factor})}, "authenticated ada" + written + "authenticate"},
		"it can't be, at once": {[]stytchtest.Fault{stytchtest.Error(400, "session_not_mutable_impersonated"), {}}, "authenticated ada" + written + "authenticate authenticate"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				s := a.Stytch.NewSession(a.Ada.ID, 30*24*time.Hour)
				cookies := "stytch_session=" + s.Token
				if name == "it can't be, at once" { // by the JWT the expiry is known, and so it is extended
					cookies += "; stytch_session_jwt=" + s.JWT
				}
				time.Sleep(20 * 24 * time.Hour)
				a.Stytch.Fail(stytchtest.Authenticate, row.faults...)
				assert.Equal(t, row.want, a.Get(cookies).String())
			})
		})
	}
}
