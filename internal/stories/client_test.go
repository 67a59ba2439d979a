package stories_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
)

const (
	signedOutAsked = "anonymous | -stytch_session -stytch_session_jwt | no-store | authenticate authenticate" // by the token, and by the JWT
)

// Each row is an error that Stytch answers an exchange with. What the next
// request with the same cookie finds tells whether it was remembered.
func TestErrorOfExchange(t *testing.T) {
	const once, each = apptest.RefusedUntouched + "migrate, then " + apptest.RefusedUntouched + "-", apptest.UnavailableUntouched + "migrate, then " + apptest.UnavailableUntouched + "migrate"
	const twice = apptest.UnavailableUntouched + "migrate migrate, then " + apptest.UnavailableUntouched + "migrate migrate" // for a moment may mend it
	for name, row := range map[string]struct {
		status    int
		errorType string
		want      string
	}{
		"no such session":                  {404, "session_not_found", once},
		"no session token":                 {400, "invalid_session_token", once},
		"no such email":                    {404, "migrate_from_external_email_does_not_exist", once},
		"no such email, as unauthorized":   {401, "migrate_from_external_email_does_not_exist", once},
		"no such user":                     {404, "user_not_found", once},
		"no such user, as forbidden":       {403, "user_not_found", once},
		"no such email address":            {400, "email_not_found", once},
		"the user is locked":               {429, "user_lock_limit_reached", once},
		"a JWT for somebody else":          {400, "jwt_invalid_audience", once},
		"a client error nobody knows":      {400, "brand_new_error", once},
		"a 422 nobody knows":               {422, "brand_new_error", once},
		"UserInfo refused the token":       {400, "migrate_from_external_unexpected_response", apptest.UnavailableUntouched + "migrate, then " + apptest.UnavailableUntouched + "-"},
		"no UserInfo URL":                  {400, "migrate_from_external_missing_userinfo", each},
		"a bad UserInfo URL":               {400, "invalid_userinfo_url", each},
		"our credentials":                  {401, "unauthorized_credentials", each},
		"our secret":                       {400, "invalid_secret_authentication", each},
		"our project id":                   {400, "invalid_project_id_authentication", each},
		"a live project at the test host":  {400, "unauthorized_project_id_live", each},
		"a test project at the live host":  {400, "unauthorized_project_id_test", each},
		"no such project":                  {404, "project_not_found", each},
		"unauthorized, for a new reason":   {401, "brand_new_error", each},
		"forbidden, for a new reason":      {403, "brand_new_error", each},
		"too many requests":                {429, "too_many_requests", twice},
		"too many requests, as a 400":      {400, "too_many_requests", each},
		"throttled for them, as a 400":     {400, "too_few_tokens_authenticated", each},
		"a 429 nobody knows":               {429, "brand_new_error", twice},
		"a 408":                            {408, "brand_new_error", each},
		"Stytch is failing":                {500, "internal_server_error", twice},
		"Stytch is away":                   {503, "server_unavailable", twice},
		"Stytch is failing, and says no":   {500, "session_not_found", twice},
		"a gateway's 404":                  {404, "", each},
		"a redirect with an error in it":   {302, "session_not_found", each},
		"a success that is none":           {204, "", each},
		"another success that is an error": {201, "session_not_found", each},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Error(row.status, row.errorType))
				got := a.Get("sid=ada-1").String()
				assert.EqualValues(t, "ada-1", a.LegacySeen.ID, "the old code can still serve the user")
				assert.Equal(t, row.want, got+", then "+a.Get("sid=ada-1").String())
				var stytch *stytchmigrate.Error
				require.ErrorAs(t, a.Requests[0].Err, &stytch)
				assert.Equal(t, row.status, stytch.StatusCode)
				assert.Equal(t, row.errorType, a.Requests[0].ErrorType)
				assert.Equal(t, 0, len(a.Events))
			})
		})
	}
}

// Each row is an error that Stytch answers with when it is asked about a
// session. A no clears cookies, so it takes more than on an exchange.
func TestErrorOfRefresh(t *testing.T) {
	const unsure, twice = apptest.UnavailableUntouched + "authenticate", apptest.UnavailableUntouched + "authenticate authenticate"
	for name, row := range map[string]struct {
		status    int
		errorType string
		want      string
	}{
		"no such session":                {404, "session_not_found", signedOutAsked},
		"no session token":               {400, "invalid_session_token", signedOutAsked},
		"no session JWT":                 {400, "unable_to_parse_session_jwt", signedOutAsked},
		"a JWT for somebody else":        {400, "jwt_invalid_audience", signedOutAsked},
		"a JWT with other claims":        {400, "jwt_invalid_claims", signedOutAsked},
		"a JWT of somebody else":         {400, "jwt_invalid_issuer", signedOutAsked},
		"no such user":                   {404, "user_not_found", unsure},
		"no such email":                  {404, "email_not_found", unsure},
		"the user is locked":             {429, "user_lock_limit_reached", unsure},
		"a client error nobody knows":    {400, "brand_new_error", unsure},
		"a wrong path":                   {404, "route_not_found", unsure},
		"our credentials":                {401, "unauthorized_credentials", unsure},
		"our secret":                     {400, "invalid_secret_authentication", unsure},
		"no such project":                {404, "project_not_found", unsure},
		"forbidden, for a new reason":    {403, "brand_new_error", unsure},
		"too many requests":              {429, "too_many_requests", twice},
		"throttled for bad tokens":       {429, "too_few_tokens_authenticated", unsure},
		"Stytch is failing":              {500, "internal_server_error", twice},
		"Stytch is failing, and says no": {502, "session_not_found", twice},
		"a gateway's 404":                {404, "", unsure},
		"a redirect with an error in it": {302, "session_not_found", unsure},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				cookies := a.Stale(a.Ada)
				a.Stytch.FailAll(stytchtest.Authenticate, stytchtest.Error(row.status, row.errorType))
				assert.Equal(t, row.want, a.Get(cookies).String())
			})
		})
	}
}

// Each row is what becomes of a connection, or of an answer on its way. None
// says anything about the user, and none is waited for longer than Timeout.
func TestFault(t *testing.T) {
	html := "<html>502 Bad Gateway</html>"
	for name, row := range map[string]struct {
		fault  stytchtest.Fault
		takes  time.Duration
		calls  string
		reason string
	}{
		"reset":                      {stytchtest.Reset(), apptest.APause, "migrate migrate", "stytchmigrate: migrate: read: connection reset by peer"},
		"reset in mid-answer":        {stytchtest.Fault{}.WithCut(50), apptest.APause, "migrate migrate", "stytchmigrate: migrate: answer 200 broke off: connection closed"},
		"reset after the work":       {stytchtest.Reset().AfterWork(), apptest.APause, "migrate migrate", "stytchmigrate: migrate: read: connection reset by peer"},
		"silence":                    {stytchtest.Silence(), 5 * time.Second, "migrate migrate", "stytchmigrate: call: no answer within the time of the request"},
		"a byte a second":            {stytchtest.Fault{}.WithDrip(time.Second), 5 * time.Second, "migrate migrate", "stytchmigrate: call: no answer within the time of the request"},
		"an answer that never ends":  {stytchtest.Endless(), 0, "migrate", "stytchmigrate: migrate: answer 200 is longer than 1 MiB"},
		"ten megabytes":              {stytchtest.Huge(10 << 20), 0, "migrate", "stytchmigrate: migrate: answer 200 is longer than 1 MiB"},
		"a gigabyte, compressed":     {stytchtest.GzipBomb(1 << 30), 0, "migrate", "stytchmigrate: migrate: answer 200 is longer than 1 MiB"},
		"500":                        {stytchtest.Respond(500, `{}`), apptest.APause, "migrate migrate", "stytchmigrate: stytch answered 500 to migrate"},
		"502 of a gateway":           {stytchtest.Respond(502, html), apptest.APause, "migrate migrate", "stytchmigrate: stytch answered 502 to migrate"},
		"503 and nothing":            {stytchtest.Respond(503, ""), apptest.APause, "migrate migrate", "stytchmigrate: stytch answered 503 to migrate"},
		"504, cut off":               {stytchtest.Respond(504, html).WithCut(5), apptest.APause, "migrate migrate", "stytchmigrate: stytch answered 504 to migrate"},
		"a redirect to another host": {stytchtest.Redirect("https://elsewhere.example"), 0, "migrate", "stytchmigrate: stytch answered 307 to migrate"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				a.Stytch.FailAll(stytchtest.Migrate, row.fault)
				start := time.Now()
				assert.Equal(t, apptest.UnavailableUntouched+row.calls, a.Get("sid=ada-1").String())
				apptest.RequireTook(t, row.takes, start)
				assert.EqualError(t, a.Requests[0].Err, row.reason)

				time.Sleep(15 * time.Second)
				assert.Zero(t, a.Stytch.InFlight(stytchtest.Any), "nothing outlives three times Timeout")
				a.Stytch.Heal(stytchtest.Any)
				assert.Equal(t, apptest.Swapped, a.Get("sid=ada-1").String())
			})
		})
	}
}

// A JWT that verifies is enough where Stytch, asked for the rest, is silent.
func TestSilenceBesideValidJWT(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies, _ := a.SignedIn(a.Ada)
		a.Stytch.FailAll(stytchtest.Authenticate, stytchtest.Silence())
		start := time.Now()
		assert.Equal(t, "authenticated partial ada"+apptest.Untouched+"authenticate", a.Get(cookies).String())
		assert.Equal(t, 500*time.Millisecond, time.Since(start))
	})
}

// Each row is an error of a transport; all of them are told in our own words.
func TestTransportError(t *testing.T) {
	for name, row := range map[string]struct {
		err  error
		want string
	}{
		"no such host":          {&net.DNSError{Err: "no such host", Name: "api.stytch.com", IsNotFound: true}, "host not found"},
		"resolver down":         {&net.DNSError{Err: "server misbehaving", Name: "api.stytch.com"}, "host could not be looked up"},
		"cut off":               {io.ErrUnexpectedEOF, "connection closed"},
		"closed":                {&net.OpError{Op: "dial", Err: net.ErrClosed}, "transport failed (*net.OpError)"},
		"a name nobody knows":   {assert.AnError, "transport failed (*errors.errorString)"},
		"a name of our own":     {odd{}, "transport failed (stories_test.odd)"},
		"a proxy's status line": {&net.OpError{Op: "proxyconnect", Err: odd{}}, "transport failed (*net.OpError)"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				assert.Equal(t, apptest.UnavailableUntouched+"-", a.Get("sid=ada-1").String())
				assert.EqualError(t, a.Requests[0].Err, "stytchmigrate: migrate: "+row.want)
			}, apptest.Through(func(*http.Request) (*http.Response, error) { return nil, row.err }))
		})
	}
}

type odd struct{}

func (odd) Error() string { return "whatever" }

func TestConnectionRefused(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Stytch.Close()
		assert.Equal(t, apptest.UnavailableUntouched+"-", a.Get("sid=ada-1").String())
		assert.EqualError(t, a.Requests[0].Err, "stytchmigrate: migrate: dial: connection refused")
	})
}

// counted counts what is read of a body that never ends.
type counted struct{ n int }

func (c *counted) Read(p []byte) (int, error) { c.n += len(p); return len(p), nil }

func TestReadsNoMoreThanAMegabyte(t *testing.T) {
	for status, tries := range map[int]int{200: 1, 404: 1, 502: 2} {
		body := &counted{}
		apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
			assert.Equal(t, apptest.UnavailableUntouched+"-", a.Get("sid=ada-1").String())
			assert.LessOrEqual(t, body.n, tries*(1<<20+1))
		}, apptest.Through(apptest.Answering(status, body)))
	}
}

// Each row is a Retry-After of Stytch's, and the one that users get then.
func TestRetryAfter(t *testing.T) {
	for name, row := range map[string]struct {
		status      int
		given, want string
		calls       string // a second one where that is in time
	}{
		"a second":               {503, "1", "1", "migrate migrate"},
		"throttled":              {429, "7", "7", "migrate"},
		"an hour":                {503, "3600", "60", "migrate"},
		"more than an int holds": {503, "99999999999999999999", "5", "migrate"},
		"almost that much":       {503, "9223372036854775807", "60", "migrate"},
		"rubbish":                {503, "soon", "5", "migrate migrate"},
		"a fraction":             {503, "1.5", "5", "migrate migrate"},
		"zero":                   {503, "0", "5", "migrate migrate"},
		"negative":               {503, "-1", "5", "migrate migrate"},
		"none":                   {503, "", "5", "migrate migrate"},
		"a date to come":         {503, "Sat, 01 Jan 2000 00:00:20 GMT", "20", "migrate"},
		"a date far away":        {503, "Fri, 31 Dec 9999 23:59:59 GMT", "60", "migrate"},
		"a date in the past":     {503, "Fri, 31 Dec 1999 23:59:59 GMT", "5", "migrate migrate"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				time.Sleep(500 * time.Millisecond) // a date is in whole seconds, the clock is not
				a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Error(row.status, "x").WithHeader("Retry-After", row.given))
				out := a.Required("sid=ada-1")
				assert.Equal(t, "handler not run | - | no-store | "+row.calls, out.String())
				assert.Equal(t, http.StatusServiceUnavailable, out.Code)
				assert.Equal(t, row.want, out.Header().Get("Retry-After"))
			})
		})
	}
}

// Each row is an error about the application's own settings: an operator has to
// see which.
func TestWrongSettingIsLoud(t *testing.T) {
	for name, row := range map[string]struct {
		status             int
		errorType, setting string
	}{
		"credentials":               {401, "unauthorized_credentials", "Config.ProjectID or Config.Secret"},
		"a new 401":                 {401, "brand_new_error", "Config.ProjectID or Config.Secret"},
		"a path that is not served": {404, "route_not_found", "Config.BaseURL"},
		"no UserInfo URL":           {400, "migrate_from_external_missing_userinfo", "UserInfo URL in the Stytch dashboard"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Error(row.status, row.errorType))
				a.Get("sid=ada-1")
				assert.Equal(t, 1, strings.Count(a.Log.String(), "\n"), a.Log.String())
				assert.Contains(t, a.Log.String(), `"level":"ERROR"`)
				assert.Contains(t, a.Log.String(), `"setting":"`+row.setting+`"`)
				assert.Contains(t, a.Log.String(), `"request_id":"request-id-`)
			})
		})
	}
}

// How loud the other errors are: a plain no is everyday life, a no that nobody
// knows the reason of may be a wrong setting.
func TestLevelOfNo(t *testing.T) {
	const users = `"setting":"import of users, or Config.CreateUsers"`
	for _, row := range []struct {
		errorType, level, setting string
		create                    bool
	}{
		{"user_not_found", "WARN", users, false},
		{"migrate_from_external_email_does_not_exist", "WARN", users, false},
		{"user_not_found", "INFO", "", true},
		{"migrate_from_external_unexpected_response", "WARN", `"setting":"UserInfo endpoint: Check says what is wrong with it"`, false},
		{"user_lock_limit_reached", "INFO", "", false},
		{"brand_new_error", "WARN", "", false},
	} {
		apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
			a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Error(404, row.errorType))
			a.Get("sid=ada-1")
			assert.Contains(t, a.Log.String(), `"level":"`+row.level+`"`)
			assert.Contains(t, a.Log.String(), row.setting)
			assert.Equal(t, row.setting != "", strings.Contains(a.Log.String(), "setting"))
		}, func(c *stytchmigrate.Config) { c.CreateUsers = row.create })
	}
}
