package apptest

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/stytchtest"
)

// sessionLife is how long a Stytch session lives that a test makes.
const sessionLife = 30 * 24 * time.Hour

// SignedIn makes a Stytch session of u's, as if u had signed in with Stytch, and
// returns its cookies.
func (a *App) SignedIn(u stytchtest.User) (cookies string, s stytchtest.Session) {
	s = a.Stytch.NewSession(u.ID, sessionLife)
	return cookiesOf(s), s
}

func cookiesOf(s stytchtest.Session) string {
	return "stytch_session=" + s.Token + "; stytch_session_jwt=" + s.JWT
}

// Expired is SignedIn six minutes ago, so that the JWT has expired and the
// session is alive. names says which cookies are left: "session", "jwt" or
// "both".
func (a *App) Expired(u stytchtest.User, names string) (cookies string, s stytchtest.Session) {
	both, s := a.SignedIn(u)
	time.Sleep(6 * time.Minute)
	token, jwt, _ := strings.Cut(both, "; ")
	return map[string]string{"session": token, "jwt": jwt, "both": both}[names], s
}

// LearnSession sends ada's cookies once, so that the middleware knows the
// session and asks Stytch no more.
func (a *App) LearnSession(t *testing.T, cookies string) {
	t.Helper()
	require.Equal(t, AuthenticatedUntouched+"authenticate", a.Get(cookies).String())
}

// LearnBob is LearnSession with cookies of bob's.
func (a *App) LearnBob(t *testing.T, cookies string) {
	t.Helper()
	require.Equal(t, "authenticated bob"+CookiesUntouched+"authenticate", a.Get(cookies).String())
}

// ShortenCookies makes a Cookie header fit for a row: "S" stands for the given
// Stytch cookies, and "N" for those of any other session.
func (a *App) ShortenCookies(stytch, header string) string {
	header = strings.ReplaceAll(header, stytch, "S")
	for _, s := range a.Stytch.Sessions() {
		header = strings.ReplaceAll(header, cookiesOf(s), "N")
	}
	return strings.ReplaceAll(header, "; ", " ")
}

// OriginOf is the legacy session that the latest Stytch session came from, as
// the key of its record in a store.
func (a *App) OriginOf(t *testing.T) string {
	t.Helper()
	all := a.Stytch.Sessions()
	key, _ := all[len(all)-1].CustomClaims["legacy_session"].(string)
	require.NotEmpty(t, key)
	return key
}

// Wallet has the Stytch sessions that a row makes a Cookie header of.
type Wallet struct {
	App            *App
	Ada, Bob, Ada2 stytchtest.Session // Ada2 is another session of ada's
}

// NewWallet makes the sessions.
func NewWallet(a *App) Wallet {
	session := func(u stytchtest.User) stytchtest.Session { return a.Stytch.NewSession(u.ID, sessionLife) }
	return Wallet{a, session(a.Ada), session(a.Bob), session(a.Ada)}
}

// CookieHeader is a Cookie header in short, as in "Ta Ja F":
//
//   - T is the token of a session, J its JWT, E its JWT that has expired by now.
//     After it comes whose session it is: "a", "b" or "a2".
//   - F is a valid JWT of another project.
//   - "X=…" is a token as it is written here, and "X_jwt=…" a JWT.
func (w Wallet) CookieHeader(names string) string {
	var pairs []string
	for name := range strings.SplitSeq(names, " ") {
		pairs = append(pairs, "stytch_session"+w.cookie(name))
	}
	return strings.Join(pairs, "; ")
}

func (w Wallet) cookie(name string) string {
	s := map[string]stytchtest.Session{"a": w.Ada, "b": w.Bob, "a2": w.Ada2}[name[1:]]
	switch name[0] {
	case 'T':
		return "=" + s.Token
	case 'E':
		return "_jwt=" + s.JWT
	case 'J':
		return "_jwt=" + w.App.Stytch.JWT(s.ID)
	case 'F':
		return "_jwt=" + w.foreign()
	case 'X':
		return name[1:]
	}
	panic("apptest: no such cookie: " + name)
}

func (w Wallet) foreign() string {
	const other = "project-test-00000000-0000-4000-8000-000000000000"
	claims := Changed(w.App.Stytch.Claims(w.Ada.ID), Object{"iss": "stytch.com/" + other, "aud": []string{other}})
	return w.App.Stytch.SignJWT(claims, nil)
}
