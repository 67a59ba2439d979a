package stytchmigrate_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
)

// signIn returns the handler of a login that was given a session by Stytch.
func signIn(a *apptest.App, t *testing.T, s stytchtest.Session) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		assert.NoError(t, a.Middleware.SignIn(w, r, stytchmigrate.Secret(s.Token), stytchmigrate.Secret(s.JWT)))
	}
}

// tryToSignIn is App.Get of a login with that token and JWT. It returns the error.
func tryToSignIn(t *testing.T, a *apptest.App, cookies, token, jwt string) (got *apptest.Reply, err error) {
	t.Helper()
	a.Handler = func(w http.ResponseWriter, r *http.Request) {
		err = a.Middleware.SignIn(w, r, stytchmigrate.Secret(token), stytchmigrate.Secret(jwt))
	}
	defer func() { a.Handler = nil }()
	return a.GetChecked(t, cookies, apptest.Method(http.MethodPost)), err
}

// signInEvents are the events of kind "signin", as in "authenticated ada".
func signInEvents(a *apptest.App) (out []string) {
	for _, e := range a.SettledEvents() {
		if e.Kind != "signin" {
			continue
		}
		out = append(out, strings.TrimSpace(e.Outcome.String()+" "+strings.NewReplacer(a.Ada.ID, "ada", a.Bob.ID, "bob").Replace(e.UserID)))
		if (e.Err == nil) != (e.Outcome == stytchmigrate.OutcomeAuthenticated) {
			out = append(out, fmt.Sprint("wrong error: ", e.Err))
		}
	}
	return out
}

const signedIn = " | +stytch_session +stytch_session_jwt -sid | no-store | "

// Each row is ada's sign-in with what the browser had before, and what becomes of that.
func TestSignIn(t *testing.T) {
	for name, row := range map[string]struct {
		had   func(a *apptest.App) string
		reply string
		lives bool // the session before
	}{
		"nothing":                    {func(*apptest.App) string { return "" }, "anonymous" + signedIn + "authenticate", false},
		"a legacy session of bob's":  {func(*apptest.App) string { return "sid=bob-1" }, "migrated bob" + signedIn + "migrate authenticate revoke", false},
		"a legacy session of hers":   {func(*apptest.App) string { return "sid=ada-1" }, "migrated ada" + signedIn + "migrate authenticate", true},
		"a Stytch session of bob's":  {func(a *apptest.App) string { c, _ := a.SignedIn(a.Bob); return c }, "authenticated bob" + signedIn + "authenticate authenticate revoke", false},
		"a Stytch session of hers":   {func(a *apptest.App) string { c, _ := a.SignedIn(a.Ada); return c }, "authenticated ada" + signedIn + "authenticate authenticate", true},
		"a visitor's value":          {func(*apptest.App) string { return "sid=cart" }, "anonymous | +stytch_session +stytch_session_jwt | no-store | authenticate", false},
		"a JWT of another project":   {func(a *apptest.App) string { return apptest.NewWallet(a).CookieHeader("Fa") }, "anonymous" + signedIn + "authenticate", true},
		"a token that is made up":    {func(*apptest.App) string { return "stytch_session=made-up" }, "anonymous" + signedIn + "authenticate authenticate", false},
		"bob's token that is unseen": {func(a *apptest.App) string { c, _ := a.SignedIn(a.Bob); return c }, "skipped" + signedIn + "authenticate authenticate revoke", false},
		"her token that is unseen":   {func(a *apptest.App) string { c, _ := a.SignedIn(a.Ada); return c }, "skipped" + signedIn + "authenticate authenticate", true},
	} {
		for _, stage := range []string{"replace", "keep"} {
			t.Run(name+", "+stage, func(t *testing.T) {
				skip := strings.HasPrefix(row.reply, "skipped")
				apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
					before := row.had(a)
					had := a.Stytch.Sessions()
					s := a.Stytch.NewSession(a.Ada.ID, 0)
					a.Handler = signIn(a, t, s)
					got := a.GetChecked(t, before, apptest.Method(http.MethodPost))
					want := strings.Replace(row.reply, "skipped", "anonymous", 1)
					assert.Equal(t, want, got.String())
					assert.Equal(t, []string{"authenticated ada"}, signInEvents(a))
					for _, old := range had {
						now, _ := a.Stytch.Session(old.ID)
						assert.Equal(t, row.lives, now.Live)
					}
					a.Handler = nil
					if skip {
						return
					}
					jar := got.Jar(before)
					assert.Equal(t, apptest.Authenticated, a.GetChecked(t, jar).String(), "known, with the user, without a call")
					if strings.HasPrefix(before, "sid=") && before != "sid=cart" {
						assert.Equal(t, apptest.Refused, a.GetChecked(t, before).String(), "a copy of the old cookie")
					}
				}, apptest.Stage(map[string]stytchmigrate.Stage{"replace": stytchmigrate.StageReplace, "keep": stytchmigrate.StageKeep}[stage]),
					func(c *stytchmigrate.Config) {
						c.FixedExpiry = true
						if skip {
							c.Skip = func(*http.Request) bool { return true }
						}
					})
			})
		}
	}
}

// Each row is a token and a JWT that are no proven pair of a live session. Nothing is set,
// the session before lives, and the error names the argument.
func TestSignInRefused(t *testing.T) {
	for name, row := range map[string]struct {
		token, jwt func(w apptest.Wallet) string
		want       string // of the error
		down       bool   // it can't be told
	}{
		"neither":                        {none, none, "token and jwt are empty", false},
		"a made-up token":                {text("made-up"), none, "token: stytch answered 400 invalid_session_token", false},
		"a token that is no value":       {text("two words"), none, "token: is no cookie value", false},
		"a JWT that is none":             {text("made-up"), text("a.b.c"), "jwt: refused", false},
		"a JWT in the token's place":     {func(w apptest.Wallet) string { return w.Ada.JWT }, none, "token: ", false},
		"a token in the JWT's place":     {none, func(w apptest.Wallet) string { return w.Ada.Token }, "jwt: refused", false},
		"another project's JWT":          {func(w apptest.Wallet) string { return w.Ada.Token }, foreignJWT, "jwt: of another project", false},
		"another project's JWT alone":    {none, foreignJWT, "jwt: of another project", false},
		"a made-up token, a good JWT":    {text("made-up"), func(w apptest.Wallet) string { return w.Ada.JWT }, "token: is of another session", false},
		"her token, bob's JWT":           {func(w apptest.Wallet) string { return w.Ada.Token }, func(w apptest.Wallet) string { return w.Bob.JWT }, "token: is of another session", false},
		"her token, another JWT of hers": {func(w apptest.Wallet) string { return w.Ada.Token }, func(w apptest.Wallet) string { return w.Ada2.JWT }, "token: is of another session", false},
		"a session that was revoked":     {revoked, func(w apptest.Wallet) string { return w.Ada.JWT }, "jwt: stytch answered 404 session_not_found", false},
		"Stytch is down":                 {down(stytchtest.Authenticate), func(w apptest.Wallet) string { return w.Ada.JWT }, "can't be told", true},
		"Stytch is down, a token alone":  {down(stytchtest.Authenticate), none, "can't be told", true},
		"all of Stytch is down":          {down(stytchtest.Any), func(w apptest.Wallet) string { return w.Ada.JWT }, "can't be told", true},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				w := apptest.NewWallet(a)
				cookies, session := a.SignedIn(a.Bob)
				a.LearnBob(t, cookies)
				time.Sleep(time.Minute)
				token, jwt := row.token(w), row.jwt(w)
				got, err := tryToSignIn(t, a, cookies, token, jwt)
				require.ErrorContains(t, err, "stytchmigrate: SignIn: ")
				assert.ErrorContains(t, err, row.want)
				assert.Equal(t, !row.down, errors.Is(err, stytchmigrate.ErrNoSession))
				for _, secret := range []string{token, jwt} {
					if secret != "" {
						assert.NotContains(t, fmt.Sprintf("%v %+v %#v %q", err, err, err, err), secret)
						assert.NotContains(t, a.Log.String(), secret)
					}
				}
				assert.Empty(t, got.Cookies())
				assert.Equal(t, []string{map[bool]string{true: "unavailable", false: "refused"}[row.down]}, signInEvents(a))
				now, _ := a.Stytch.Session(session.ID)
				assert.True(t, now.Live)
				assert.Equal(t, "authenticated bob"+apptest.CookiesUntouched+"-", a.GetChecked(t, cookies).String())
			})
		})
	}
}

func none(apptest.Wallet) string { return "" }

func text(s string) func(apptest.Wallet) string { return func(apptest.Wallet) string { return s } }

func foreignJWT(w apptest.Wallet) string {
	_, jwt, _ := strings.Cut(w.CookieHeader("Fa"), "=")
	return jwt
}

func revoked(w apptest.Wallet) string {
	w.App.Stytch.RevokeSession(w.Ada.ID)
	return w.Ada.Token
}

func down(op stytchtest.Op) func(apptest.Wallet) string {
	return func(w apptest.Wallet) string {
		w.App.Stytch.FailAll(op, stytchtest.Error(500, "internal_server_error"))
		return w.Ada.Token
	}
}

// Each row is one of the two alone, an expired JWT, or a key set that can't be had: Stytch
// is asked, and its answer has both.
func TestSignInAsksStytch(t *testing.T) {
	for name, row := range map[string]struct{ names string }{
		"the token alone":                {"T"},
		"the JWT alone":                  {"J"},
		"both":                           {"TJ"},
		"an expired JWT":                 {"TE"},
		"an expired JWT alone":           {"E"},
		"both, and no key set":           {"TJ-"},
		"the JWT alone, and no key set":  {"J-"},
		"the token alone, and no keys":   {"T-"},
		"an expired JWT, and no key set": {"TE-"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				s := a.Stytch.NewSession(a.Ada.ID, 24*time.Hour)
				if strings.Contains(row.names, "E") {
					time.Sleep(6 * time.Minute)
				}
				if strings.Contains(row.names, "-") {
					a.Stytch.FailAll(stytchtest.JWKS, stytchtest.Error(500, "internal_server_error"))
				}
				token, jwt := "", ""
				if strings.Contains(row.names, "T") {
					token = s.Token
				}
				if strings.ContainsAny(row.names, "JE") {
					jwt = s.JWT
				}
				got, err := tryToSignIn(t, a, "", token, jwt)
				require.NoError(t, err)
				assert.Equal(t, "anonymous"+signedIn+"authenticate", got.String())
				assert.Equal(t, apptest.Authenticated, a.GetChecked(t, got.Jar("")).String())
			}, fixedExpiry)
		})
	}
}

func fixedExpiry(c *stytchmigrate.Config) { c.FixedExpiry = true }

// Outside of Handler, as in an http.ServeMux beside it, the cookies of the request are
// enough.
func TestSignInOutsideHandler(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		for _, cookies := range []string{"", "sid=bob-1", a.GetChecked(t, "sid=bob-2").Jar("sid=bob-2")} {
			w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "https://app.example.com/login", nil)
			r.Header.Set("Cookie", cookies)
			signIn(a, t, a.Stytch.NewSession(a.Ada.ID, 0))(w, r)
			assert.Len(t, w.Result().Cookies(), 3)
			assert.Equal(t, "no-store", w.Result().Header.Get("Cache-Control"))
			apptest.RequireValidCookies(t, "app.example.com", w.Result().Header)
			if cookies != "" {
				assert.Equal(t, "refused", a.GetChecked(t, cookies).Saw)
			}
		}
		assert.False(t, a.Stytch.Sessions()[0].Live, "bob's")
	})
}

// Each row is what a login handler does besides.
func TestSignInAndWhatTheHandlerDoes(t *testing.T) {
	expire := apptest.SetCookie("stytch_session=; Max-Age=0", "stytch_session_jwt=; Max-Age=0")
	for name, row := range map[string]struct {
		before, after string
		anonymous     string // the cookies of the response to a browser without any
		known         string // the same with a session of bob's
		signedIn      bool
	}{
		"nothing":             {"", "", "+stytch_session +stytch_session_jwt -sid", "+stytch_session +stytch_session_jwt -sid", true},
		"Logout before":       {"logout", "", "-sid +stytch_session +stytch_session_jwt", "+stytch_session +stytch_session_jwt -sid", true},
		"Logout after":        {"", "logout", "-sid -stytch_session -stytch_session_jwt", "-stytch_session -stytch_session_jwt -sid", false},
		"the same again":      {"again", "", "-sid +stytch_session +stytch_session_jwt", "+stytch_session +stytch_session_jwt -sid", true},
		"a new old cookie":    {"", "sid=ada-9; Path=/", "+stytch_session +stytch_session_jwt -sid +sid", "+sid +stytch_session +stytch_session_jwt", true},
		"the old cookie goes": {"sid=; Max-Age=0; Path=/", "", "-sid +stytch_session +stytch_session_jwt -sid", "-sid +stytch_session +stytch_session_jwt -sid", true},
		"own Stytch cookies":  {"stytch_session=own; Secure", "", "+stytch_session +stytch_session_jwt -sid", "+stytch_session +stytch_session_jwt -sid", true},
		"changes its mind":    {"", "expire", "+stytch_session +stytch_session_jwt -sid -stytch_session -stytch_session_jwt", "-stytch_session -stytch_session_jwt -sid", false},
	} {
		for _, state := range []string{"anonymous", "known"} {
			t.Run(name+", "+state, func(t *testing.T) {
				apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
					cookies, want := "", row.anonymous
					if state == "known" {
						cookies, want = "sid=bob-1", row.known
					}
					s := a.Stytch.NewSession(a.Ada.ID, 0)
					do := func(what string, w http.ResponseWriter, r *http.Request) {
						switch what {
						case "":
						case "logout":
							logout(a, t)(w, r)
						case "again":
							signIn(a, t, s)(w, r)
						case "expire":
							expire(w, r)
						default:
							apptest.SetCookie(what)(w, r)
						}
					}
					a.Handler = func(w http.ResponseWriter, r *http.Request) {
						do(row.before, w, r)
						signIn(a, t, s)(w, r)
						do(row.after, w, r)
					}
					got := a.Get(cookies, apptest.Method(http.MethodPost))
					assert.Equal(t, want, strings.Join(got.Cookies(), " "))
					a.Handler = nil
					now, _ := a.Stytch.Session(s.ID)
					assert.Equal(t, row.after != "logout", now.Live)
					if row.signedIn {
						assert.Equal(t, apptest.Authenticated, a.Get(onlyStytch(got.Jar(cookies))).String())
					} else if state == "known" { // otherwise both lines are there, and a browser obeys the last one
						assert.Empty(t, onlyStytch(got.Jar(cookies)))
					}
				})
			})
		}
	}
}

// onlyStytch is a Cookie header without the legacy cookie.
func onlyStytch(header string) string {
	var kept []string
	for pair := range strings.SplitSeq(header, "; ") {
		if strings.HasPrefix(pair, "stytch_") {
			kept = append(kept, pair)
		}
	}
	return strings.Join(kept, "; ")
}

// It is too late for cookies, so nothing is done.
func TestSignInAfterTheResponseBegan(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		s := a.Stytch.NewSession(a.Ada.ID, 0)
		a.Handler = func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, "page")
			err := a.Middleware.SignIn(w, r, stytchmigrate.Secret(s.Token), stytchmigrate.Secret(s.JWT))
			assert.ErrorContains(t, err, "SignIn after the response began")
		}
		assert.Equal(t, "migrated bob | +stytch_session +stytch_session_jwt | no-store | migrate", a.GetChecked(t, "sid=bob-1").String())
		assert.Equal(t, []string{"unavailable"}, signInEvents(a))
		assert.True(t, a.Stytch.Sessions()[1].Live, "bob's")
	})
}

// A JWT that has no room in the header is left out. The token is enough.
func TestSignInWithoutRoomForTheJWT(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		for _, cookies := range []string{"", "sid=bob-1"} {
			a.Handler = func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Security-Policy", strings.Repeat("x", 3000))
				signIn(a, t, a.Stytch.NewSession(a.Ada.ID, 0))(w, r)
			}
			got := a.GetChecked(t, cookies, apptest.Method(http.MethodPost))
			assert.Equal(t, []string{"+stytch_session", "-sid"}, got.Cookies())
			a.Handler = nil
			assert.Equal(t, apptest.Authenticated, a.GetChecked(t, got.Jar(cookies)).String())
		}
	})
}
