package browser

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
)

// Another site has a frame of the application, fetches from it, sends a form to
// it and links to it. In the frame and by the fetch no cookie of the application
// changes, whoever is signed in; the form and the link are pages of its own. Firefox
// sends none of its cookies there, whatever their SameSite.
func TestRequestsOfAnotherSite(t *testing.T) { inEngines(t, requestsOfAnotherSite) }

func requestsOfAnotherSite(t *testing.T, e *engine, table *results) {
	for _, tt := range []struct {
		name                           string
		sameSite                       http.SameSite // of the old cookie, and of Stytch's
		moved                          bool          // already; but the JWT has expired
		frame, fetch, form, link, page string        // whom each sees, in this order
	}{
		{"None, the old session", http.SameSiteNoneMode, false, movedAda, movedAda, movedAda, knownAda, knownAda},
		{"Lax, the old session", http.SameSiteLaxMode, false, nobody, nobody, nobody, movedAda, knownAda},
		{"Strict, the old session", http.SameSiteStrictMode, false, nobody, nobody, nobody, nobody, movedAda},
		{"None, the Stytch session", http.SameSiteNoneMode, true, knownAda, knownAda, knownAda, knownAda, knownAda},
		{"Lax, the Stytch session", http.SameSiteLaxMode, true, nobody, nobody, nobody, knownAda, knownAda},
		{"Strict, the Stytch session", http.SameSiteStrictMode, true, nobody, nobody, nobody, nobody, knownAda},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if e.partitions { // the frame and the fetch have none of the cookies that pages of its own have
				tt.frame, tt.fetch = nobody, nobody
			}
			a, p := newSecureApp(t, cookies(stytchmigrate.CookieOptions{SameSite: tt.sameSite})), newTab(t, e)
			a.arrives(p, tt.sameSite, tt.moved)
			framed := fmt.Sprintf(`<form method="post" action=%q><button>send</button></form><iframe src=%q></iframe>`, a.at("app.test", "/form"), a.at("app.test", "/frame"))
			linked := fmt.Sprintf(`<a href=%q>there</a>`, a.at("app.test", "/link"))
			before := scopedTo(p.jar(), "app.test")
			a.opens(p, a.at("other.test", "/before?"+url.Values{"line": {"sid=theirs; Path=/; Secure"}, "body": {framed}}.Encode()))
			assert.Equal(t, tt.frame, a.answers(t, "/frame").who())
			p.do(run(fmt.Sprintf(`fetch(%q, {credentials: "include", mode: "no-cors"}).then(() => undefined)`, a.at("app.test", "/fetch"))))
			assert.Equal(t, tt.fetch, a.answers(t, "/fetch").who())
			assert.Empty(t, append(a.answers(t, "/frame").set, a.answers(t, "/fetch").set...))
			agree(p, a)
			assert.Equal(t, before, scopedTo(p.jar(), "app.test"), "no cookie has changed")
			p.do(press("button"))
			assert.Equal(t, tt.form, a.answers(t, "/form").who())
			a.opens(p, a.at("other.test", "/before?"+url.Values{"body": {linked}}.Encode()))
			p.do(press("a"))
			assert.Equal(t, tt.link, a.answers(t, "/link").who())
			assert.Equal(t, tt.page, a.opens(p, a.at("app.test", "/page")).who())
			assert.Equal(t, knownAda, a.opens(p, a.at("app.test", "/last")).who())
			assert.Equal(t, []string{oldCookie, tokenCookie, jwtCookie}, agree(p, a))
			assert.Len(t, scopedTo(p.jar(), "app.test"), 2)
			assert.Len(t, a.stytch.Sessions(), 1)
			table.say(t, "frame %s, fetch %s: no cookie changed; form %s, link %s", tt.frame, tt.fetch, tt.form, tt.link)
		})
	}
}

// arrives has Ada come with an old session, and perhaps move.
func (a *app) arrives(p *tab, sameSite http.SameSite, moved bool) {
	a.opens(p, a.before("app.test", newOld("Path=/; Secure; SameSite="+sameSites[sameSite])))
	if moved {
		a.stytch.SetClock(func() time.Time { return time.Now().Add(-6 * time.Minute) })
		a.opens(p, a.at("app.test", "/first"))
		a.opens(p, a.at("app.test", "/second")) // takes the old cookie
		a.stytch.SetClock(nil)
	}
}

// answers waits until the request for a path has its answer.
func (a *app) answers(t *testing.T, path string) visit {
	t.Helper()
	require.Eventually(t, func() bool { v := a.seen(path); return len(v) == 1 && !v[0].answered.IsZero() }, patience, time.Millisecond, path)
	return a.seen(path)[0]
}

func scopedTo(jar []kept, domain string) (out []string) {
	for _, k := range jar {
		if k.domain == domain {
			out = append(out, k.String())
		}
	}
	return out
}
