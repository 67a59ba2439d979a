package check_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/check"
	"example.com/stytchmigrate/internal/client"
	"example.com/stytchmigrate/internal/cookies"
	"example.com/stytchmigrate/internal/redact"
	"example.com/stytchmigrate/internal/stytch"
	"example.com/stytchmigrate/userinfo"
)

// The probes, by what they ask.
const user, keySet, exchange, bare, madeUp, ticketed = "user", "key set", "exchange", "no token", "a made-up token", "a ticket"

var (
	allOfStytch   = []string{user, keySet, exchange}
	allOfEndpoint = []string{bare, madeUp, ticketed}
)

// site is Stytch and the application, as probes meet them. Everything is right until
// a test changes it. Whatever holds "canary" must be in no finding.
type site struct {
	cfg      check.Config
	answers  map[string]answer   // by probe
	mu       sync.Mutex          // guards requests
	requests []string            // in no order
	minted   []userinfo.Identity // whom tickets were minted for
}

type (
	answer func(*http.Request) (*http.Response, error)
	change func(*site)
)

func (f answer) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func newSite() *site {
	s := &site{cfg: check.Config{
		ProjectID: "project-test-1", BaseURL: "https://stytch.invalid", UserInfoURL: "https://app.example.com/userinfo?key=canary",
		Timeout: 5 * time.Second, SessionDuration: 30 * 24 * time.Hour,
		Cookies: cookies.Options{SessionName: "stytch_session", JWTName: "stytch_session_jwt", Path: "/", SameSite: http.SameSiteLaxMode},
		Legacy:  []cookies.Legacy{{Name: "sid"}},
	}}
	s.cfg.Mint = func(id userinfo.Identity) (redact.Secret, error) {
		s.minted = append(s.minted, id)
		return "canary-ticket", nil
	}
	s.answers = map[string]answer{
		user: stytchError(404, "user_not_found"), keySet: reply(200, goodKeySet()),
		exchange: stytchError(404, "migrate_from_external_email_does_not_exist"),
		bare:     reply(401, "", "WWW-Authenticate", "bearer"), madeUp: reply(401, "", "WWW-Authenticate", `Basic realm="x"`, "WWW-Authenticate", "Bearer"),
		ticketed: s.identity(func(body string) string { return body }),
	}
	return s
}

// goodKeySet holds a modulus of 2048 bits, which is all that a key set's checks need.
func goodKeySet() string {
	n := base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("\xff", 256)))
	return `{"keys":[{"kty":"RSA","kid":"k","n":"` + n + `","e":"AQAB"}],"request_id":"r"}`
}

// identity answers a ticket with the identity in it, edited.
func (s *site) identity(edit func(body string) string, header ...string) answer {
	return func(r *http.Request) (*http.Response, error) {
		id := s.minted[len(s.minted)-1]
		body := fmt.Sprintf(`{"sub":%q,"email":%q,"email_verified":true}`, id.Subject, id.Email)
		return reply(200, edit(body), append([]string{"Content-Type", "application/json", "Cache-Control", "private, No-Store"}, header...)...)(r)
	}
}

// reply answers with a status, a body, and headers in pairs. A pair whose name was
// there before adds a line, and a pair without a value removes all.
func reply(status int, body string, header ...string) answer {
	return func(*http.Request) (*http.Response, error) {
		h := http.Header{}
		for i := 0; i < len(header); i += 2 {
			if h.Add(header[i], header[i+1]); header[i+1] == "" {
				h.Del(header[i])
			}
		}
		return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body))}, nil
	}
}

// stytchError is an error in Stytch's form.
func stytchError(status int, errorType string) answer {
	return reply(status, `{"error_type":"`+errorType+`","request_id":"canary","error_message":"canary"}`)
}

// silent answers nothing.
func silent(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func on(a answer, probes ...string) change {
	return func(s *site) {
		for _, p := range probes {
			s.answers[p] = a
		}
	}
}

func all(changes ...change) change {
	return func(s *site) {
		for _, f := range changes {
			f(s)
		}
	}
}

func probeOf(r *http.Request) string {
	switch path, token := r.URL.Path, r.Header.Get("Authorization"); {
	case strings.HasPrefix(path, "/v1/users/"):
		return user
	case strings.HasPrefix(path, "/v1/sessions/jwks/"):
		return keySet
	case path == "/v1/sessions/migrate":
		return exchange
	case token == "":
		return bare
	case token == "Bearer canary-ticket":
		return ticketed
	}
	return madeUp
}

func (s *site) send(r *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(r.Body)
	scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	s.mu.Lock()
	s.requests = append(s.requests, strings.Join(strings.Fields(fmt.Sprint(r.Method, " ", r.URL, " ", scheme, " ", r.Header.Get("Content-Type"), " ", string(body))), " "))
	s.mu.Unlock()
	return s.answers[probeOf(r)](r)
}

// run returns the error of Run.
func (s *site) run(ctx context.Context) error {
	s.cfg.Policy = cookies.New(s.cfg.Cookies, s.cfg.Legacy)
	s.cfg.Client = &client.Client{
		Base: s.cfg.BaseURL, ProjectID: s.cfg.ProjectID, Secret: "canary-secret", HTTP: client.NewHTTPClient(client.Transport(&http.Client{Transport: answer(s.send)})), ReadError: readError,
	}
	return check.Run(ctx, s.cfg)
}

func readError(status int, body []byte) *stytch.APIError {
	var e struct {
		Type string `json:"error_type"`
	}
	_ = json.Unmarshal(body, &e) // another server's: the type stays empty
	return &stytch.APIError{Status: status, Type: e.Type, Err: errors.New("canary")}
}

// findings are the lines of a site after a change, less their prefix.
func findings(t *testing.T, f change) (text string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		t.Helper()
		s, began := newSite(), time.Now()
		f(s)
		text = lines(t, s.run(t.Context()))
		assert.LessOrEqual(t, time.Since(began), s.cfg.Timeout)
		time.Sleep(time.Minute) // for calls that Run does not wait for
	})
	return text
}

func lines(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	for _, secret := range []string{"canary", "stytchmigrate-check", "app.example.com/userinfo"} {
		assert.NotContains(t, err.Error(), secret)
	}
	out := strings.Split(err.Error(), "\n")
	for i, l := range out {
		assert.True(t, strings.HasPrefix(l, "stytchmigrate: "), l)
		out[i] = strings.TrimPrefix(l, "stytchmigrate: ")
	}
	return strings.Join(out, "\n")
}
