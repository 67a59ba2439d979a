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

// CookieOptions changes the cookie options of a test's application.
func CookieOptions(f func(*stytchmigrate.CookieOptions)) func(*stytchmigrate.Config) {
	return func(c *stytchmigrate.Config) { f(&c.Cookies) }
}

// Stage puts a stage in force from the start.
func Stage(s stytchmigrate.Stage) func(*stytchmigrate.Config) {
	return func(c *stytchmigrate.Config) { c.Rollout.Stage = s }
}

// Warnings leaves out of the log what is not worth a look.
func LogWarnings(w io.Writer) func(*stytchmigrate.Config) {
	return func(c *stytchmigrate.Config) {
		c.Logger = slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
}

func KeyOf(c byte, n int) []byte { return bytes.Repeat([]byte{c}, n) }

var DiscardLog = slog.New(slog.DiscardHandler)

// PerSecond lets n exchanges begin in a second.
func PerSecond(n float64) func(*stytchmigrate.Config) {
	return func(c *stytchmigrate.Config) { c.Rollout.PerSecond = n }
}

// WithTickets is an application that has no tokens and no ids, only people.
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

// SharedStore is a configuration with a store.
func SharedStore(s stytchmigrate.Store) func(*stytchmigrate.Config) {
	return func(c *stytchmigrate.Config) { c.Store = s }
}
