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

// In StageReplace the browser has the Stytch cookies alone. The old logout handler still
// expires the old cookie. By a method that may change something this is a logout, on all
// machines; a GET is told, once. Each row is what the handler sets.
func TestOldLogoutWithoutItsCookie(t *testing.T) {
	const out = " | -sid -stytch_session -stytch_session_jwt -sid -flash -older | no-store | revoke"
	for name, row := range map[string]struct {
		method  string
		beside  string // cookies beside the Stytch session
		set     string // lines, with " | " between them
		want    string
		unheard bool
	}{
		"a form":                        {http.MethodPost, "", "sid=; Path=/; Max-Age=0", "authenticated ada" + out, false},
		"a fetch":                       {http.MethodDelete, "theme=x", "sid=; Path=/; Max-Age=0", "authenticated ada" + out, false},
		"emptied":                       {http.MethodPost, "", "sid=; Path=/", "authenticated ada | +sid -stytch_session -stytch_session_jwt -flash -older | no-store | revoke", false},
		"a link":                        {http.MethodGet, "", "sid=; Path=/; Max-Age=0", "authenticated ada | -sid | - | -", true},
		"HEAD":                          {http.MethodHead, "", "sid=; Path=/; Max-Age=0", "authenticated ada | -sid | - | -", true},
		"a companion":                   {http.MethodPost, "", "flash=; Path=/; Max-Age=0", "authenticated ada | -flash | no-store | -", false},
		"a companion, by a link":        {http.MethodGet, "", "flash=; Path=/; Max-Age=0", "authenticated ada | -flash | - | -", false},
		"another cookie":                {http.MethodPost, "", "theme=; Path=/; Max-Age=0", "authenticated ada | -theme | - | -", false},
		"a visitor's":                   {http.MethodPost, "", "sid=visitor; Path=/", "authenticated ada | +sid | no-store | -", false},
		"a visitor's, by a link":        {http.MethodGet, "", "sid=visitor; Path=/", "authenticated ada | +sid | - | -", false},
		"a visitor's in its place":      {http.MethodPost, "", "sid=; Path=/; Max-Age=0 | sid=visitor; Path=/", "authenticated ada | -sid +sid | no-store | -", false},
		"a visitor's in another scope":  {http.MethodPost, "", "sid=visitor; Path=/ | sid=; Path=/app; Max-Age=0", "authenticated ada | +sid -sid | no-store | -", false},
		"a sign-in":                     {http.MethodPost, "", "sid=; Path=/; Max-Age=0 | sid=bob-1; Path=/app", "authenticated ada | -sid +sid | no-store | -", false},
		"a visitor's cookie came":       {http.MethodPost, "sid=visitor", "sid=; Path=/; Max-Age=0", "authenticated ada | -sid | no-store | -", false},
		"a visitor's came, by a link":   {http.MethodGet, "sid=visitor", "sid=; Path=/; Max-Age=0", "authenticated ada | -sid | - | -", false},
		"it came, and was hidden":       {http.MethodGet, "sid=ada-1", "sid=; Path=/; Max-Age=0", "authenticated ada | -sid -sid -flash | no-store | -", true},
		"another session of theirs":     {http.MethodPost, "older=ada-1", "sid=; Path=/; Max-Age=0", "authenticated ada | -sid -older | no-store | -", false},
		"every cookie of the site":      {http.MethodPost, "", "clear", "authenticated ada | -stytch_session -stytch_session_jwt -sid -flash -older | no-store | revoke", false},
		"every cookie, by a visitor":    {http.MethodPost, "none", "clear", apptest.Anonymous, false},
		"a visitor":                     {http.MethodPost, "none", "sid=; Path=/; Max-Age=0", "anonymous | -sid | - | -", false},
		"a visitor, by a link":          {http.MethodGet, "none", "sid=; Path=/; Max-Age=0", "anonymous | -sid | - | -", false},
		"a form that changes no cookie": {http.MethodPost, "", "", apptest.Authenticated, false},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
				stytch := a.On(m[0]).Get("sid=ada-1").Jar("")
				a.Get(stytch)
				a.Handler = func(w http.ResponseWriter, r *http.Request) {
					if row.set == "clear" {
						w.Header().Set("Clear-Site-Data", `"cookies"`)
					} else if row.set != "" {
						apptest.SetCookie(strings.Split(row.set, " | ")...)(w, r)
					}
				}
				cookies := strings.TrimSuffix(stytch+"; "+row.beside, "; ")
				if row.beside == "none" {
					cookies = ""
				}
				loggedOut := strings.Contains(row.want, "revoke")
				assert.Equal(t, row.want, a.Get(cookies, apptest.Method(row.method)).Settled())
				if !loggedOut {
					assert.Equal(t, row.want, a.Get(cookies, apptest.Method(row.method)).Settled(), "and is said once")
				}
				assert.Equal(t, !loggedOut, a.Stytch.Sessions()[0].Live)
				assert.Equal(t, map[bool]int{true: 1}[row.unheard], events(a, "unheard_logout"))
				assert.Equal(t, map[bool]int{true: 1}[row.unheard], strings.Count(a.Log.String(), "Middleware.Logout"))
				a.Handler = nil
				if loggedOut {
					assert.NotContains(t, a.On(m[1]).Get("sid=ada-1").Saw, "ada", "nor by a copy, on another machine")
				}
			}, withCompanion)
		})
	}
}

// A login that fails in another tab may expire an old cookie that did not come. That is no
// logout, and no hint of one. Each row is the status of the answer.
func TestFailedLoginWithoutTheOldCookie(t *testing.T) {
	for _, row := range []struct {
		status    int
		set       string
		loggedOut bool
	}{
		{200, "sid=; Path=/; Max-Age=0", true}, {204, "sid=; Path=/; Max-Age=0", true}, {303, "sid=; Path=/; Max-Age=0", true},
		{400, "sid=; Path=/; Max-Age=0", false}, {401, "sid=; Path=/; Max-Age=0", false}, {403, "sid=; Path=/", false},
		{422, "sid=; Path=/; Max-Age=0", false}, {500, "sid=; Path=/; Max-Age=0", false}, {503, "sid=; Path=/; Max-Age=0", false},
		{401, "clear", true}, // browsers drop the Stytch cookies
	} {
		for _, stage := range []stytchmigrate.Stage{stytchmigrate.StageReplace, stytchmigrate.StageKeep, stytchmigrate.StageRetired} {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				jar, s := a.SignedIn(a.Ada)
				a.LearnSession(t, jar)
				a.Handler = func(w http.ResponseWriter, r *http.Request) {
					if row.set == "clear" {
						w.Header().Set("Clear-Site-Data", `"cookies"`)
					} else {
						apptest.SetCookie(row.set)(w, r)
					}
					w.WriteHeader(row.status)
				}
				got := a.Get(jar, apptest.Method(http.MethodPost)).Settled()
				assert.Equal(t, row.loggedOut, strings.Contains(got, "-stytch_session"), "%v: %s", row, got)
				now, _ := a.Stytch.Session(s.ID)
				assert.Equal(t, !row.loggedOut, now.Live, row)
				assert.Zero(t, events(a, "unheard_logout"))
			}, apptest.Stage(stage))
		}
	}
}

func withCompanion(c *stytchmigrate.Config) {
	c.Legacy[0].Also = []string{"flash"}
	c.Legacy = append(c.Legacy, stytchmigrate.LegacyCookie{Name: "older", Resolve: c.Legacy[0].Resolve})
}
