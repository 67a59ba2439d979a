package stytchmigrate_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
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

// canaries are what must be seen nowhere, by a name for the failure.
type canaries map[string]string

func planted() canaries {
	return canaries{
		"project secret": "canary-secret-5QxR", "record key": "canary-record-key-6TzW-0123456789abcdef",
		"hash key": "canary-hash-key-7UaX-0123456789abcdef", "block key": "canary-block-8VbY-0123456789abcd"[:32],
		"legacy token": "canary-token-9WcZ", "legacy id": "canary-id-1XdA", "legacy value": "canary-value-2YeB",
		"peer's text": "canary-text-3ZfC", "ada": "ada@example.com", "bob": "bob@example.com",
	}
}

func (c canaries) all() string {
	var b strings.Builder
	for _, v := range c {
		b.WriteString(v + " ")
	}
	return b.String()
}

func (c canaries) without(names ...string) canaries {
	out := canaries{}
	for name, v := range c {
		out[name] = v
	}
	for _, name := range names {
		delete(out, name)
	}
	return out
}

// in names the canaries in a text: as they are, in hex as %x prints them, and
// in base64 wherever in a longer text they were.
func (c canaries) in(text string) (found []string) {
	lower := strings.ToLower(text)
	for name, v := range c {
		forms := []string{strings.ToLower(v), hex.EncodeToString([]byte(v))}
		if strings.HasPrefix(v, "canary-") { // for the others, made in each request, these two have to do
			forms = append(forms, fmt.Sprintf("% x", v), strings.Trim(fmt.Sprint([]byte(v)), "[]"))
			for before := range 3 {
				b := base64.StdEncoding.EncodeToString([]byte("..."[:before] + v))
				b = strings.ToLower(b[(before+2)/3*4 : len(b)-4])
				forms = append(forms, b, strings.NewReplacer("+", "-", "/", "_").Replace(b))
			}
		}
		if slices.ContainsFunc(forms, func(f string) bool { return strings.Contains(lower, f) }) {
			found = append(found, name)
		}
	}
	return found
}

func TestCanaryIsSeen(t *testing.T) {
	c := canaries{"x": "canary-secret-5QxR"}
	v := c["x"]
	for _, text := range []string{v, fmt.Sprintf("%x", v), fmt.Sprintf("%X", v), fmt.Sprintf("% x", v), fmt.Sprintf("%q", v), fmt.Sprintf("%d", []byte(v)),
		base64.StdEncoding.EncodeToString([]byte("a" + v)), base64.URLEncoding.EncodeToString([]byte("project:" + v + "!"))} {
		assert.Equal(t, []string{"x"}, c.in("before "+text+" after"), text)
	}
	assert.Empty(t, c.in("nothing"))
}

// printed is v in every form in which fmt and slog print it: itself, behind a
// pointer, and inside of other values.
func printed(v any) string {
	var b bytes.Buffer
	type holder struct{ V any }
	for _, x := range []any{v, &v, holder{v}, &holder{v}, []any{v}, map[string]any{"v": v}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%d", "%s", "%q", "%x", "%X", "% x", "%10.50s", "%t", "%08b"} {
			fmt.Fprintf(&b, verb+"\n", x)
		}
	}
	for _, h := range []slog.Handler{slog.NewTextHandler(&b, nil), slog.NewJSONHandler(&b, nil)} {
		log := slog.New(h)
		log.Info("m", "v", v)
		log.With("v", v).WithGroup("g").Info("m", slog.Group("h", "v", v))
	}
	return b.String()
}

func asJSON(v any) string {
	b, err := json.Marshal(v)
	return fmt.Sprint(string(b), err)
}

// twoHandlers gives each record to both.
type twoHandlers [2]slog.Handler

func (h twoHandlers) Enabled(context.Context, slog.Level) bool { return true }
func (h twoHandlers) WithAttrs([]slog.Attr) slog.Handler       { panic("not used") }
func (h twoHandlers) WithGroup(string) slog.Handler            { panic("not used") }
func (h twoHandlers) Handle(ctx context.Context, r slog.Record) error {
	return errors.Join(h[0].Handle(ctx, r.Clone()), h[1].Handle(ctx, r))
}

// leaky is an application in which everything that can go wrong says all the
// secrets there are.
type leaky struct {
	*apptest.App
	c    canaries
	does atomic.Pointer[apptest.RoundTripper] // in place of the transport, if set; calls outlive their request
	out  told                                 // what the application got to see
}

// told is a set of lines: much of what is said is said often.
type told map[string]bool

func (s told) WriteString(text string) {
	for line := range strings.Lines(text) {
		s[line] = true
	}
}

func (s told) String() string { return strings.Join(slices.Collect(maps.Keys(s)), "") }

func newLeaky(t *testing.T) *leaky {
	t.Helper()
	l := &leaky{c: planted(), out: told{}}
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
		c.RecordKey, c.Tickets, c.UserInfoURL = stytchmigrate.Secret(l.c["record key"]), tickets, userInfoURL
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
	l.Handler = func(_ http.ResponseWriter, r *http.Request) { l.out.WriteString(printed(r.Context())) }
	return l
}

// visit sends a legacy cookie, and the Stytch cookies that are given.
func (l *leaky) visit(kind, cookies string) *apptest.Reply {
	if cookies != "" {
		cookies += "; "
	}
	sid := kind + l.c["legacy value"]
	denied := l.Required(cookies + "sid=" + sid + "2")
	l.learn()
	denied.Header().Del("Set-Cookie") // which has to hold tokens
	l.out.WriteString(denied.Body.String() + fmt.Sprint(denied.Header()) + "\n")
	out := l.Get(cookies + "sid=" + sid)
	l.learn()
	return out
}

// learn makes the tokens of all sessions canaries.
func (l *leaky) learn() {
	for _, s := range l.Stytch.Sessions() {
		signature := s.JWT[strings.LastIndexByte(s.JWT, '.')+1:]
		l.c["token of "+s.ID], l.c["JWT of "+s.ID] = s.Token, signature[:30] // whoever tells the JWT tells that
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

// failures are what becomes of calls to Stytch, each telling all there is.
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

// run visits the application in good order, and then under each failure.
func (l *leaky) run(t *testing.T) {
	t.Helper()
	logout := func(w http.ResponseWriter, r *http.Request) {
		err := l.Middleware.Logout(w, r) // wraps what End returned, which is the application's own
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

// No secret and no email is in anything that the middleware says, however the
// calls to Stytch and the application's own functions end.
func TestNoSecretIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLeaky(t)
		l.run(t)
		time.Sleep(time.Minute)
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

// The values that the package hands out, filled with secrets.
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
