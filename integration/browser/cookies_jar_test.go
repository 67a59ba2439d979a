package browser

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

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

// meant is the cookie that a line of a server is to become in an engine.
func (v visit) meant(c *http.Cookie, e *engine) kept {
	k := kept{name: c.Name, value: c.Value, domain: v.host, path: cmp.Or(c.Path, "/"), attributes: attributes(cmp.Or(sameSites[c.SameSite], e.unsaid), c.Secure, c.HttpOnly)}
	if c.Domain != "" {
		k.domain = "." + c.Domain
	}
	if c.MaxAge > 0 {
		k.expires = v.answered.Add(min(time.Duration(c.MaxAge)*time.Second, e.maxAge))
	}
	return k
}

// jar is what a browser holds that did all it was told.
func (a *app) jar(e *engine) []kept {
	jar := map[string]kept{}
	for _, v := range a.seen("/") {
		for _, c := range v.set {
			k := v.meant(c, e)
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

// agree holds what the browser keeps against what the server thinks that it set,
// and returns the names.
func agree(p *tab, a *app) []string {
	p.t.Helper()
	want, got := a.jar(p.engine), p.jar()
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
	return a.hears(p, url, navigate(url))
}

// fetches has the page that is open fetch another.
func (a *app) fetches(p *tab, url string) visit {
	p.t.Helper()
	return a.hears(p, url, run(fmt.Sprintf("fetch(%q).then(r => r.text()).then(() => undefined)", url)))
}

// hears is the request that comes of what a person does. It must carry what the
// browser has for it.
func (a *app) hears(p *tab, url string, what does) visit {
	p.t.Helper()
	var want []string
	for _, k := range p.jar() {
		if k.belongs(p.t, url) {
			want = append(want, k.name+"="+k.value)
		}
	}
	slices.Sort(want)
	before := len(a.seen("/"))
	p.do(what)
	v := a.request(p.t, url, before)
	assert.Equal(p.t, want, v.carried, "what the browser has for %s, and what it sent", url)
	return v
}

// request is the first for an address, after those that had come before.
func (a *app) request(t *testing.T, to string, before int) visit {
	t.Helper()
	u, err := url.Parse(to)
	require.NoError(t, err)
	after := a.seen("/")[before:]
	i := slices.IndexFunc(after, func(v visit) bool { return v.host == u.Hostname() && v.path == u.RequestURI() })
	require.GreaterOrEqual(t, i, 0, "no request for %s came", to)
	return after[i]
}

// belongs says whether a cookie goes with a request (RFC 6265 section 5.4), if the
// request is one of the same site.
func (k kept) belongs(t *testing.T, to string) bool {
	t.Helper()
	u, err := url.Parse(to)
	require.NoError(t, err)
	host, path := u.Hostname(), cmp.Or(u.Path, "/")
	below := path == k.path || strings.HasPrefix(path, strings.TrimSuffix(k.path, "/")+"/")
	there := host == k.domain || strings.HasPrefix(k.domain, ".") && strings.HasSuffix("."+host, k.domain)
	secure := u.Scheme == "https" || host == "localhost" || host == "127.0.0.1" // that is secure too, to engines that set one there
	return below && there && (secure || !strings.Contains(k.attributes, "Secure"))
}

// names are those of the cookies that came.
func (v visit) names() (out []string) {
	for _, c := range v.carried {
		name, _, _ := strings.Cut(c, "=")
		out = append(out, name)
	}
	return out
}

// results is the table at the end: the case, the engines, and what came of it.
type results struct {
	mu   sync.Mutex
	rows map[string][]string // the engines, by verdict, case and what came of it
}

// newResults prints what is said until the test's end.
func newResults(t *testing.T) *results {
	r := &results{rows: map[string][]string{}}
	t.Cleanup(func() {
		var lines []string
		for row, engines := range r.rows {
			slices.Sort(engines)
			before, after, _ := strings.Cut(row, "\t")
			lines = append(lines, fmt.Sprintf("%-75s %-24s %s", before, strings.Join(engines, " "), after))
		}
		slices.Sort(lines)
		t.Log(t.Name() + "\n" + strings.Join(lines, "\n"))
	})
	return r
}

// say adds a row, for a test whose name is that of the whole, the engine and the
// case. Engines that say the same share one.
func (r *results) say(t *testing.T, format string, args ...any) {
	verdict := "ok  "
	if t.Failed() {
		verdict = "FAIL"
	}
	parts := append(strings.SplitN(strings.NewReplacer("__", "__", "_", " ").Replace(t.Name()), "/", 3), "", "")
	r.mu.Lock()
	defer r.mu.Unlock()
	row := verdict + " " + parts[2] + "\t" + fmt.Sprintf(format, args...)
	r.rows[row] = append(r.rows[row], parts[1])
}
