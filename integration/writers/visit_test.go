package writers

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
	"example.com/stytchmigrate/userinfo"
)

// visit is what one kind of visitor asks of an application over one kind of wire.
// The application has old sessions behind the middleware.
type visit struct {
	visitor
	t      *testing.T
	wire   wire
	stytch *stytchtest.Server
	auth   *stytchmigrate.Middleware
	url    string
	client *http.Client
}

func newVisit(t *testing.T, who visitor, over wire) *visit {
	t.Helper()
	s := stytchtest.NewServer(t, stytchtest.Config{})
	s.AddUser(stytchtest.Person("ada@example.com"))
	s.Accept("ada-token", "ada@example.com")
	auth, err := stytchmigrate.New(stytchmigrate.Config{
		ProjectID: s.ProjectID, Secret: stytchmigrate.Secret(s.Secret), BaseURL: s.URL, HTTPClient: s.Client(),
		Cookies: stytchmigrate.CookieOptions{Insecure: true}, // half of the wires are plain HTTP
		Legacy:  []stytchmigrate.LegacyCookie{{Name: "sid", Resolve: resolve}},
		Rollout: stytchmigrate.Rollout{Stage: who.stage},
		Logger:  slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	return &visit{visitor: who, t: t, wire: over, stytch: s, auth: auth}
}

// resolve takes whatever it is given for a session of ada's.
func resolve(*http.Request, string) (stytchmigrate.LegacySession, error) {
	return stytchmigrate.LegacySession{
		Token: "ada-token", Identity: userinfo.Identity{Subject: "ada", Email: "ada@example.com", EmailVerified: true},
	}, nil
}

// serve puts the handler under test behind the middleware, and before it what
// else there is outside. It answers for a cache, unless it says otherwise.
func (v *visit) serve(h http.HandlerFunc, outside ...func(http.Handler) http.Handler) {
	v.t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/page", page)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public")
		h(w, r)
	})
	served := v.auth.Handler(mux)
	for _, f := range outside {
		served = f(served)
	}
	v.url, v.client = v.wire.open(v.t, served)
	v.arrive()
}

// arrive gives the visitor the cookies that they come with.
func (v *visit) arrive() {
	v.t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(v.t, err)
	v.client.Jar = jar
	if !v.signedIn() {
		return
	}
	u, err := url.Parse(v.url)
	require.NoError(v.t, err)
	jar.SetCookies(u, []*http.Cookie{{Name: "sid", Value: rand.Text(), Path: "/"}})
	for range v.pages {
		v.told(v.send(http.MethodGet, "/page", nil))
	}
}

// who is what a handler finds in its request: the outcome, the user, and then the
// names of the cookies that it sees.
func who(r *http.Request) string {
	out := stytchmigrate.OutcomeFromContext(r.Context()).String()
	if u, ok := stytchmigrate.UserFromContext(r.Context()); ok {
		name, _, _ := strings.Cut(u.Emails[0].Email, "@")
		out += " " + name
	}
	for _, c := range r.Cookies() {
		out += " " + c.Name
	}
	return out
}

func page(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, who(r)) }

// patience is for a machine that is busy; what hangs, hangs for so long.
const patience = 20 * time.Second

func (v *visit) request(method, path string, body io.Reader) *http.Request {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.t.Context(), patience)
	v.t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, method, v.url+path, body)
	require.NoError(v.t, err)
	return r
}

// send returns the response when its header is there.
func (v *visit) send(method, path string, body io.Reader) *http.Response {
	v.t.Helper()
	return v.do(v.request(method, path, body))
}

func (v *visit) get() *http.Response { v.t.Helper(); return v.send(http.MethodGet, "/", nil) }

func (v *visit) do(r *http.Request) *http.Response {
	v.t.Helper()
	resp, err := v.client.Do(r)
	require.NoError(v.t, err)
	v.t.Cleanup(func() { resp.Body.Close() })
	assert.Equal(v.t, v.wire.proto, resp.Proto)
	return resp
}

// told puts a response into words: status and body, each cookie that was set (+)
// or expired (-), in order, what caches were told, and the calls to Stytch.
func (v *visit) told(resp *http.Response) string {
	v.t.Helper()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(v.t, err)
	return v.headed(resp, string(body))
}

// headed is told for a response whose body was read otherwise.
func (v *visit) headed(resp *http.Response, body string) string {
	return fmt.Sprintf("%d %s | %s | %s | %s", resp.StatusCode, cmp.Or(body, "-"), cmp.Or(cookiesOf(resp.Header), "-"),
		cmp.Or(strings.Join(resp.Header["Cache-Control"], ", "), "-"), cmp.Or(v.calls(), "-"))
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

// calls are those that Stytch got since the last time, but for its keys.
func (v *visit) calls() string {
	var out []string
	for _, c := range v.stytch.Calls() {
		if c.Op != stytchtest.JWKS {
			out = append(out, string(c.Op))
		}
	}
	v.stytch.ResetCalls()
	return strings.Join(out, " ")
}
