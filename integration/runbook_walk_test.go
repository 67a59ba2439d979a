package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"html"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/statuspage"
	"example.com/stytchmigrate/storetest"
	"example.com/stytchmigrate/userinfo"
)

// site is an estate with what an operator has of it: the page, the events, the
// log, and the dashboard, which is the stand-in. Machine 0 has the middleware,
// machine 1 has not.
type site struct {
	*estate
	page   *statuspage.Page
	log    logLines
	store  *storetest.Memory
	people []*person

	tickets *userinfo.Tickets
	events  []stytchmigrate.Event // since the step began; guarded by estate.mu
}

// person is somebody at a browser.
type person struct {
	subject string
	jar     http.CookieJar
}

// logLines is a log that is read while it is written.
type logLines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// with returns the lines with all of the words.
func (l *logLines) with(words ...string) (lines []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.b.String()) {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			lines = append(lines, line)
		}
	}
	return lines
}

// newSite has n people with an old session, whom Stytch knows.
func newSite(t *testing.T, n int, change ...func(*stytchmigrate.Config)) *site {
	t.Helper()
	s := &site{estate: newEstate(t, n), store: new(storetest.Memory), tickets: newTickets()}
	s.stytch.SetUserInfo(s.tellStytch)
	for i := range n {
		s.comes(fmt.Sprint("old-", i))
	}
	s.deploy(t, change...)
	return s
}

// tellStytch is the UserInfo endpoint.
func (s *site) tellStytch(ctx context.Context, ticket string) (email string, err error) {
	id, err := s.tickets.Redeem(ctx, ticket)
	return id.Email, err
}

// browserWith is somebody with an old session. What is done with it may sign it out.
func browserWith(sid string) *person {
	n, _, _ := strings.Cut(strings.TrimPrefix(sid, "old-"), ".")
	p := &person{subject: "user-" + n}
	p.jar, _ = cookiejar.New(nil)
	p.jar.SetCookies(estateURL, []*http.Cookie{{Name: "sid", Value: sid, Path: "/"}})
	return p
}

// comes is one more of those who are not to be signed out.
func (s *site) comes(sid string) *person {
	p := browserWith(sid)
	s.people = append(s.people, p)
	return p
}

// deploy starts a process anew, with another configuration, and so another page.
func (s *site) deploy(t *testing.T, change ...func(*stytchmigrate.Config)) {
	t.Helper()
	s.page = statuspage.New(statuspage.Options{Dial: statuspage.Dial{Get: func() stytchmigrate.Rollout { return s.auth.Rollout() }}})
	cfg := s.config()
	cfg.Legacy[0].Resolve = s.resolve
	cfg.Tickets, cfg.Store = s.tickets, s.store
	cfg.RecordKey = "32 bytes by which users are held back"
	cfg.OnEvent, cfg.Logger = s.observe, slog.New(slog.NewJSONHandler(&s.log, nil))
	for _, f := range change {
		f(&cfg)
	}
	s.start(t, cfg)
}

// resolve has no token of the old session's, so that tickets are minted, and knows
// when it began, so that one that was logged out is nobody's.
func (s *site) resolve(r *http.Request, id string) (stytchmigrate.LegacySession, error) {
	old, err := resolveEstate(r, id)
	old.Token, old.StartedAt = "", time.Date(1999, 12, 31, 0, 0, 0, 0, time.UTC)
	return old, err
}

func (s *site) observe(ctx context.Context, e stytchmigrate.Event) {
	s.page.Observe(ctx, e)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, e)
}

// visit sends people to a machine and waits for what goes on apart from them. It
// returns how many are who they are.
func (s *site) visit(machine int, people ...*person) (n int) {
	for _, p := range people {
		if s.estate.visit(p.jar, machine) == p.subject {
			n++
		}
	}
	synctest.Wait()
	return n
}

// logOut is the logout handler of machine 0.
func (s *site) logOut(p *person) (err error) {
	send(p.jar, http.MethodPost, s.auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { err = s.auth.Logout(w, r) })))
	synctest.Wait()
	return err
}

// has reports whether a browser has a cookie.
func (p *person) has(name string) bool {
	return slices.ContainsFunc(p.jar.Cookies(estateURL), func(c *http.Cookie) bool { return c.Name == name })
}

// moved are those with a Stytch session, and others the rest.
func (s *site) moved() (moved, others []*person) {
	for _, p := range s.people {
		if p.has("stytch_session") {
			moved = append(moved, p)
		} else {
			others = append(others, p)
		}
	}
	return moved, others
}

// walk is a step of RUNBOOK.md being gone.
type walk struct {
	*testing.T
	*site
	step runbookStep
	said map[string]bool // of step.quotes, what was done or seen
}

// says is what RUNBOOK.md says in this step, in these words.
func (w *walk) says(quotes ...string) {
	w.Helper()
	for _, q := range quotes {
		require.Contains(w, w.step.quotes, q, "RUNBOOK.md, %s: %s", w.step.chapter, w.step.name)
		w.said[q] = true
	}
}

// begin forgets what was heard before the step.
func (w *walk) begin() {
	if w.site == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = nil
}

// set makes the call of SetRollout that is written in RUNBOOK.md.
func (w *walk) set(call string) {
	w.Helper()
	call = "auth.SetRollout(stytchmigrate.Rollout{" + call + "})"
	w.says(call)
	require.NoError(w, w.auth.SetRollout(w.rolloutIn(call)))
	assert.Equal(w, w.auth.Rollout().Stage.String(), w.status().Dial.Stage)
	assert.InDelta(w, w.auth.Rollout().HoldBack, w.status().Dial.HoldBack, 0)
}

// shows is what RUNBOOK.md says of the page, and what the page then says.
func (w *walk) shows(words ...string) {
	w.Helper()
	w.says(words...)
	page := html.UnescapeString(w.read("/").Body.String())
	for _, x := range words {
		assert.Contains(w, page, x)
	}
}

// hears is what RUNBOOK.md says of an event. It returns those that came.
func (w *walk) hears(kind string) (events []stytchmigrate.Event) {
	w.Helper()
	w.says(kind)
	events = w.told(kind)
	require.NotEmpty(w, events, kind)
	return events
}

func (w *walk) told(kind string) (events []stytchmigrate.Event) {
	synctest.Wait() // for what is told by another goroutine than the request's
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		if e.Kind == kind {
			events = append(events, e)
		}
	}
	return events
}

// fails is a type of failure that RUNBOOK.md names, with the ids that it is to be
// found by at Stytch, if Stytch was asked.
func (w *walk) fails(name string, ids int) {
	w.Helper()
	w.shows(name)
	i := slices.IndexFunc(w.status().Failures, func(f failureRow) bool { return f.Type == name })
	require.GreaterOrEqual(w, i, 0, name)
	f := w.status().Failures[i]
	assert.Positive(w, f.Count)
	require.Len(w, f.RequestIDs, ids, name)
	for _, id := range f.RequestIDs {
		assert.True(w, strings.HasPrefix(id, "request-id-test-"), id)
	}
}

// everybodyIsThere sees that nobody was signed out or taken for somebody else.
func (w *walk) everybodyIsThere(machine int) {
	w.Helper()
	assert.Equal(w, len(w.people), w.visit(machine, w.people...), "some are signed out")
}

func (w *walk) read(url string) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	w.page.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, url, nil))
	require.Equal(w, http.StatusOK, rec.Code)
	return rec
}

// pageStatus is the page as programs read it.
type pageStatus struct {
	Removal struct {
		Safe    bool
		Reasons []struct {
			Holds bool
			Text  string
		}
	}
	Sessions sessionRow `json:"legacy_sessions"`
	Stages   []sessionRow
	Requests map[string]int
	Failures []failureRow
	Lanes    []struct{ Calls, Breaker string } `json:"held_back"`
	Events   []struct {
		Kind      string
		Count     int
		Recovered string
	}
	Dial struct {
		Stage     string
		HoldBack  float64 `json:"hold_back"`
		PerSecond float64 `json:"per_second"`
	}
}

type sessionRow struct {
	Stage                                string
	Seen, Migrated, Refused, Unavailable int
	Left                                 int `json:"left_alone"`
	ToMove                               int `json:"to_move"`
}

type failureRow struct {
	Type       string `json:"error_type"`
	Count      int
	RequestIDs []string `json:"request_ids"`
}

func (w *walk) status() (s pageStatus) {
	require.NoError(w, json.Unmarshal(w.read("/?format=json").Body.Bytes(), &s))
	return s
}

// stage is the row of a stage on the page.
func (w *walk) stage(name string) sessionRow {
	w.Helper()
	rows := w.status().Stages
	i := slices.IndexFunc(rows, func(r sessionRow) bool { return r.Stage == name })
	require.GreaterOrEqual(w, i, 0, "the page has no row %q", name)
	return rows[i]
}

// about compares numbers of distinct sessions, which the page estimates.
func (w *walk) about(want, got int, of string) {
	w.Helper()
	if want <= 1 {
		assert.Equal(w, want, got, of)
		return
	}
	assert.InDelta(w, want, got, float64(1+want/10), of)
}
