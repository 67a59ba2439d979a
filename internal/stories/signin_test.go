package stories_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/storetest"
	"example.com/stytchmigrate/stytchtest"
)

// A browser signs in by SignIn while another request of it is under way, with the cookies
// of before. The response to that one comes last. It must neither bring the old cookies
// back, nor expire the new ones, on whatever machine it was served.

// signIn sends the login of s to m, with the cookies that the browser had before.
func signIn(t *testing.T, m *stytchmigrate.Middleware, cookies string, s stytchtest.Session) *httptest.ResponseRecorder {
	t.Helper()
	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "https://app.example.com/login", nil)
	r.Header.Set("Cookie", cookies)
	m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.NoError(t, m.SignIn(w, r, stytchmigrate.Secret(s.Token), stytchmigrate.Secret(s.JWT)))
	})).ServeHTTP(w, r)
	return w
}

// slowPage is a request whose handler runs until the test lets it end.
type slowPage struct {
	*httptest.ResponseRecorder
	Saw       string
	began     chan struct{}
	end, done chan struct{}
}

func openSlowPage(a *apptest.App, m *stytchmigrate.Middleware, cookies string) *slowPage {
	return slow(a, m, http.MethodGet, cookies)
}

func slowPost(a *apptest.App, m *stytchmigrate.Middleware, cookies string) *slowPage {
	return slow(a, m, http.MethodPost, cookies)
}

// slow is a slowPage whose handler does at its end what last does.
func slow(a *apptest.App, m *stytchmigrate.Middleware, method, cookies string, last ...http.HandlerFunc) *slowPage {
	p := &slowPage{ResponseRecorder: httptest.NewRecorder(), began: make(chan struct{}), end: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		r := httptest.NewRequest(method, "https://app.example.com/page", nil)
		r.Header.Set("Cookie", cookies)
		m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p.Saw = a.Who(r.Context())
			close(p.began)
			<-p.end
			for _, f := range last {
				f(w, r)
			}
		})).ServeHTTP(p, r)
	}()
	return p
}

// finish lets the handler end, and returns the cookies of the response.
func (p *slowPage) finish() []*http.Cookie {
	close(p.end)
	<-p.done
	return p.Result().Cookies()
}

// The handler of the other request runs while the browser signs in. Each row is what that
// request brought.
func TestSignInWhileAPageOfBeforeIsServed(t *testing.T) {
	for name, row := range map[string]struct {
		cookies func(a *apptest.App) string
		saw     string
	}{
		"a refresh of another user's": {func(a *apptest.App) string { c, _ := a.Expired(a.Bob, "both"); return c }, "authenticated bob"},
		"a refresh, by the token":     {func(a *apptest.App) string { c, _ := a.Expired(a.Bob, "session"); return c }, "authenticated bob"},
		"a refresh, by the JWT":       {func(a *apptest.App) string { c, _ := a.Expired(a.Bob, "jwt"); return c }, "authenticated bob"},
		"a refresh of her own":        {func(a *apptest.App) string { c, _ := a.Expired(a.Ada, "both"); return c }, "authenticated ada"},
		"another user who moves":      {func(*apptest.App) string { return "sid=bob-1" }, "migrated bob"},
		"her own old session moves":   {func(*apptest.App) string { return "sid=ada-1" }, "migrated ada"},
		"an end of the session":       {func(a *apptest.App) string { return "stytch_session=unknown" }, "anonymous"},
	} {
		for _, login := range []string{"on the same machine", "on another machine", "outside of Handler"} {
			t.Run(name+", "+login, func(t *testing.T) {
				apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
					cookies := row.cookies(a)
					page := openSlowPage(a, m[0], cookies)
					<-page.began
					assert.Equal(t, row.saw, page.Saw)
					next := a.Stytch.NewSession(a.Ada.ID, 0)
					switch login {
					case "on the same machine":
						assert.Len(t, signIn(t, m[0], cookies, next).Result().Cookies(), 3)
					case "on another machine":
						assert.Len(t, signIn(t, m[1], cookies, next).Result().Cookies(), 3)
					default:
						w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "https://app.example.com/login", nil)
						r.Header.Set("Cookie", cookies)
						require.NoError(t, m[1].SignIn(w, r, stytchmigrate.Secret(next.Token), ""))
					}
					assert.Empty(t, page.finish(), "the browser has the new cookies by now")
				})
			})
		}
	}
}

// Stytch is asked about the old session while the browser signs in.
func TestSignInDuringARefresh(t *testing.T) {
	for _, user := range []string{"ada", "bob"} {
		for machine := range 2 {
			t.Run(user, func(t *testing.T) {
				apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
					before := a.Ada
					if user == "bob" {
						before = a.Bob
					}
					cookies, session := a.Expired(before, "both")
					next := a.Stytch.NewSession(a.Ada.ID, 0)
					require.Len(t, signIn(t, m[2], "", next).Result().Cookies(), 3) // known there, so that Stytch is not asked
					hold := &stytchtest.Hold{}
					a.Stytch.Fail(stytchtest.Authenticate, stytchtest.Fault{}.WithHold(hold).AfterWork())
					page := openSlowPage(a, m[2*machine], cookies)
					<-hold.Arrived()
					signIn(t, m[2], cookies, next)
					hold.Release()
					<-page.began
					assert.Empty(t, page.finish())
					now, _ := a.Stytch.Session(session.ID)
					assert.Equal(t, user == "ada", now.Live)
					assert.Equal(t, user == "ada", page.Saw == "authenticated ada", page.Saw)
				})
			})
		}
	}
}

// A request with the old cookie is exchanged while the browser signs in. It gets no
// session, and the one that was made is revoked.
func TestSignInDuringAnExchange(t *testing.T) {
	for machine := range 2 {
		apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
			next := a.Stytch.NewSession(a.Ada.ID, 0)
			hold := &stytchtest.Hold{}
			a.Stytch.Fail(stytchtest.Migrate, stytchtest.Fault{}.WithHold(hold).AfterWork())
			page := openSlowPage(a, m[machine], "sid=bob-1")
			<-hold.Arrived()
			w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "https://app.example.com/login", nil)
			r.Header.Set("Cookie", "sid=bob-1")
			require.NoError(t, m[0].SignIn(w, r, stytchmigrate.Secret(next.Token), "")) // behind Handler it would wait for the exchange
			hold.Release()
			<-page.began
			assert.Equal(t, "refused", page.Saw)
			assert.Empty(t, page.finish())
			synctest.Wait()
			assert.False(t, a.Stytch.Sessions()[1].Live)
		})
	}
}

// What the browser had before ends on all machines, and the new session is good on all.
func TestSignInOnAnotherMachine(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		before := a.On(m[0]).Get("sid=bob-1").Jar("") + "; sid=bob-1"
		time.Sleep(time.Minute)
		got := signIn(t, m[1], before, a.Stytch.NewSession(a.Ada.ID, 0))
		jar := (&apptest.Reply{ResponseRecorder: got}).Jar(before)
		for i := range m {
			assert.Equal(t, apptest.RefusedUntouched+"-", a.On(m[i]).Get("sid=bob-1").String())
			assert.Contains(t, a.On(m[i]).Get(jar).String(), "authenticated ada | - | - | ")
		}
	})
}

// The session that was just handed in is logged out, by another tab, before the login's
// response goes out. The response does not bring it back.
func TestLogoutBeforeTheResponseOfASignIn(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		s := a.Stytch.NewSession(a.Ada.ID, 0)
		a.Handler = func(w http.ResponseWriter, r *http.Request) {
			assert.NoError(t, m[0].SignIn(w, r, stytchmigrate.Secret(s.Token), stytchmigrate.Secret(s.JWT)))
			out := httptest.NewRequest(http.MethodPost, "https://app.example.com/logout", nil)
			out.Header.Set("Cookie", "stytch_session="+s.Token+"; stytch_session_jwt="+s.JWT)
			assert.NoError(t, m[1].Logout(httptest.NewRecorder(), out))
		}
		got := a.On(m[0]).Get("sid=bob-1", apptest.Method(http.MethodPost))
		assert.NotContains(t, strings.Join(got.Cookies(), " "), "+stytch", got.Cookies())
	})
}

// A copy of the cookies that a sign-in replaced comes back later. Then they are expired as
// those of any session that has ended.
func TestReplacedCookiesLater(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies, _ := a.SignedIn(a.Bob)
		signIn(t, a.Middleware, cookies, a.Stytch.NewSession(a.Ada.ID, 0))
		assert.Equal(t, apptest.Anonymous, strings.Replace(a.Get(cookies).String(), "authenticate", "-", 1))
		time.Sleep(6 * time.Minute)
		assert.True(t, strings.HasPrefix(a.Get(cookies).String(), apptest.AnonymousCleared))
	})
}
