package stories_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
	"example.com/stytchmigrate/userinfo"
)

// Everything goes wrong at once, and each part that fails puts every secret that it
// knows into its error: the application's functions, the transport, and Stytch. The
// tests then search the log, the events, the pages, and all that the package returns.

// leaky is an application whose every failure has all secrets in its text.
type leaky struct {
	*apptest.App
	c    canaries
	does atomic.Pointer[apptest.RoundTripper] // replaces the transport if set; atomic, for calls outlive their request
	out  told                                 // what the application saw

	explained told // what Explain said, which may hold no email either
}

// told is a set of lines, for most lines come many times.
type told map[string]bool

func (s told) WriteString(text string) {
	for line := range strings.Lines(text) {
		s[line] = true
	}
}

func (s told) String() string { return strings.Join(slices.Collect(maps.Keys(s)), "") }

func newLeaky(t *testing.T) *leaky {
	t.Helper()
	l := &leaky{c: planted(), out: told{}, explained: told{}}
	tickets, err := userinfo.NewTickets([]byte(l.c["hash key"]), []byte(l.c["block key"]))
	require.NoError(t, err)
	var text, objects bytes.Buffer
	debug := &slog.HandlerOptions{Level: slog.LevelDebug}
	l.App = apptest.New(t, stytchtest.Config{InProcess: true, Secret: l.c["project secret"]}, func(c *stytchmigrate.Config) {
		usual := c.HTTPClient.Transport
		c.HTTPClient = &http.Client{Transport: apptest.RoundTripper(func(r *http.Request) (*http.Response, error) {
			if does := l.does.Load(); does != nil {
				return (*does)(r)
			}
			return usual.RoundTrip(r)
		})}
		c.RecordKey, c.Tickets, c.UserInfoURL = stytchmigrate.Secret(l.c["record key"]), tickets, "https://app.example.com/userinfo"
		c.Logger = slog.New(twoHandlers{slog.NewTextHandler(&text, debug), slog.NewJSONHandler(&objects, debug)})
		c.Legacy[0].End = func(context.Context, stytchmigrate.LegacySession) error { return errors.New(l.c.all()) }
		l.out.WriteString(printed(*c) + printed(c.Legacy) + asJSON(c.Secret) + asJSON(c.Tickets))
	})
	t.Cleanup(func() {
		lines := told{}
		lines.WriteString(text.String() + objects.String())
		l.mustHide(t, "log", lines.String(), l.c)
	})
	l.Stytch.Accept(l.c["legacy token"], "ada@example.com")
	l.Stytch.SetUserInfo(func(ctx context.Context, token string) (string, error) {
		if token == l.c["legacy token"] {
			return "ada@example.com", nil
		}
		id, err := tickets.Redeem(ctx, token)
		return id.Email, err
	})
	l.Resolve = func(v string) (stytchmigrate.LegacySession, error) {
		s := apptest.LegacySession("ada", l.c["legacy id"]+v)
		switch s.Token = stytchmigrate.Secret(l.c["legacy token"]); {
		case strings.HasPrefix(v, "fails"):
			return s, fmt.Errorf("%s %s: %w", v, l.c.all(), &net.OpError{Op: l.c.all(), Err: errors.New(v)})
		case strings.HasPrefix(v, "ticket"):
			s.Token = ""
		case strings.HasPrefix(v, "nobody"):
			s.Identity.Email = l.c["ada"] + "@" + l.c["legacy token"]
		case strings.HasPrefix(v, "empty"):
			s.Token, s.Identity = "", userinfo.Identity{}
		}
		return s, nil
	}
	s := stytchmigrate.LegacySession{ID: stytchmigrate.Secret(l.c["legacy id"]), Token: stytchmigrate.Secret(l.c["legacy token"])}
	l.out.WriteString(printed(s) + asJSON(s.ID))
	l.Handler = func(_ http.ResponseWriter, r *http.Request) {
		l.out.WriteString(printed(r.Context()))
		l.explained.WriteString(l.Middleware.Explain(r))
	}
	return l
}

// visit sends a legacy cookie beside the given cookies.
func (l *leaky) visit(kind, cookies string) *apptest.Reply {
	if cookies != "" {
		cookies += "; "
	}
	sid := kind + l.c["legacy value"]
	denied := l.GetRequiringUser(cookies + "sid=" + sid + "2")
	l.learn()
	denied.Header().Del("Set-Cookie") // it has to hold tokens
	l.out.WriteString(denied.Body.String() + fmt.Sprint(denied.Header()) + "\n")
	out := l.Get(cookies + "sid=" + sid)
	l.learn()
	outside := httptest.NewRequest("GET", "https://app.example.com/"+l.c["peer's text"], nil)
	outside.Header.Set("Cookie", cookies+"sid="+sid)
	l.explained.WriteString(l.Middleware.Explain(outside))
	return out
}

// learn adds the tokens of all sessions to the canaries.
func (l *leaky) learn() {
	for _, s := range l.Stytch.Sessions() {
		signature := s.JWT[strings.LastIndexByte(s.JWT, '.')+1:]
		l.c["token of "+s.ID], l.c["JWT of "+s.ID] = s.Token, signature[:30] // part of every copy of the JWT
	}
	for _, c := range l.Stytch.Calls() {
		if c.SessionToken != "" {
			l.c["token "+c.SessionToken] = c.SessionToken
		}
	}
}

func (l *leaky) mustHide(t *testing.T, where, text string, c canaries) {
	t.Helper()
	if found := c.in(text); len(found) > 0 {
		assert.Empty(t, found, where)
		for _, line := range strings.Split(text, "\n") {
			if len(c.in(line)) > 0 {
				t.Logf("%s: %.300s", where, line)
				return
			}
		}
	}
}

// failures are the ways in which calls to Stytch fail. Each has all secrets in its text.
func (l *leaky) failures(r *http.Request) []func(*http.Request) (*http.Response, error) {
	text := l.c.all() + r.Header.Get("Authorization")
	cert := &x509.Certificate{DNSNames: []string{l.c["peer's text"]}, Subject: pkix.Name{CommonName: text}}
	var out []func(*http.Request) (*http.Response, error)
	for _, err := range []error{
		errors.New(text), &net.OpError{Op: text, Net: text, Err: errors.New(text)}, &net.DNSError{Err: text, Name: text, Server: text},
		&net.DNSError{Err: text, Name: text, IsNotFound: true}, &url.Error{Op: text, URL: text, Err: errors.New(text)},
		x509.UnknownAuthorityError{Cert: cert}, x509.HostnameError{Certificate: cert, Host: text},
		x509.CertificateInvalidError{Cert: cert, Reason: x509.TooManyIntermediates, Detail: text},
		fmt.Errorf("%s: %w", text, context.DeadlineExceeded), net.UnknownNetworkError(text),
	} {
		out = append(out, func(*http.Request) (*http.Response, error) { return nil, err })
	}
	for _, p := range []any{text, errors.New(text), []byte(text)} {
		out = append(out, func(*http.Request) (*http.Response, error) { panic(p) })
	}
	for _, status := range []int{200, 307, 400, 401, 404, 429, 500} {
		for _, errorType := range []string{"session_not_found", "user_not_found", "unauthorized_credentials", l.c["ada"]} {
			body := asJSON(map[string]any{"status_code": status, "error_type": errorType, "request_id": l.c["ada"], "error_message": text, "error_url": text, "session_token": text})
			out = append(out, func(r *http.Request) (*http.Response, error) {
				res, err := apptest.Answering(status, strings.NewReader(strings.TrimSuffix(body, "<nil>")))(r)
				res.Header.Set("Retry-After", text)
				return res, err
			})
		}
		out = append(out, apptest.Answering(status, strings.NewReader(text)))
	}
	return out
}

// run visits the application while all is well, and then under each failure.
func (l *leaky) run(t *testing.T) {
	t.Helper()
	logout := func(w http.ResponseWriter, r *http.Request) {
		err := l.Middleware.Logout(w, r) // it wraps the error of End, which is the application's own
		require.ErrorContains(t, err, "End of cookie")
		for line := range strings.SplitSeq(err.Error(), "\n") {
			if !strings.Contains(line, "End of cookie") {
				l.out.WriteString(line + "\n")
			}
		}
	}
	for _, kind := range []string{"ada", "ticket", "fails", "nobody", "empty"} {
		cookies := l.visit(kind, "").Jar("")
		time.Sleep(6 * time.Minute)
		l.visit(kind, cookies)
	}
	l.Stytch.Accept(l.c["legacy token"], "bob@example.com")
	l.Stytch.SetUserInfo(nil)
	l.visit("mismatch", "")
	require.NotEmpty(t, l.Events)
	r, _ := http.NewRequest(http.MethodPost, "https://stytch.invalid", nil)
	r.SetBasicAuth(l.Stytch.ProjectID, l.Stytch.Secret)
	for i, does := range l.failures(r) {
		stale, _ := l.SignedIn(l.Ada)
		l.learn()
		time.Sleep(6 * time.Minute)
		l.does.Store((*apptest.RoundTripper)(&does))
		l.visit(fmt.Sprint("ada", i), "")
		l.visit(fmt.Sprint("ada", i), stale)
		usual := l.Handler
		l.Handler = logout
		l.visit(fmt.Sprint("ada", i), stale)
		l.Handler = usual
		l.does.Store(nil)
	}
}

// No secret and no email is in a log, an event or an answer, however the calls to
// Stytch and the functions of the application fail.
func TestNoSecretIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLeaky(t)
		l.run(t)
		time.Sleep(time.Minute)
		require.NotEmpty(t, l.explained)
		l.mustHide(t, "Explain", l.explained.String(), l.c)
		l.mustHide(t, "application", l.out.String(), l.c.without("ada", "bob"))
		events := told{}
		for _, e := range append(l.Events, l.Requests...) {
			e.Duration, e.Fingerprint = 0, e.Fingerprint[:min(1, len(e.Fingerprint))]
			if line := fmt.Sprintln(e.Kind, e.Outcome, e.Err); !events[line] {
				events.WriteString(line + printed(e) + asJSON(e) + printed(e.Err) + asJSON(e.Err))
			}
		}
		l.mustHide(t, "event", events.String(), l.c)
	})
}

// The exported values, filled with secrets.
func TestNoSecretIsPrinted(t *testing.T) {
	c := planted().without("ada", "bob")
	secret := stytchmigrate.Secret(c.all())
	for name, v := range map[string]any{
		"Secret":               secret,
		"Config":               stytchmigrate.Config{Secret: secret, RecordKey: secret},
		"LegacySession":        stytchmigrate.LegacySession{ID: secret, Token: secret},
		"MigrateResponse":      stytchmigrate.MigrateResponse{SessionToken: secret, SessionJWT: secret},
		"AuthenticateResponse": stytchmigrate.AuthenticateResponse{SessionToken: secret, SessionJWT: secret},
		"Error":                stytchmigrate.Error{StatusCode: 400, Message: c.all()},
		"*Error":               &stytchmigrate.Error{StatusCode: 400, Message: c.all()},
	} {
		assert.Empty(t, c.in(printed(v)), name)
	}
	cfg := stytchmigrate.Config{Secret: secret, RecordKey: "canary-text-3ZfC", BaseURL: "http://u:" + c["project secret"] + "@h/?" + c["peer's text"]}
	_, err := stytchmigrate.New(cfg)
	require.Error(t, err)
	assert.Empty(t, c.in(printed(err)), "New")
}

// No finding of Check holds a secret, however Stytch and the endpoint fail.
func TestCheckTellsNoSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLeaky(t)
		for i := range l.failures(httptest.NewRequest("GET", "/", nil)) {
			// Made for each call: it tells what that call sent, a ticket too.
			does := apptest.RoundTripper(func(r *http.Request) (*http.Response, error) { return l.failures(r)[i](r) })
			l.does.Store(&does)
			err := l.Middleware.Check(t.Context())
			l.mustHide(t, "finding", printed(err)+asJSON(err), l.c)
			assert.NotContains(t, printed(err), "stytchmigrate-check", "the ticket's identity")
		}
	})
}
