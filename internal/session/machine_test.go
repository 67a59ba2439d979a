package session_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/stytchmigrate/internal/names"
	"example.com/stytchmigrate/internal/redact"
	"example.com/stytchmigrate/internal/sealedstore"
	"example.com/stytchmigrate/internal/session"
	"example.com/stytchmigrate/internal/sessionjwt"
	"example.com/stytchmigrate/internal/stytch"
	"example.com/stytchmigrate/internal/tombstones"
	"example.com/stytchmigrate/storetest"
)

const (
	day   = 24 * time.Hour
	month = 30 * day
)

// machine is one process that serves requests.
type machine struct {
	*session.Sessions
	stytch   *fakeStytch
	log      *bytes.Buffer
	doubts   []string // what OnDoubt was called with
	unwanted []error  // what OnRevokeFailed was called with
}

// newMachine returns a machine with an empty memory. store may be nil.
func newMachine(f *fakeStytch, store *storetest.Memory) *machine {
	var backend sealedstore.Backend
	if store != nil {
		backend = store
	}
	m := &machine{stytch: f, log: new(bytes.Buffer)}
	m.Sessions = session.New(session.Config{
		API: f, Verifier: f, Limit: 15 * time.Second, ExtendBy: month, Log: slog.New(slog.NewTextHandler(m.log, nil)),
		Tombstones: tombstones.New(sealedstore.New("key", backend, time.Second, func(error) {}), &names.Names{Key: "key"}),
		Attach:     func(s *stytch.Session) any { return "attached to " + s.ID },
		OnDoubt: func(err error) {
			if err == nil {
				m.doubts = append(m.doubts, "over")
				return
			}
			m.doubts = append(m.doubts, err.Error())
		},
		OnRevokeFailed: func(err error) { m.unwanted = append(m.unwanted, err) },
	})
	return m
}

// inBubble runs a test with a clock of its own, on one machine. Sessions a and a2 are
// one user's, b and c are of two others; all have just begun, and last for a month.
func inBubble(t *testing.T, f func(t *testing.T, m *machine)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(newStytch(), nil)
		for _, id := range []string{"a", "a2", "b", "c"} {
			m.stytch.open(id, month)
		}
		f(t, m)
		time.Sleep(m.Limit) // for the calls that no request waits for any more
	})
}

// get tells what is found of a request, and what Stytch was asked, as in
// "a asked, write | Ta?". cookies are Ta for the token of session a, Ja for a JWT of
// this moment, Ea for its first JWT, or a JWT or a token as it is.
func (m *machine) get(cookies string) string {
	jwts, tokens := m.cookies(cookies)
	m.stytch.asked()
	out := m.find(jwts, tokens)
	if calls := strings.Join(m.stytch.asked(), " "); calls != "" {
		return out + " | " + calls
	}
	return out + " | -"
}

// find does what a Middleware does, and returns what came of it.
func (m *machine) find(jwts, tokens []string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if k := m.Lookup(jwts); k != nil {
		return describe(session.State{Live: k, Cause: session.CauseMemory})
	}
	return describe(m.Find(ctx, jwts, tokens))
}

// cookies are the JWTs and the tokens that get's names stand for.
func (m *machine) cookies(names string) (jwts, tokens []string) {
	for _, name := range strings.Fields(names) {
		id := name[1:]
		s := m.stytch.sessions[id]
		switch {
		case name[0] == 'E' && s != nil:
			jwts = append(jwts, string(s.JWT))
		case name[0] == 'J' && s != nil:
			jwts = append(jwts, m.stytch.sign("J", id))
		case strings.ContainsAny(name[:1], "EFJN"):
			jwts = append(jwts, name)
		default:
			tokens = append(tokens, name)
		}
	}
	return jwts, tokens
}

// describe is a State in words.
func describe(st session.State) (out string) {
	switch {
	case st.Live != nil:
		out = st.Live.Session.ID + " " + st.Cause
		if _, partial := st.Live.Session.Raw.(*sessionjwt.Claims); partial {
			out += ", partial"
		}
	case st.Err != nil:
		out = "can't tell"
		if st.Stale != nil {
			out += " of " + st.Stale.SessionID
		}
	case st.Ambiguous:
		out = "ambiguous"
	default:
		out = "none"
	}
	for _, word := range []struct {
		is   bool
		word string
	}{
		{st.Write, "write"}, {st.Clear, "clear"}, {st.Mismatch, "mismatch"}, {st.EndedOrigin != "", "ended " + st.EndedOrigin},
	} {
		if word.is {
			out += ", " + word.word
		}
	}
	return out
}

func secret(s string) redact.Secret { return redact.Secret(s) }
