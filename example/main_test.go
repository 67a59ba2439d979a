package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
)

func TestWalkFindsEverythingAsItMustBe(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, walk(t.Context(), &out), "printed until then:\n%s", &out)

	for _, line := range []string{
		"Check: everything is as it must be.\n\n1. Ada logs in the old way.",
		"   request          10 × GET /me → 200\n",
		"   outcome          migrated\n",
		"   calls to Stytch  POST /v1/sessions/migrate → 200\n                    asked back: GET /userinfo → it is ada\n",
		"   outcome          unavailable\n   signed in        Katherine Johnson, by the old session\n",
		"POST /v1/sessions/revoke → 200\n",
		"   outcome          anonymous\n   signed in        nobody\n",
		"   outcome          refused\n   signed in        Barbara Liskov, by the old session\n",
		"   legacy sessions  2 seen, 2 migrated, 0 left alone\n",
		"   rollout          observe\n",
		"   outcome          legacy\n   signed in        Katherine Johnson, by the old session\n",
		"   rollout          replace\n",
		"All 16 steps were as they must be.\n",
	} {
		assert.Contains(t, out.String(), line)
	}
	for line := range strings.Lines(out.String()) {
		assert.LessOrEqual(t, utf8.RuneCountInString(strings.TrimSuffix(line, "\n")), 100, "width of %q", line)
	}
}

func TestExpectNamesTheFirstFactThatIsNotSo(t *testing.T) {
	err := expect(fact{"status", 200, 200}, fact{"outcome", "migrated", "legacy"}, fact{"user", "ada", ""})
	assert.EqualError(t, err, "outcome: expected migrated, found legacy")
}

func TestWrongCommandLinesAndSettingsSaySo(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()

	for _, c := range []struct {
		name string
		args []string
		env  map[string]string
		code int
		says string
	}{
		{name: "project without secret", env: map[string]string{"STYTCH_PROJECT_ID": "project-test-1"}, code: 1, says: "STYTCH_SECRET is not"},
		{name: "secret without project", env: map[string]string{"STYTCH_SECRET": "secret-test-1"}, code: 1, says: "STYTCH_PROJECT_ID is not"},
		{name: "live project", env: map[string]string{"STYTCH_PROJECT_ID": "project-live-1", "STYTCH_SECRET": "secret-live-1"}, code: 1, says: "use a test project"},
		{name: "no project id", args: []string{"-addr", "127.0.0.1:0"}, env: map[string]string{"STYTCH_PROJECT_ID": "p", "STYTCH_SECRET": "s"}, code: 1, says: "stytchmigrate: ProjectID"},
		{name: "walk against the real API", args: []string{"-walk"}, env: map[string]string{"STYTCH_PROJECT_ID": "project-test-1", "STYTCH_SECRET": "s"}, code: 1, says: "unset STYTCH_PROJECT_ID"},
		{name: "address in use", args: []string{"-addr", taken.Addr().String()}, code: 1, says: "address already in use"},
		{name: "no address", args: []string{"-addr", "nowhere"}, code: 1, says: "missing port"},
		{name: "unknown argument", args: []string{"walk"}, code: 2, says: `unknown argument "walk"`},
		{name: "unknown flag", args: []string{"-wlak"}, code: 2, says: "Usage of example"},
		{name: "help", args: []string{"-h"}, code: 0, says: "Usage of example"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var stderr bytes.Buffer
			code := run(t.Context(), c.args, func(k string) string { return c.env[k] }, io.Discard, &stderr)
			assert.Equal(t, c.code, code, "exit code")
			assert.Contains(t, stderr.String(), c.says)
			assert.NotContains(t, stderr.String(), "secret-", "a secret's value")
		})
	}
}

func TestServingEndsWithItsContext(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var stdout, stderr syncBuffer
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"-addr", "127.0.0.1:0"}, func(string) string { return "" }, &stdout, &stderr)
	}()
	require.Eventually(t, func() bool { return strings.Contains(stdout.String(), "Ctrl-C") }, 2*time.Second, 5*time.Millisecond)
	assert.True(t, strings.HasPrefix(stdout.String(), "Check: everything is as it must be.\n\n"), &stdout)
	_, rest, _ := strings.Cut(stdout.String(), "open   ")
	base, _, _ := strings.Cut(rest, "\n")
	resp, err := http.Get(base + "/me")
	require.NoError(t, err)
	resp.Body.Close()
	assert.Equal(t, http.StatusOK, resp.StatusCode)
	unused, err := net.Dial("tcp", strings.TrimPrefix(base, "http://")) // as a browser opens one to be quicker
	require.NoError(t, err)
	defer unused.Close()

	interrupt()
	select {
	case c := <-code:
		assert.Equal(t, 0, c, "exit code; stderr: %s", &stderr)
	case <-time.After(2 * time.Second):
		t.Fatal("still running two seconds after the interrupt")
	}
	_, err = http.Get(base)
	assert.Error(t, err, "a request after the end")
}

func TestGreetingForTheRealAPINamesWhatIsToBeDone(t *testing.T) {
	text := greeting("http://127.0.0.1:8080", true)
	for _, part := range []string{"UserInfo URL", "http://127.0.0.1:8080/userinfo", "ada@example.com", "katherine@example.com"} {
		assert.Contains(t, text, part)
	}
	assert.NotContains(t, text, "barbara@example.com", "who can't move")
}

func TestPages(t *testing.T) {
	a, b := newTestApp(t)
	_, err := b.login(t.Context(), "ada")
	require.NoError(t, err)
	old := value(b.cookies(), oldCookie)

	held := read(t, b, "/cookies")
	assert.Contains(t, held, "the old session")
	assert.NotContains(t, held, old, "a whole cookie")
	assert.Equal(t, oldCookie, names(b.cookies()), "the page of the cookies changes none")

	moved := read(t, b, "/")
	for _, part := range []string{"You are Ada Lovelace", "<strong>migrated</strong>", a.standInUser("ada").ID,
		"ada@example.com", "POST /v1/sessions/migrate → 200", "GET /userinfo → it is ada"} {
		assert.Contains(t, moved, part)
	}
	assert.Contains(t, read(t, b, "/cookies"), "You hold both sessions")
	assert.Contains(t, names(b.cookies()), oldCookie)
	assert.Regexp(t, `JWT<br>.*; expires in (5m0s|4m5\ds)`, read(t, b, "/cookies"))
	assert.Contains(t, read(t, b, "/"), "was not called")
	assert.Equal(t, newCookies, names(b.cookies()), "the old cookie is gone")

	_, err = b.do(t.Context(), http.MethodPost, "/outage", url.Values{"stytch": {"down"}})
	require.NoError(t, err)
	down := read(t, b, "/")
	assert.Contains(t, down, "You are Ada Lovelace")
	assert.Contains(t, down, "Bring Stytch back")
	_, err = b.do(t.Context(), http.MethodPost, "/outage", url.Values{"stytch": {"up"}})
	require.NoError(t, err)
	assert.Contains(t, read(t, b, "/"), "Take Stytch down")

	_, err = b.logout(t.Context())
	require.NoError(t, err)
	assert.Contains(t, read(t, b, "/"), "Nobody is signed in")
}

func TestTheOperatorsPage(t *testing.T) {
	a, b := newTestApp(t)
	_, err := b.login(t.Context(), "ada")
	require.NoError(t, err)
	assert.Contains(t, read(t, b, "/"), `<a href="/ops">`)
	before := a.journal.position()
	shown := read(t, b, "/ops")
	assert.Contains(t, shown, "not yet safe to remove")
	assert.NotContains(t, shown, "ada")
	s, err := b.ops(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "1 seen, 1 migrated, 0 left alone; replace", s.sessions()+"; "+s.Dial.Stage)
	assert.Equal(t, map[string]uint64{"anonymous": 1, "migrated": 1, "authenticated": 0, "legacy": 0, "refused": 0, "unavailable": 0}, s.Requests, "the operators' own do not count")

	v, err := b.turn(t.Context(), stytchmigrate.StageKeep, 25)
	require.NoError(t, err)
	assert.Equal(t, http.StatusSeeOther, v.status)
	assert.Equal(t, stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep, HoldBack: 25}, a.auth().Rollout())
	assert.Equal(t, before, a.journal.position(), "calls to Stytch")
}

func TestFindingsAreALineEach(t *testing.T) {
	a, _ := newTestApp(t)
	assert.Equal(t, "Check: everything is as it must be.\n", a.check(t.Context()))
	a.standIn.SetClock(func() time.Time { return time.Now().Add(-6 * time.Minute) })
	a.standIn.SetUserInfoURL("")
	assert.Regexp(t, `^Check: stytchmigrate: clock of this machine: .*\nCheck: stytchmigrate: UserInfo URL in the Stytch dashboard: .*\n$`, a.check(t.Context()))
}

func TestWhereNobodyCanSayTheAnswerIs503(t *testing.T) {
	a, other := newTestApp(t)
	session := a.standIn.NewSession(a.standInUser("ada").ID, time.Hour)
	// A token alone, which this process never saw: only Stytch could tell.
	b := newBrowser(other.base, a.journal, &http.Cookie{Name: "stytch_session", Value: session.Token})
	a.setOutage(true)
	v, err := b.me(t.Context())
	require.NoError(t, err)
	assert.Equal(t, http.StatusServiceUnavailable, v.status)
	assert.Equal(t, "unavailable, nobody", v.account.Outcome+", "+v.who())
	assert.Equal(t, "stytch_session", names(v.after), "cookies after")
}

func TestForms(t *testing.T) {
	a, _ := newTestApp(t)
	post := func(path, form string, header ...string) int {
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		rec := httptest.NewRecorder()
		a.handler().ServeHTTP(rec, r)
		return rec.Code
	}
	assert.Equal(t, http.StatusSeeOther, post("/login", "user=ada"), "a login")
	assert.Equal(t, http.StatusSeeOther, post("/login", "user=ada", "Sec-Fetch-Site", "same-origin"), "a login from the page")
	assert.Equal(t, http.StatusBadRequest, post("/login", "user=mallory"), "nobody of that name")
	assert.Equal(t, http.StatusForbidden, post("/login", "user=ada", "Sec-Fetch-Site", "cross-site"), "another site's form")
	assert.Equal(t, http.StatusForbidden, post("/logout", "", "Origin", "https://evil.example"), "another origin's form")
	assert.Equal(t, http.StatusForbidden, post("/ops", "stage=observe", "Sec-Fetch-Site", "cross-site"), "another site's rollout")
	assert.Equal(t, http.StatusUnprocessableEntity, post("/ops", "stage=retire&hold_back=0&per_second=0"), "a stage that does not exist")
	assert.Zero(t, a.standIn.Count(stytchtest.Any), "calls to Stytch")
}

func TestTheOldLoginEndsTheStytchSessionBeforeIt(t *testing.T) {
	a, b := newTestApp(t)
	_, err := b.login(t.Context(), "ada")
	require.NoError(t, err)
	ada, err := b.me(t.Context())
	require.NoError(t, err)

	_, err = b.login(t.Context(), "grace")
	require.NoError(t, err)
	assert.Equal(t, oldCookie, names(b.cookies()), "cookies after the second login")
	session, _ := a.standIn.Session(ada.account.StytchSession)
	assert.True(t, session.Revoked, "Ada's session is revoked")
	grace, err := b.me(t.Context())
	require.NoError(t, err)
	assert.NoError(t, isMove(grace, "grace"))
}

// newTestApp serves the application, and returns it with a browser.
func newTestApp(t *testing.T) (*app, *browser) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	a, err := newApp(urlOf(l), nil, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(a.close)
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: a.handler()}}
	server.Start()
	t.Cleanup(server.Close)
	base, err := url.Parse(server.URL)
	require.NoError(t, err)
	return a, newBrowser(base, a.journal)
}

// read returns a page, which must be one.
func read(t *testing.T, b *browser, path string) string {
	t.Helper()
	resp, err := b.client.Get(b.base.JoinPath(path).String())
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, resp.StatusCode)
	assert.Equal(t, "text/html; charset=utf-8", resp.Header.Get("Content-Type"))
	assert.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
	assert.True(t, strings.HasSuffix(strings.TrimSpace(string(body)), "</html>"), "the page is whole")
	return string(body)
}

// syncBuffer is written by one goroutine and read by another.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
