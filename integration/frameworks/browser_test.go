package frameworks

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// browser is a client with a cookie jar.
type browser struct {
	t      *testing.T
	s      *shop
	client *http.Client
}

func (s *shop) newBrowser(cookies ...*http.Cookie) *browser {
	s.t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(s.t, err)
	transport := &http.Transport{}
	s.t.Cleanup(transport.CloseIdleConnections)
	b := &browser{s.t, s, &http.Client{Jar: jar, Transport: transport}}
	jar.SetCookies(b.url(), cookies)
	return b
}

func (b *browser) url() *url.URL {
	b.t.Helper()
	u, err := url.Parse(b.s.url)
	require.NoError(b.t, err)
	return u
}

// copy is another tab, or a thief.
func (b *browser) copy() *browser { return b.s.newBrowser(b.client.Jar.Cookies(b.url())...) }

func (b *browser) cookie(name string) string {
	for _, c := range b.client.Jar.Cookies(b.url()) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

// get tells all that a page led to: status and body, each cookie that was set (+)
// or expired (-), in order, what caches were told, and the calls to Stytch.
func (b *browser) get(path string) string { return b.send(http.MethodGet, path, "") }

func (b *browser) post(path, form string) string { return b.send(http.MethodPost, path, form) }

func (b *browser) send(method, path, form string) string {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.s.url+path, strings.NewReader(form))
	require.NoError(b.t, err)
	if form != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := b.client.Do(r)
	if err != nil {
		return "no answer | " + dash(b.s.calls())
	}
	return b.s.told(resp)
}

// told puts a response into words, and closes it.
func (s *shop) told(resp *http.Response) string {
	s.t.Helper()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(s.t, err)
	return fmt.Sprintf("%d %s | %s | %s | %s", resp.StatusCode, strings.TrimSpace(string(body)), dash(cookiesOf(resp.Header)),
		dash(strings.Join(resp.Header["Cache-Control"], ", ")), dash(s.calls()))
}

func cookiesOf(h http.Header) string {
	var out []string
	for _, c := range (&http.Response{Header: h}).Cookies() {
		sign := "+"
		if c.MaxAge < 0 {
			sign = "-"
		}
		out = append(out, sign+c.Name)
	}
	return strings.Join(out, " ")
}

func dash(s string) string { return cmp.Or(s, "-") }
