package statuspage_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/statuspage"
)

// Whatever a form holds, what is set is a rollout that the middleware takes, and
// the page is a page.
func FuzzDial(f *testing.F) {
	for _, seed := range []string{
		"stage=keep&hold_back=90&per_second=10&until=2030-01-31T18:00",
		"stage=replace&hold_back=0&per_second=0&until=",
		"stage=observe&hold_back=1e2&per_second=0x1p-2&until=2030-01-31T18:00:30Z",
		"stage=retired&hold_back=0&per_second=0", "stage=keep&hold_back=NaN&per_second=Inf", "stage=keep&hold_back=-0&per_second=1_0",
		"stage=%3Cscript%3E&hold_back=%22%3E&per_second=%00&until=%ff", "stage=keep&stage=replace&hold_back=1&hold_back=2&per_second=1",
		"until=9999-12-31T23:59:59Z&stage=keep&hold_back=0&per_second=1e308", "stage=%zz", "", "&&&===",
	} {
		f.Add(seed)
	}
	auth, err := stytchmigrate.New(stytchmigrate.Config{ProjectID: "project-test-1", Secret: "secret-test-1", Legacy: []stytchmigrate.LegacyCookie{{
		Name: "sid", Resolve: func(*http.Request, string) (stytchmigrate.LegacySession, error) {
			return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
		},
	}}})
	require.NoError(f, err)
	set := 0
	page := statuspage.New(statuspage.Options{Dial: statuspage.Dial{
		Get: func() stytchmigrate.Rollout { return stytchmigrate.Rollout{Stage: stytchmigrate.StageObserve} },
		Set: func(_ context.Context, r stytchmigrate.Rollout) error {
			set++
			return auth.SetRollout(r)
		},
	}})
	f.Fuzz(func(t *testing.T, form string) {
		set = 0
		w := post(page, form)
		require.Contains(t, []int{http.StatusSeeOther, http.StatusBadRequest, http.StatusUnprocessableEntity}, w.Code)
		assert.Equal(t, w.Code == http.StatusSeeOther, set == 1, "what the form takes the middleware takes")
		if w.Code == http.StatusUnprocessableEntity {
			elements(t, w.Body.String())
			assert.False(t, strings.Contains(w.Body.String(), "<script"))
		}
	})
}
