package integration

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/securecookie"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
	"example.com/stytchmigrate/userinfo"
)

// oldSession is the payload of the cookie in README.md.
type oldSession struct {
	ID, UserID          string
	SignedInAt          time.Time
	SecondFactorPending bool
}

// readme is the program of README.md, line by line.
func readme(mux *http.ServeMux, codecs []securecookie.Codec, hashKey, blockKey []byte) (http.Handler, *stytchmigrate.Middleware, error) {
	var users table
	tickets, err := userinfo.NewTickets(hashKey, blockKey) // 32 bytes each, the same on every machine
	if err != nil {
		return nil, nil, err
	}
	auth, err := stytchmigrate.New(stytchmigrate.Config{
		ProjectID: os.Getenv("STYTCH_PROJECT_ID"),
		Secret:    stytchmigrate.Secret(os.Getenv("STYTCH_SECRET")),
		Tickets:   tickets,
		Rollout:   stytchmigrate.Rollout{Stage: stytchmigrate.StageObserve}, // call nothing yet: see "Rolling out"
		Legacy: []stytchmigrate.LegacyCookie{
			// What the old code keeps in its cookie, by the codecs it uses: here gorilla/securecookie.
			stytchmigrate.SecureCookie(stytchmigrate.LegacyCookie{Name: "sid"}, codecs,
				func(r *http.Request, s oldSession) (stytchmigrate.LegacySession, error) {
					user, err := users.Find(r.Context(), s.UserID)
					if errors.Is(err, sql.ErrNoRows) || s.SecondFactorPending {
						return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
					}
					if err != nil {
						return stytchmigrate.LegacySession{}, err // it can't be told now
					}
					return stytchmigrate.LegacySession{
						ID:        stytchmigrate.Secret(s.ID), // the same for as long as the session lives
						StartedAt: s.SignedInAt,
						Identity:  userinfo.Identity{Subject: user.ID, Email: user.Email, EmailVerified: user.EmailVerified},
					}, nil
				}),
		},
	})
	if err != nil {
		return nil, nil, err
	}
	outer := http.NewServeMux()
	outer.Handle("/userinfo", userinfo.Handler(tickets.Redeem)) // the UserInfo URL in the Stytch dashboard
	outer.Handle("/", auth.Handler(mux))
	return outer, auth, nil
}

func readmePage(w http.ResponseWriter, r *http.Request) {
	if user, ok := stytchmigrate.UserFromContext(r.Context()); ok {
		// moved: user.UserID, user.Emails, user.ExternalID
		fmt.Fprint(w, "moved: ", user.Emails[0].Email)
	} else if old, ok := stytchmigrate.LegacyFromContext(r.Context()); ok {
		// not moved yet, or Stytch can't be reached: old.Identity (empty where Resolve gave only a Token)
		fmt.Fprint(w, "not moved: ", old.Identity.Subject)
	}
}

// The program of README.md is the one above, but for what a program adds.
func TestReadmeIsThisProgram(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	self, err := os.ReadFile("readme_test.go")
	require.NoError(t, err)
	have := map[string]bool{"// ...": true, "}": true, "http.ListenAndServe(addr, outer)": true}
	for line := range strings.Lines(string(self)) {
		have[strings.TrimSpace(line)] = true
	}
	parts := strings.Split(string(text), "```")
	blocks := 0
	for i := 1; i < len(parts); i += 2 {
		code, isGo := strings.CutPrefix(parts[i], "go\n")
		if !isGo {
			continue
		}
		blocks++
		for line := range strings.Lines(code) {
			assert.True(t, have[strings.TrimSpace(line)] || strings.TrimSpace(line) == "", line)
		}
	}
	assert.Positive(t, blocks)
}

// standInFor makes connections to Stytch's host for test projects end at the
// stand-in: the program says nothing about where Stytch is, nor how to get there.
func standInFor(t *testing.T, s *stytchtest.Server) {
	t.Helper()
	transport := http.DefaultTransport.(*http.Transport)
	dial, proxy := transport.DialTLSContext, transport.Proxy
	transport.Proxy = nil
	transport.DialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if addr != "test.stytch.com:443" {
			return nil, fmt.Errorf("a call to %s", addr)
		}
		return new(net.Dialer).DialContext(ctx, network, strings.TrimPrefix(s.URL, "http://"))
	}
	t.Cleanup(func() { transport.DialTLSContext, transport.Proxy = dial, proxy })
}

func TestReadmeProgram(t *testing.T) {
	stytch := stytchtest.NewServer(t, stytchtest.Config{})
	stytch.AddUser(stytchtest.Person("ada@example.com"))
	standInFor(t, stytch)
	t.Setenv("STYTCH_PROJECT_ID", stytch.ProjectID)
	t.Setenv("STYTCH_SECRET", stytch.Secret)

	mux := http.NewServeMux()
	mux.HandleFunc("/", readmePage)
	codecs := securecookie.CodecsFromPairs(hashKey, blockKey)
	program, auth, err := readme(mux, codecs, hashKey, blockKey)
	require.NoError(t, err)
	srv := httptest.NewServer(program)
	t.Cleanup(srv.Close)
	stytch.SetUserInfoURL(srv.URL + "/userinfo")

	see := func(session oldSession) string {
		value, err := codecs[0].Encode("sid", session)
		require.NoError(t, err)
		r, err := http.NewRequest("GET", srv.URL, nil)
		require.NoError(t, err)
		r.Header.Set("Cookie", "sid="+value)
		resp, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return string(body)
	}
	assert.Equal(t, "not moved: 17", see(oldSession{ID: "a", UserID: "17", SignedInAt: time.Now()}))
	assert.Empty(t, stytch.Calls(), "the first program calls nothing")

	require.NoError(t, auth.SetRollout(stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep}))
	for session, want := range map[oldSession]string{
		{ID: "a", UserID: "17", SignedInAt: time.Now()}:      "moved: ada@example.com",
		{ID: "b", UserID: "19"}:                              "not moved: 19",
		{ID: "c", UserID: "21"}:                              "",
		{ID: "d", UserID: "17", SecondFactorPending: true}:   "",
		{ID: "e", UserID: "20", SignedInAt: time.Unix(1, 0)}: "",
	} {
		assert.Equal(t, want, see(session), "%+v", session)
	}
	assert.Equal(t, "test.stytch.com", stytch.Calls()[0].Host)
}

// What README.md says about testing an application.
func TestReadmeTest(t *testing.T) {
	tickets, err := userinfo.NewTickets(hashKey, blockKey)
	require.NoError(t, err)
	cfg := stytchmigrate.Config{
		Tickets: tickets,
		Legacy: []stytchmigrate.LegacyCookie{{Name: "sid", Resolve: func(_ *http.Request, value string) (stytchmigrate.LegacySession, error) {
			return stytchmigrate.LegacySession{Identity: userinfo.Identity{Subject: value, Email: value + "@example.com", EmailVerified: true}}, nil
		}}},
	}
	stytch := stytchtest.NewServer(t, stytchtest.Config{})
	stytch.AddUser(stytchtest.Person("ada@example.com"))
	stytch.SetUserInfo(func(ctx context.Context, ticket string) (string, error) {
		id, err := tickets.Redeem(ctx, ticket)
		return id.Email, err
	})
	cfg.ProjectID, cfg.Secret, cfg.BaseURL = stytch.ProjectID, stytchmigrate.Secret(stytch.Secret), stytch.URL
	cfg.Cookies.Insecure = true // httptest serves plain HTTP
	auth, err := stytchmigrate.New(cfg)
	require.NoError(t, err)

	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Cookie", "sid=ada")
	rec := httptest.NewRecorder()
	auth.Handler(http.HandlerFunc(readmePage)).ServeHTTP(rec, r)
	assert.Equal(t, "moved: ada@example.com", rec.Body.String())
}
