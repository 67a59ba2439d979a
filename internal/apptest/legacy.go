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

// legacyCookie changes the description of the cookie "sid".
func LegacyCookie(f func(*stytchmigrate.LegacyCookie)) func(*stytchmigrate.Config) {
	return func(c *stytchmigrate.Config) { f(&c.Legacy[0]) }
}

// Everybody has a legacy session of their own.
func ResolveAsAda(v string) (stytchmigrate.LegacySession, error) { return LegacySession("ada", v), nil }

// Accounts makes "bob+1h" the legacy session of bob, who signed in an hour
// after the test began, "ada" one of ada's without a time, and so on. What
// change says is true of each.
func ResolveWithStart(began time.Time, change func(*stytchmigrate.LegacySession)) func(string) (stytchmigrate.LegacySession, error) {
	return func(v string) (stytchmigrate.LegacySession, error) {
		at := strings.IndexAny(v, "+-")
		name, when := v, ""
		if at >= 0 {
			name, when = v[:at], v[at:]
		}
		if name != "ada" && name != "bob" {
			return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
		}
		s := LegacySession(name, v)
		if d, err := time.ParseDuration(when); err == nil {
			s.StartedAt = began.Add(d)
		}
		if change != nil {
			change(&s)
		}
		return s, nil
	}
}

func EndNothing(context.Context, stytchmigrate.LegacySession) error { return nil }

func ResolveAlways(s stytchmigrate.LegacySession) func(*stytchmigrate.Config) {
	return func(c *stytchmigrate.Config) {
		c.Legacy[0].Resolve = func(*http.Request, string) (stytchmigrate.LegacySession, error) { return s, nil }
	}
}

// LegacyLogout is a logout handler of the old code, as it always was.
func LegacyLogout(w http.ResponseWriter, _ *http.Request) {
	http.SetCookie(w, &http.Cookie{Name: "sid", Path: "/", MaxAge: -1})
}

func LegacySession(name, id string) stytchmigrate.LegacySession {
	return stytchmigrate.LegacySession{
		ID: stytchmigrate.Secret(id), Token: stytchmigrate.Secret(name + "-token"),
		Identity: userinfo.Identity{Subject: name, Email: name + "@example.com", EmailVerified: true},
	}
}

// ResolveDuplicates resolves "ada-1" to a session of ada, "same-…" to one session of
// nobody known, "token-…" to a token without an id, "taken-ada" to ada's session of an id that bob has too.
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

func SetCookie(lines ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for _, l := range lines {
			w.Header().Add("Set-Cookie", l)
		}
	}
}
