package apptest

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/userinfo"
)

// LegacySession is a legacy session of ada's or bob's, with a token that Stytch
// accepts.
func LegacySession(name, id string) stytchmigrate.LegacySession {
	return stytchmigrate.LegacySession{
		ID: stytchmigrate.Secret(id), Token: stytchmigrate.Secret(name + "-token"),
		Identity: userinfo.Identity{Subject: name, Email: name + "@example.com", EmailVerified: true},
	}
}

// resolve is Resolve of the cookie "sid".
func (a *App) resolve(_ *http.Request, value string) (stytchmigrate.LegacySession, error) {
	if a.Resolve != nil {
		return a.Resolve(value)
	}
	name, _, found := strings.Cut(value, "-")
	if !found || !isUser(name) {
		return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
	}
	return LegacySession(name, value), nil
}

func isUser(name string) bool { return name == "ada" || name == "bob" }

// ResolveAsAda is an App.Resolve by which each value is a legacy session of
// ada's.
func ResolveAsAda(value string) (stytchmigrate.LegacySession, error) {
	return LegacySession("ada", value), nil
}

// ResolveWithStart is an App.Resolve that knows when a session started. "bob+1h"
// is a session of bob's that started an hour after began, and "ada" one of ada's
// whose start is not known. change, if not nil, is applied to each session.
func ResolveWithStart(began time.Time, change func(*stytchmigrate.LegacySession)) func(string) (stytchmigrate.LegacySession, error) {
	return func(value string) (stytchmigrate.LegacySession, error) {
		name, _, _ := strings.Cut(strings.ReplaceAll(value, "+", "-"), "-")
		if !isUser(name) {
			return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
		}
		s := LegacySession(name, value)
		if d, err := time.ParseDuration(value[len(name):]); err == nil {
			s.StartedAt = began.Add(d)
		}
		if change != nil {
			change(&s)
		}
		return s, nil
	}
}

// ResolveDuplicates is an App.Resolve for requests with several legacy cookies:
//
//   - "ada-1" is a session of ada's.
//   - "same-…" is one session, whatever follows, without an identity.
//   - "token-…" is a session without an id.
//   - "taken-ada" is ada's session, under an id that "taken-bob" has too.
//   - "error-…" can't be read.
func ResolveDuplicates(value string) (stytchmigrate.LegacySession, error) {
	name, rest, _ := strings.Cut(value, "-")
	switch name {
	case "ada", "bob":
		return LegacySession(name, value), nil
	case "same":
		return stytchmigrate.LegacySession{ID: "same", Token: "ada-token"}, nil
	case "token":
		return stytchmigrate.LegacySession{Token: "ada-token"}, nil
	case "taken":
		return LegacySession(rest, "taken"), nil
	case "error":
		return stytchmigrate.LegacySession{}, errors.New("no database")
	}
	return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
}

// LegacyLogout is a logout handler of the old code: it expires its own cookie,
// and does not know of this module.
func LegacyLogout(w http.ResponseWriter, _ *http.Request) {
	http.SetCookie(w, &http.Cookie{Name: "sid", Path: "/", MaxAge: -1})
}

// SetCookie is a handler that adds Set-Cookie lines as they are.
func SetCookie(lines ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for _, l := range lines {
			w.Header().Add("Set-Cookie", l)
		}
	}
}

// EndNothing is a LegacyCookie.End of an application that keeps no sessions.
func EndNothing(context.Context, stytchmigrate.LegacySession) error { return nil }
