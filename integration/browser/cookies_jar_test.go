package browser

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/storage"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// kept is a cookie as it is kept, by the browser or in the server's mind.
type kept struct {
	name, value, domain, path string // domain: with a dot in front, unless host-only
	attributes                string
	expires                   time.Time // zero: with the browser
}

// maxAge is the longest that a browser keeps a cookie for (RFC 6265bis section 5.5).
const maxAge = 400 * 24 * time.Hour

// scope is what tells one cookie from another.
func (k kept) scope() string { return k.name + " of " + k.domain + k.path }

// String shows the end of the value, in which two JWTs differ, and no more.
func (k kept) String() string {
	return fmt.Sprintf("%s: %s, %d bytes to …%s", k.scope(), k.attributes, len(k.value), k.value[max(0, len(k.value)-8):])
}

func attributes(sameSite string, secure, httpOnly bool) string {
	out := sameSite
	if secure {
		out += " Secure"
	}
	if httpOnly {
		out += " HttpOnly"
	}
	return out
}

var sameSites = map[http.SameSite]string{http.SameSiteLaxMode: "Lax", http.SameSiteStrictMode: "Strict", http.SameSiteNoneMode: "None"}

// meant is the cookie that a line of a server is to become.
func (v visit) meant(c *http.Cookie) kept {
	k := kept{name: c.Name, value: c.Value, domain: v.host, path: cmp.Or(c.Path, "/"), attributes: attributes(sameSites[c.SameSite], c.Secure, c.HttpOnly)}
	if c.Domain != "" {
		k.domain = "." + c.Domain
	}
	if c.MaxAge > 0 {
		k.expires = v.answered.Add(min(time.Duration(c.MaxAge)*time.Second, maxAge))
	}
	return k
}

// jar is what a browser holds that did all it was told.
func (a *app) jar() []kept {
	jar := map[string]kept{}
	for _, v := range a.seen("/") {
		for _, c := range v.set {
			k := v.meant(c)
			if c.MaxAge < 0 {
				delete(jar, k.scope())
			} else {
				jar[k.scope()] = k
			}
		}
	}
	return sorted(jar)
}

func sorted(jar map[string]kept) (out []kept) {
	for _, k := range jar {
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b kept) int { return cmp.Compare(a.scope(), b.scope()) })
	return out
}

// jar is what the browser holds.
func (p *tab) jar() []kept {
	p.t.Helper()
	jar := map[string]kept{}
	all, err := chromedp.CallBrowser(p.ctx, storage.GetCookies, storage.GetCookiesParams{BrowserContextID: chromedp.FromContext(p.ctx).BrowserContextID})
	require.NoError(p.t, err)
	for _, c := range all.Cookies {
		k := kept{name: c.Name, value: c.Value, domain: c.Domain, path: c.Path, attributes: attributes(c.SameSite.String(), c.Secure, c.HTTPOnly)}
		if !c.Session {
			k.expires = time.UnixMilli(int64(c.Expires * 1000))
		}
		jar[k.scope()] = k
	}
	return sorted(jar)
}

// ask is a command of the devtools.
func ask[P, R any](cmd cdp.Command[P, R], params P) chromedp.Action[R] {
	return func(ctx context.Context, t *chromedp.Target) (R, error) { return cdp.Call(ctx, t, cmd, params) }
}

// agree holds what the browser keeps against what the server thinks that it set,
// and returns the names.
func agree(p *tab, a *app) []string {
	p.t.Helper()
	want, got := a.jar(), p.jar()
	if assert.Equal(p.t, texts(want), texts(got), "what the server set, and what the browser keeps") {
		for i, k := range got {
			assert.WithinDuration(p.t, want[i].expires, k.expires, patience, k.scope())
		}
	}
	return names(got)
}

func names(jar []kept) (out []string) {
	for _, k := range jar {
		out = append(out, k.name)
	}
	return out
}

func texts(jar []kept) (out []string) {
	for _, k := range jar {
		out = append(out, k.String())
	}
	return out
}

// opens opens a page, and returns the request as it came to the server.
func (a *app) opens(p *tab, url string) visit {
	p.t.Helper()
	return a.hears(p, url, chromedp.Navigate(url))
}

// fetches has the page that is open fetch another.
func (a *app) fetches(p *tab, url string) visit {
	p.t.Helper()
	return a.hears(p, url, chromedp.Evaluate[chromedp.Void](fmt.Sprintf("fetch(%q).then(r => r.text()).then(() => undefined)", url), chromedp.EvalAwaitPromise))
}

// hears is the request that comes of an action. It must carry what the browser
// says that belongs there.
func (a *app) hears(p *tab, url string, action chromedp.Action[chromedp.Void]) visit {
	p.t.Helper()
	var want []string
	for _, c := range get(p, ask(network.GetCookies, network.GetCookiesParams{URLs: []string{url}})).Cookies {
		want = append(want, c.Name+"="+c.Value)
	}
	slices.Sort(want)
	before := len(a.seen("/"))
	p.do(action)
	v := a.seen("/")[before]
	assert.Equal(p.t, want, v.carried, "what the browser has for %s, and what it sent", url)
	return v
}

// names are those of the cookies that came.
func (v visit) names() (out []string) {
	for _, c := range v.carried {
		name, _, _ := strings.Cut(c, "=")
		out = append(out, name)
	}
	return out
}

// results is the table at the end: the case, and what came of it.
type results struct {
	t    *testing.T
	mu   sync.Mutex
	rows []string
}

// newResults prints what is said until the test's end.
func newResults(t *testing.T) *results {
	r := &results{t: t}
	t.Cleanup(func() {
		slices.Sort(r.rows)
		t.Log("\n" + strings.Join(r.rows, "\n"))
	})
	return r
}

func (r *results) say(t *testing.T, format string, args ...any) {
	verdict := "ok  "
	if t.Failed() {
		verdict = "FAIL"
	}
	_, name, _ := strings.Cut(strings.NewReplacer("__", "__", "_", " ").Replace(t.Name()), "/")
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rows = append(r.rows, fmt.Sprintf("%s %-70s %s", verdict, name, fmt.Sprintf(format, args...)))
}
