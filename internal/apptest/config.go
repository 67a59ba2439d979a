package apptest

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/userinfo"
)

// Stage starts the application in a stage of the rollout.
func Stage(s stytchmigrate.Stage) func(*stytchmigrate.Config) {
	return func(c *stytchmigrate.Config) { c.Rollout.Stage = s }
}

// PerSecond lets n exchanges begin in a second.
func PerSecond(n float64) func(*stytchmigrate.Config) {
	return func(c *stytchmigrate.Config) { c.Rollout.PerSecond = n }
}

// CookieOptions changes Config.Cookies.
func CookieOptions(f func(*stytchmigrate.CookieOptions)) func(*stytchmigrate.Config) {
	return func(c *stytchmigrate.Config) { f(&c.Cookies) }
}

// LegacyCookie changes what the Config says of the cookie "sid".
func LegacyCookie(f func(*stytchmigrate.LegacyCookie)) func(*stytchmigrate.Config) {
	return func(c *stytchmigrate.Config) { f(&c.Legacy[0]) }
}

// ResolveAlways resolves each value of the cookie "sid" to s.
func ResolveAlways(s stytchmigrate.LegacySession) func(*stytchmigrate.Config) {
	return func(c *stytchmigrate.Config) {
		c.Legacy[0].Resolve = func(*http.Request, string) (stytchmigrate.LegacySession, error) { return s, nil }
	}
}

// SharedStore sets Config.Store.
func SharedStore(s stytchmigrate.Store) func(*stytchmigrate.Config) {
	return func(c *stytchmigrate.Config) { c.Store = s }
}

// WithTickets makes an application that has neither ids nor tokens of its legacy
// sessions, so that it needs tickets.
func WithTickets(t *testing.T) (*userinfo.Tickets, func(*stytchmigrate.Config)) {
	t.Helper()
	tickets, err := userinfo.NewTickets(KeyOf('t', 32), KeyOf('u', 32))
	require.NoError(t, err)
	return tickets, func(c *stytchmigrate.Config) {
		c.Tickets = tickets
		c.Legacy[0].Resolve = func(_ *http.Request, v string) (stytchmigrate.LegacySession, error) {
			s, err := ResolveDuplicates(v)
			s.ID, s.Token = "", ""
			return s, err
		}
	}
}

// KeyOf is a key of n bytes c.
func KeyOf(c byte, n int) []byte { return bytes.Repeat([]byte{c}, n) }

// LogWarnings logs to w, from level WARN on.
func LogWarnings(w io.Writer) func(*stytchmigrate.Config) {
	return func(c *stytchmigrate.Config) {
		c.Logger = slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
}

// DiscardLog logs nothing.
var DiscardLog = slog.New(slog.DiscardHandler)
