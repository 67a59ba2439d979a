package stories_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/storetest"
)

// Ada signs in by the old login again, beside her Stytch session. That session stays, and
// the later legacy sessions with it are hers, too. A logout ends them all, whatever cookies
// it still carries, on whatever machine.
func TestLogoutEndsSessionsThatWereSuperseded(t *testing.T) {
	for name, row := range map[string]struct {
		stage  stytchmigrate.Stage
		logout string // "Logout", or the old logout
		sids   string // that come in turn beside the Stytch session
		last   string // with the logout
	}{
		"keep":                       {stytchmigrate.StageKeep, "Logout", "ada-1 ada-2", "sid=ada-2"},
		"keep, the cookie is gone":   {stytchmigrate.StageKeep, "Logout", "ada-1 ada-2", ""},
		"keep, a third":              {stytchmigrate.StageKeep, "Logout", "ada-1 ada-2 ada-3", "sid=ada-3"},
		"keep, a third, old logout":  {stytchmigrate.StageKeep, "old", "ada-1 ada-2 ada-3", "sid=ada-3"},
		"replace":                    {stytchmigrate.StageReplace, "Logout", "ada-1 ada-2", ""},
		"replace, old logout":        {stytchmigrate.StageReplace, "old", "ada-1 ada-2", ""},
		"replace, several":           {stytchmigrate.StageReplace, "Logout", "ada-1 ada-2 ada-3", ""},
		"keep, everywhere":           {stytchmigrate.StageKeep, "EndSessions", "ada-1 ada-2 ada-3", ""},
		"replace, two in one cookie": {stytchmigrate.StageReplace, "Logout", "ada-1 ada-2;_sid=ada-3", ""},
	} {
		for _, machine := range []int{0, 1} {
			t.Run(name+" "+string(rune('0'+machine)), func(t *testing.T) {
				apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
					stytch := a.On(m[0]).Get("sid=ada-1").Jar("")
					for sid := range strings.FieldsSeq(row.sids) {
						a.Get(stytch + "; sid=" + strings.ReplaceAll(sid, "_", " "))
					}
					switch a.Handler = apptest.LegacyLogout; row.logout {
					case "Logout":
						a.Handler = func(w http.ResponseWriter, r *http.Request) { assert.NoError(t, a.Middleware.Logout(w, r)) }
					case "EndSessions":
						a.Handler = func(_ http.ResponseWriter, r *http.Request) {
							assert.NoError(t, a.Middleware.EndSessions(r.Context(), a.Ada.ID))
						}
					}
					a.On(m[machine]).Get(strings.TrimSuffix(stytch+"; "+row.last, "; "), apptest.Method(http.MethodPost)).Settled()
					a.Handler = nil
					for sid := range strings.FieldsSeq(strings.ReplaceAll(row.sids, ";_sid=", " ")) {
						for i := range m {
							assert.Equal(t, "refused", a.On(m[i]).Get("sid="+sid).Saw, "%s, machine %d", sid, i)
						}
					}
				}, apptest.Stage(row.stage))
			})
		}
	}
}
