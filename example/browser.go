package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// browser is what the walk has in a browser's place: cookies, and no eyes. Its
// requests carry no Sec-Fetch headers and no Origin, as curl's do.
type browser struct {
	base    *url.URL
	journal *journal
	client  *http.Client
}

func newBrowser(base *url.URL, j *journal, cookies ...*http.Cookie) *browser {
	jar, _ := cookiejar.New(nil) // its error is always nil
	jar.SetCookies(base, cookies)
	return &browser{base, j, &http.Client{
		Jar:           jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (b *browser) cookies() []*http.Cookie { return b.client.Jar.Cookies(b.base) }

// visit is one request, or several at the same time, and what came of it.
type visit struct {
	request       string
	status        int
	account       account // where GET /me was asked
	before, after []*http.Cookie
	calls         []entry
}

func (b *browser) me(ctx context.Context) (visit, error) {
	return b.do(ctx, http.MethodGet, "/me", nil)
}

func (b *browser) login(ctx context.Context, user string) (visit, error) {
	return b.do(ctx, http.MethodPost, "/login", url.Values{"user": {user}})
}

func (b *browser) logout(ctx context.Context) (visit, error) {
	return b.do(ctx, http.MethodPost, "/logout", nil)
}

func (b *browser) do(ctx context.Context, method, path string, form url.Values) (visit, error) {
	v := visit{request: method + " " + path, before: b.cookies()}
	req, err := http.NewRequestWithContext(ctx, method, b.base.JoinPath(path).String(), strings.NewReader(form.Encode()))
	if err != nil {
		return v, err
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	position := b.journal.position()
	resp, err := b.client.Do(req)
	if err != nil {
		return v, err
	}
	defer resp.Body.Close()
	v.status, v.after, v.calls = resp.StatusCode, b.cookies(), b.journal.since(position)
	if path == "/me" {
		err = json.NewDecoder(resp.Body).Decode(&v.account)
	}
	return v, err
}

// tabs sends n requests with the same cookies at the same time. It returns a
// visit of each, and the calls to Stytch that they made together.
func (b *browser) tabs(ctx context.Context, n int) ([]visit, []entry, error) {
	visits, errs := make([]visit, n), make([]error, n)
	position, cookies := b.journal.position(), b.cookies()
	var all sync.WaitGroup
	for i := range n {
		// A jar for each: a tab that is late must not come with the new cookies.
		tab := newBrowser(b.base, b.journal, cookies...)
		all.Go(func() { visits[i], errs[i] = tab.me(ctx) })
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, nil, err
		}
	}
	b.client.Jar.SetCookies(b.base, visits[n-1].after)
	return visits, b.journal.since(position), nil
}

// who is the visit's user in words.
func (v visit) who() string {
	switch v.account.SignedInBy {
	case byStytch:
		const enough = len("session-test-01234567") // an id names a session and opens none
		id := v.account.StytchSession
		return v.account.Name + ", by Stytch session " + id[:min(enough, len(id))] + "…"
	case byOldSession:
		return v.account.Name + ", by the old session"
	}
	return "nobody"
}

func names(cookies []*http.Cookie) string {
	var out []string
	for _, c := range cookies {
		out = append(out, c.Name)
	}
	return orNone(strings.Join(out, " "))
}

// shown are cookies as the walk prints them: the values cut short, and two on a line.
func shown(cookies []*http.Cookie) string {
	var out []string
	for i, c := range cookies {
		if i == 2 {
			out = append(out, "\n"+strings.Repeat(" ", 19)) // below the first
		}
		out = append(out, c.Name+"="+excerpt(c.Value))
	}
	return orNone(strings.Join(out, " "))
}

func value(cookies []*http.Cookie, name string) string {
	for _, c := range cookies {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

func callList(calls []entry) string {
	var out []string
	for _, c := range calls {
		out = append(out, c.String())
	}
	return orNone(strings.Join(out, "\n"))
}

// asked are the calls without those for Stytch's key set: that is the same for
// all users, and when it is fetched is the middleware's business.
func asked(calls []entry) string {
	return callList(slices.DeleteFunc(slices.Clone(calls), func(c entry) bool {
		return strings.Contains(c.What, "/sessions/jwks/")
	}))
}

// count is how many calls have text in them.
func count(calls []entry, text string) int {
	return strings.Count(callList(calls), text)
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// fact is something that must be so.
type fact struct {
	what      string
	want, got any
}

// expect returns an error for the first fact that is not so.
func expect(facts ...fact) error {
	for _, f := range facts {
		if f.want != f.got {
			return fmt.Errorf("%s: expected %v, found %v", f.what, f.want, f.got)
		}
	}
	return nil
}
