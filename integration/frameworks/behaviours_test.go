package frameworks

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/stytchtest"
)

const (
	moved     = " | +stytch_session +stytch_session_jwt | no-store | "
	replaced  = " | -sid | no-store | "
	cleared   = " | -stytch_session -stytch_session_jwt -sid | no-store | "
	untouched = " | - | - | "

	both = " stytch_session stytch_session_jwt" // what the handler sees of a Stytch session
	all  = " sid" + both                        // what it sees in the request that moves the user
)

// behaviours are what is promised of a request, whatever frame it goes through.
var behaviours = []struct {
	name string
	test func(t *testing.T, f frame, s *shop)
}{
	{"anonymous", anonymous},
	{"moves", moves},
	{"known", known},
	{"late tab", lateTab},
	{"login", signsIn},
	{"logout", signsOut},
	{"refused", refused},
	{"unavailable", unavailable},
	{"RequireUser", requireUser},
	{"panic", panicked},
	{"error page", errorPage},
	{"own cookie", ownCookie},
}

// TestFrames sends each behaviour through each frame, and prints the table.
func TestFrames(t *testing.T) {
	var table strings.Builder
	passed := 0
	for _, f := range frames {
		fmt.Fprintf(&table, "\n%-34s", f.name)
		for _, b := range behaviours {
			cell := "-" // not run
			t.Run(f.name+"/"+b.name, func(t *testing.T) {
				defer func() {
					switch {
					case t.Failed():
						cell = "FAILED"
					case !t.Skipped():
						cell, passed = "ok", passed+1
					}
				}()
				b.test(t, f, open(t, f))
			})
			fmt.Fprintf(&table, "%-*s", len(b.name)+2, cell)
		}
	}
	t.Logf("%d frames, %d behaviours: %d of %d ok\n%34s%s%s", len(frames), len(behaviours), passed, len(frames)*len(behaviours), "", header(), table.String())
}

func header() (out string) {
	for _, b := range behaviours {
		out += b.name + "  "
	}
	return out
}

// open serves a shop in a frame.
func open(t *testing.T, f frame) *shop {
	t.Helper()
	s := newShop(t)
	s.url = newServer(t, f.serve(s)).URL
	if f.front != nil {
		s.url = f.front(t, s.url)
	}
	return s
}

func anonymous(t *testing.T, _ frame, s *shop) {
	assert.Equal(t, "200 anonymous"+untouched+"-", s.newBrowser().get("/"))
}

func moves(t *testing.T, _ frame, s *shop) {
	b := s.newBrowser(oldSession("ada"))
	assert.Equal(t, "200 migrated ada"+all+moved+"migrate", b.get("/"))
	assert.Equal(t, s.stytch.Sessions()[0].Token, b.cookie("stytch_session"))
	assert.NotEmpty(t, b.cookie("sid"), "until the new cookies have come back")
	assert.Equal(t, "200 authenticated ada"+both+replaced+"-", b.get("/"))
	assert.Empty(t, b.cookie("sid"))
}

func known(t *testing.T, _ frame, s *shop) {
	b := s.newBrowser(oldSession("ada"))
	b.get("/")
	b.get("/") // the old cookie goes
	for range 3 {
		assert.Equal(t, "200 authenticated ada"+both+untouched+"-", b.get("/"))
	}
}

func lateTab(t *testing.T, _ frame, s *shop) {
	b := s.newBrowser(oldSession("ada"))
	tab := b.copy()
	b.get("/")
	assert.Equal(t, "200 migrated ada"+all+moved+"-", tab.get("/"))
	assert.Equal(t, b.cookie("stytch_session"), tab.cookie("stytch_session"))
}

// signsIn is the old login, of another person, while both cookies of the first are there.
func signsIn(t *testing.T, _ frame, s *shop) {
	b := s.newBrowser(oldSession("ada"))
	b.get("/")
	assert.Equal(t, "200 hello | +sid -stytch_session -stytch_session_jwt | no-store | revoke", b.post("/login", "user=bob"))
	assert.Equal(t, "200 migrated bob"+all+moved+"migrate", b.get("/"))
}

// signsOut calls Logout with the ResponseWriter and the request that the router
// hands to its handlers, in the request that moves a user too.
func signsOut(t *testing.T, _ frame, s *shop) {
	b := s.newBrowser(oldSession("ada"))
	tab := b.copy()
	b.get("/")
	assert.Equal(t, "200 bye"+cleared+"revoke", b.post("/logout", ""))
	assert.False(t, s.stytch.Sessions()[0].Live)
	assert.Equal(t, "200 anonymous"+untouched+"-", b.get("/"))
	assert.Equal(t, "200 refused"+untouched+"-", tab.get("/"), "a copy of the old cookie")

	b = s.newBrowser(oldSession("ada"))
	assert.Equal(t, "200 bye"+cleared+"migrate revoke", b.post("/logout", ""))
}

func refused(t *testing.T, _ frame, s *shop) {
	b := s.newBrowser(oldSession("eve"))
	assert.Equal(t, "200 refused old eve sid"+untouched+"-", b.get("/"))
}

func unavailable(t *testing.T, _ frame, s *shop) {
	b := s.newBrowser(oldSession("ada"))
	s.stytch.FailAll(stytchtest.Migrate, stytchtest.Error(http.StatusServiceUnavailable, "server_unavailable"))
	assert.Equal(t, "200 unavailable old ada sid"+untouched+"migrate migrate", b.get("/"))
	s.stytch.Heal(stytchtest.Migrate)
	assert.Equal(t, "200 migrated ada"+all+moved+"migrate", b.get("/"))
}

func requireUser(t *testing.T, _ frame, s *shop) {
	b := s.newBrowser()
	assert.Equal(t, "401 Please sign in. | - | no-store | -", b.get("/members"))
	b = s.newBrowser(oldSession("ada"))
	s.stytch.Fail(stytchtest.Migrate, stytchtest.Reset(), stytchtest.Reset())
	assert.Equal(t, "503 Signing in can't be checked right now. Please try again. | - | no-store | migrate migrate", b.get("/members"))
	assert.Equal(t, "200 migrated ada"+all+moved+"migrate", b.get("/members"))
}

// panicked is that whoever moved in a request that fails is not moved again.
func panicked(t *testing.T, f frame, s *shop) {
	b := s.newBrowser(oldSession("ada"))
	got := b.get("/panic")
	status, _, _ := strings.Cut(got, " ")
	if f.panicked != aborted {
		_, rest, _ := strings.Cut(got, " | ")
		got = status + " | " + rest
	}
	require.Equal(t, f.panicked, got)
	next := "200 migrated ada" + all + moved + "-"
	if strings.Contains(got, "+") {
		next = "200 authenticated ada" + both + replaced + "-"
	}
	assert.Equal(t, next, b.get("/"))
	assert.Len(t, s.stytch.Sessions(), 1)
}

// errorPage is written by the router, where it is the router that does so.
func errorPage(t *testing.T, _ frame, s *shop) {
	b := s.newBrowser(oldSession("ada"))
	got := b.get("/forbidden")
	assert.Regexp(t, "^403 ", got)
	assert.Contains(t, got, moved+"migrate")
	assert.Equal(t, "200 authenticated ada"+both+replaced+"-", b.get("/"))
}

func ownCookie(t *testing.T, _ frame, s *shop) {
	b := s.newBrowser(oldSession("ada"))
	assert.Equal(t, "200 migrated ada"+all+" | +theme +stytch_session +stytch_session_jwt | no-store | migrate", b.get("/theme"))
	assert.Equal(t, "200 authenticated ada theme"+both+" | +theme -sid | no-store | -", b.get("/theme"))
	assert.Equal(t, "200 authenticated ada theme"+both+" | +theme | - | -", b.get("/theme"))
	assert.Equal(t, "200 bye"+cleared+"revoke", b.post("/logout", ""))
	assert.Equal(t, "200 anonymous theme"+untouched+"-", b.get("/"))
}
