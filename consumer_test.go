package stytchmigrate_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
)

// set changes one member of an answer, at a path such as "session.user_id".
func set(path string, value any) stytchtest.Fault {
	return stytchtest.Mutate(func(body map[string]any) {
		parent, name := at(body, path)
		parent[name] = value
	})
}

func without(path string) stytchtest.Fault {
	return stytchtest.Mutate(func(body map[string]any) {
		parent, name := at(body, path)
		delete(parent, name)
	})
}

func at(body map[string]any, path string) (parent map[string]any, name string) {
	outer, name, nested := strings.Cut(path, ".")
	if !nested {
		return body, path
	}
	return body[outer].(map[string]any), name
}

// The answers and errors of Stytch's API for consumers, as the application sees them.

// badAnswers are 200s that hold no session.
var badAnswers = map[string]stytchtest.Fault{
	"HTML":                                stytchtest.Respond(200, "<html>welcome to the hotel's network</html>"),
	"nothing":                             stytchtest.Respond(200, ""),
	"an empty object":                     stytchtest.Respond(200, "{}"),
	"null":                                stytchtest.Respond(200, "null"),
	"an array":                            stytchtest.Respond(200, "[]"),
	"a string":                            stytchtest.Respond(200, `"ok"`),
	"two values":                          stytchtest.Respond(200, "{}{}"),
	"an error":                            stytchtest.Respond(200, `{"status_code":404,"error_type":"session_not_found"}`),
	"no session_token":                    without("session_token"),
	"no session_jwt":                      without("session_jwt"),
	"no user":                             without("user"),
	"no user.user_id":                     without("user.user_id"),
	"no user.emails":                      without("user.emails"),
	"null session_token":                  set("session_token", nil),
	"null session_jwt":                    set("session_jwt", nil),
	"null user":                           set("user", nil),
	"null user.user_id":                   set("user.user_id", nil),
	"empty session_token":                 set("session_token", ""),
	"empty session_jwt":                   set("session_jwt", ""),
	"empty user":                          set("user", map[string]any{}),
	"empty user.user_id":                  set("user.user_id", ""),
	"session_token is a number":           set("session_token", 7),
	"session_token with a semicolon":      set("session_token", "a; Domain=evil.example"),
	"session_token with a line break":     set("session_token", "a\r\nSet-Cookie: b=c"),
	"session_token with a space":          set("session_token", "a b"),
	"session_token with a comma":          set("session_token", "a,b"),
	"session_token with a quote":          set("session_token", `a"b`),
	"session_token with a backslash":      set("session_token", `a\b`),
	"session_token that is not ASCII":     set("session_token", "tökén"),
	"session_token with NUL":              set("session_token", "a\x00b"),
	"session_token with DEL":              set("session_token", "a\x7fb"),
	"session_token too long for a cookie": set("session_token", strings.Repeat("a", 4096)),
	"session_token a byte too long":       set("session_token", strings.Repeat("a", 2<<10+1)),
	"session_jwt with a semicolon":        set("session_jwt", "a;b"),
	"session_jwt with a line break":       set("session_jwt", "a\nb"),
	"session of another user":             set("session.user_id", "user-test-mallory"),
	"session without an id":               set("session.session_id", ""),
	"session whose id is an address":      set("session.session_id", "ada@example.com"),
	"session that is not the JWT's":       set("session.session_id", "session-test-other"),
	"user that is not the session's":      set("user.user_id", "user-test-mallory"),
	"user_id that is an address": stytchtest.Mutate(func(body map[string]any) {
		for _, path := range []string{"user_id", "user.user_id", "session.user_id"} {
			parent, name := at(body, path)
			parent[name] = "ada@example.com"
		}
	}),
	"expires_at is past":    set("session.expires_at", "1999-12-31T23:59:59Z"),
	"expires_at is no time": set("session.expires_at", "tomorrow"),
}

// Such an answer is no success of any call, and no part of it becomes a cookie.
func TestBadAnswer(t *testing.T) {
	for name, fault := range badAnswers {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				a.Stytch.FailAll(stytchtest.Migrate, fault)
				first := a.Get("sid=ada-1").String()
				assert.Equal(t, apptest.UnavailableUntouched+"migrate", strings.TrimSuffix(first, " revoke"))
				assert.Equal(t, len(a.Stytch.Sessions()) > 0, strings.HasSuffix(first, " revoke"), "the session that it holds is revoked")
				for range 20 {
					assert.Equal(t, apptest.UnavailableUntouched+"-", a.Get("sid=ada-1").String(), "not asked again for some seconds")
				}
				for _, s := range a.Stytch.Sessions() {
					assert.False(t, s.Live)
				}
				time.Sleep(5 * time.Second)
				assert.Equal(t, first, a.Get("sid=ada-1").String(), "then asked again")
				assert.Contains(t, a.Log.String(), `"level":"WARN"`, "the log says why")
				assert.NotContains(t, a.Log.String(), "stytchmigrate: stytchmigrate")
			})
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				cookies, _ := a.Expired(a.Ada, "both")
				a.Stytch.FailAll(stytchtest.Authenticate, fault)
				assert.Equal(t, apptest.UnavailableUntouched+"authenticate", a.Get(cookies).String())
			})
		})
	}
}

// Each row is about a member that only the answer to an exchange has.
func TestBadAnswerOfExchange(t *testing.T) {
	for name, fault := range map[string]stytchtest.Fault{
		"no user_id":                      without("user_id"),
		"null user_id":                    set("user_id", nil),
		"empty user_id":                   set("user_id", ""),
		"another user_id":                 set("user_id", "user-test-mallory"),
		"no session, and no JWT to speak": stytchtest.Mutate(func(b map[string]any) { b["session"], b["session_jwt"] = nil, "a.b.c" }),
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				a.Stytch.FailAll(stytchtest.Migrate, fault)
				assert.Equal(t, apptest.UnavailableUntouched+"migrate revoke", a.Get("sid=ada-1").String())
			})
		})
	}
}

// Each row is an answer that is odd but good.
func TestOddAnswer(t *testing.T) {
	const month, most = 30 * 24 * 3600, 400 * 24 * 3600
	for name, row := range map[string]struct {
		fault  stytchtest.Fault
		maxAge int
	}{
		"as usual":                  {stytchtest.Fault{}, month},
		"new members":               {set("user.shoe_size", 43), month},
		"null where it may be":      {set("user.name", nil), month},
		"no session object":         {without("session"), month},
		"null session object":       {set("session", nil), month},
		"no expires_at":             {without("session.expires_at"), month},
		"null expires_at":           {set("session.expires_at", nil), month},
		"expires_at in ten years":   {set("session.expires_at", "2010-01-01T00:00:00Z"), most},
		"expires_at in eight ages":  {set("session.expires_at", "9999-12-31T23:59:59Z"), most},
		"expires_at in an hour":     {set("session.expires_at", "2000-01-01T01:00:00Z"), 3600},
		"expires_at in a moment":    {set("session.expires_at", "2000-01-01T00:00:00.5Z"), 1},
		"expires_at in nanoseconds": {set("session.expires_at", "2000-01-01T01:00:00.123456789Z"), 3600},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				a.Stytch.FailAll(stytchtest.Migrate, row.fault)
				out := a.Get("sid=ada-1")
				assert.Equal(t, apptest.Moved, out.String())
				for _, c := range out.Result().Cookies() {
					assert.Equal(t, row.maxAge, c.MaxAge)
				}
				assert.Equal(t, apptest.Replaced, a.Get(out.Jar("sid=ada-1")).String())
				a.Handler = func(w http.ResponseWriter, r *http.Request) { assert.NoError(t, a.Middleware.Logout(w, r)) }
				a.Get(out.Jar("sid=ada-1"))
				assert.False(t, a.Stytch.Sessions()[0].Live, "the session can be revoked")
			})
		})
	}
}

// A user whom Stytch does not know is worth a warning, unless the middleware is going
// to create the user.
func TestUnknownUserIsLogged(t *testing.T) {
	for creates, want := range map[bool]string{
		false: `"level":"WARN","msg":"stytchmigrate: call to Stytch failed","op":"migrate","duration":0,"status_code":404,"error_type":"user_not_found",`,
		true:  `"level":"INFO","msg":"stytchmigrate: call to Stytch failed","op":"migrate","duration":0,"status_code":404,"error_type":"user_not_found",`,
	} {
		apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
			a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Error(404, "user_not_found"))
			a.Get("sid=ada-1")
			assert.Contains(t, a.Log.String(), want)
			assert.Equal(t, !creates, strings.Contains(a.Log.String(), `"setting":"import of users, or Config.CreateUsers"`))
			assert.Contains(t, a.Log.String(), `"request_id":"request-id-`)
		}, func(c *stytchmigrate.Config) { c.CreateUsers = creates })
	}
}

// exchangeWith sends a legacy cookie to an application whose Stytch gives one
// answer. It runs in a bubble, where the pause before a second try takes no time.
func exchangeWith(t *testing.T, status int, body []byte) (outcome stytchmigrate.Outcome, set []*http.Cookie) {
	synctest.Test(t, func(t *testing.T) {
		outcome, set = exchange(t, apptest.Answering(status, strings.NewReader(string(body))))
	})
	return outcome, set
}

func exchange(t testing.TB, stytch http.RoundTripper) (outcome stytchmigrate.Outcome, set []*http.Cookie) {
	m, err := stytchmigrate.New(stytchmigrate.Config{
		ProjectID: "project-test-1", Secret: "secret-test-1",
		HTTPClient: &http.Client{Transport: stytch},
		Legacy: []stytchmigrate.LegacyCookie{{Name: "sid", Resolve: func(*http.Request, string) (stytchmigrate.LegacySession, error) {
			return apptest.LegacySession("ada", "ada-1"), nil
		}}},
		Logger: apptest.DiscardLog,
	})
	require.NoError(t, err)
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Cookie", "sid=ada-1")
	w := httptest.NewRecorder()
	m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		outcome = stytchmigrate.OutcomeFromContext(r.Context())
	})).ServeHTTP(w, r)
	return outcome, w.Result().Cookies()
}

func FuzzError(f *testing.F) {
	f.Add(404, []byte(`{"status_code":404,"request_id":"r","error_type":"session_not_found","error_message":"m","error_url":"u"}`))
	f.Add(200, []byte(`{"status_code":200}`))
	f.Add(502, []byte("<html>"))
	f.Add(400, []byte(`{"error_type":["x"],"request_id":{}}`))
	f.Add(429, []byte(`{"error_type":"user_lock_limit_reached"`))
	f.Add(204, []byte(nil))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		if status == 200 || status < 1 || status > 999 {
			return
		}
		outcome, set := exchangeWith(t, status, body)
		assert.Empty(t, set, "no error sets or expires a cookie")
		if outcome == stytchmigrate.OutcomeRefused {
			assert.True(t, status >= 400 && status < 500 && json.Valid(body), "only Stytch says no")
		} else {
			assert.Equal(t, stytchmigrate.OutcomeUnavailable, outcome)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	for _, s := range goodAnswers(f) {
		f.Add([]byte(s))
	}
	f.Add([]byte(`{"session_token":"a","session_jwt":"b","user_id":"user-test-1","user":{"user_id":"user-test-1"}}`))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, body []byte) {
		outcome, set := exchangeWith(t, 200, body)
		if outcome != stytchmigrate.OutcomeMigrated {
			assert.Empty(t, set)
			return
		}
		var want struct { // decoded as any other reader would
			Token string `json:"session_token"`
			User  struct {
				Emails []struct{ Email string }
			}
		}
		require.NoError(t, json.Unmarshal(body, &want))
		require.Equal(t, "stytch_session", set[0].Name)
		assert.NotEmpty(t, set[0].Value)
		assert.LessOrEqual(t, len(set[0].String()), 4096)
		for _, c := range set {
			assert.NoError(t, c.Valid())
		}
	})
}

// goodAnswers are bodies that the stand-in made for ada, with and without a
// session object.
func goodAnswers(t testing.TB) (bodies []string) {
	s := stytchtest.NewServer(t, stytchtest.Config{InProcess: true, ProjectID: "project-test-1", Secret: "secret-test-1"})
	s.AddUser(stytchtest.Person("ada@example.com"))
	s.Accept("ada-token", "ada@example.com")
	s.Fail(stytchtest.Migrate, stytchtest.Fault{}, without("session"))
	for range 2 {
		r := httptest.NewRequest(http.MethodPost, "/v1/sessions/migrate", strings.NewReader(`{"session_token":"ada-token","session_duration_minutes":60}`))
		r.SetBasicAuth(s.ProjectID, s.Secret)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		bodies = append(bodies, w.Body.String())
	}
	outcome, set := exchange(t, apptest.Answering(200, strings.NewReader(bodies[0])))
	require.Equal(t, stytchmigrate.OutcomeMigrated, outcome)
	require.Len(t, set, 2)
	require.Greater(t, set[0].MaxAge, int((59 * time.Minute).Seconds()))
	return bodies
}
