package statuspage_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/statuspage"
)

// busy is a page on which every part has something to show.
func busy(dial statuspage.Dial) *statuspage.Page {
	page := statuspage.NewApart(statuspage.Options{Dial: dial})
	occupy(page)
	return page
}

// occupy gives every part of a page something to show.
func occupy(page *statuspage.Page) {
	observe(page, request(stytchmigrate.OutcomeMigrated, "a"), request(stytchmigrate.OutcomeLegacy, "b"), request(stytchmigrate.OutcomeUnavailable, "c"),
		stytchmigrate.Event{Kind: "request", Outcome: stytchmigrate.OutcomeRefused, Fingerprint: "d", ErrorType: "session_not_found", RequestID: "request-id-test-1"},
		stytchmigrate.Event{Kind: "breaker", Calls: "exchange", Cause: "open"},
		stytchmigrate.Event{Kind: "paused", Calls: "exchange", Duration: time.Minute},
		stytchmigrate.Event{Kind: "created"}, stytchmigrate.Event{Kind: "unheard of"})
}

// elements reads a page, which is written so that it is XML too. It fails where
// tags do not nest.
func elements(t *testing.T, body string) (list []xml.StartElement) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(strings.TrimPrefix(body, "<!DOCTYPE html>")))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return list
		}
		require.NoError(t, err)
		if e, ok := token.(xml.StartElement); ok {
			list = append(list, e.Copy())
		}
	}
}

func attr(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

func TestStructure(t *testing.T) {
	w := get(busy(turnable(new(stytchmigrate.Rollout), nil)), "/ops")
	require.Equal(t, http.StatusOK, w.Code)
	list := elements(t, w.Body.String())
	seen, ids, refs := map[string]int{}, map[string]bool{}, []string(nil)
	for _, e := range list {
		seen[e.Name.Local]++
		if id := attr(e, "id"); id != "" {
			assert.False(t, ids[id], "the id %s is there twice", id)
			ids[id] = true
		}
		for _, name := range []string{"aria-labelledby", "aria-describedby", "for"} {
			refs = append(refs, strings.Fields(attr(e, name))...)
		}
		assert.NotContains(t, []string{"script", "img", "iframe", "link"}, e.Name.Local)
		assert.Empty(t, attr(e, "style"), "the policy would drop it")
		if e.Name.Local == "th" {
			assert.Contains(t, []string{"col", "row"}, attr(e, "scope"))
		}
	}
	for _, ref := range refs {
		assert.True(t, ids[ref], "nothing has the id %s", ref)
	}
	for _, one := range []string{"header", "main", "footer", "h1", "form", "svg", "desc"} {
		assert.Equal(t, 1, seen[one], one)
	}
	assert.Equal(t, seen["table"], seen["caption"])
	assert.Equal(t, seen["input"]+seen["select"], seen["label"])
	assert.Equal(t, "en", attr(list[0], "lang"))
	assert.Contains(t, w.Body.String(), "This process alone")
}

func TestHeaders(t *testing.T) {
	page := busy(statuspage.Dial{})
	for _, w := range []*httptest.ResponseRecorder{get(page, "/"), get(page, "/?format=json"), post(page, ""), post(busy(turnable(new(stytchmigrate.Rollout), nil)), "")} {
		h := w.Header()
		assert.Contains(t, h.Get("Content-Security-Policy"), "default-src 'none'; ")
		assert.Equal(t, "DENY", h.Get("X-Frame-Options"))
		assert.Equal(t, "same-origin", h.Get("Cross-Origin-Resource-Policy"))
		assert.Equal(t, "same-origin", h.Get("Cross-Origin-Opener-Policy"))
		assert.Equal(t, "no-store", h.Get("Cache-Control"))
		assert.Equal(t, "nosniff", h.Get("X-Content-Type-Options"))
		assert.Equal(t, "no-referrer", h.Get("Referrer-Policy"))
		assert.Equal(t, "Accept", h.Get("Vary"))
	}
	w := get(page, "/")
	_, rest, _ := strings.Cut(w.Body.String(), "<style>")
	style, _, _ := strings.Cut(rest, "</style>")
	sum := sha256.Sum256([]byte(style))
	assert.Equal(t, "default-src 'none'; style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+
		"'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'", w.Header().Get("Content-Security-Policy"))
	assert.Contains(t, get(busy(turnable(new(stytchmigrate.Rollout), nil)), "/").Header().Get("Content-Security-Policy"), "form-action 'self'")
}

func TestWhoGetsJSON(t *testing.T) {
	page := busy(statuspage.Dial{})
	for _, tt := range []struct{ target, accept, want string }{
		{"/", "", "text/html; charset=utf-8"},
		{"/", "*/*", "text/html; charset=utf-8"},
		{"/", "text/html,application/xhtml+xml,application/json;q=0.1", "text/html; charset=utf-8"},
		{"/", "application/json", "application/json"},
		{"/", "application/json, text/plain, */*", "application/json"},
		{"/?format=json", "text/html", "application/json"},
		{"/?format=html", "application/json", "text/html; charset=utf-8"},
	} {
		assert.Equal(t, tt.want, get(page, tt.target, "Accept", tt.accept).Header().Get("Content-Type"), "%s, %s", tt.target, tt.accept)
	}
}

func TestMethods(t *testing.T) {
	for _, tt := range []struct {
		dial  statuspage.Dial
		allow string
	}{
		{statuspage.Dial{}, "GET, HEAD"},
		{statuspage.Dial{Get: func() stytchmigrate.Rollout { return stytchmigrate.Rollout{} }}, "GET, HEAD"},
		{turnable(new(stytchmigrate.Rollout), nil), "GET, HEAD, POST"},
	} {
		methods := []string{http.MethodPut, http.MethodDelete, http.MethodOptions}
		if !strings.Contains(tt.allow, "POST") {
			methods = append(methods, http.MethodPost)
		}
		for _, method := range methods {
			w := httptest.NewRecorder()
			busy(tt.dial).ServeHTTP(w, httptest.NewRequest(method, "/", nil))
			assert.Equal(t, http.StatusMethodNotAllowed, w.Code, method)
			assert.Equal(t, tt.allow, w.Header().Get("Allow"))
		}
	}
	w := httptest.NewRecorder()
	busy(statuspage.Dial{}).ServeHTTP(w, httptest.NewRequest(http.MethodHead, "/", nil))
	assert.Equal(t, http.StatusOK, w.Code)
}

// The chart's bars are as high as the numbers in the table say, and stand on each
// other.
func TestChart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		page := statuspage.NewApart(statuspage.Options{})
		observe(page, request(stytchmigrate.OutcomeMigrated, "a"), request(stytchmigrate.OutcomeMigrated, "b"))
		time.Sleep(time.Hour)
		observe(page, request(stytchmigrate.OutcomeMigrated, "c"), request(stytchmigrate.OutcomeMigrated, "d"), request(stytchmigrate.OutcomeMigrated, "e"), request(stytchmigrate.OutcomeRefused, "f"))
		var got []string
		body := get(page, "/").Body.String()
		for _, e := range elements(t, body) {
			if e.Name.Local == "rect" {
				got = append(got, attr(e, "class")+" "+attr(e, "y")+" "+attr(e, "height"))
			}
		}
		assert.Equal(t, []string{"migrated 97 83", "migrated 55.5 124.5", "refused 14 41.5"}, got)
		assert.Contains(t, body, "Added up: 5 migrated, 0 left alone, 1 refused, 0 unavailable.")
		assert.Equal(t, 2, strings.Count(body, "<g><title>"))
	})
}

// What an event carries is shown as text, or not at all.
func TestEscaping(t *testing.T) {
	const evil = `"><script>alert(1)</script>ada@example.com`
	dial := turnable(new(stytchmigrate.Rollout), errors.New(evil+strings.Repeat("x", 1000)))
	page := busy(dial)
	for _, kind := range []string{"request", "breaker", "paused", "store", evil} {
		observe(page, stytchmigrate.Event{Kind: kind, Outcome: stytchmigrate.OutcomeUnavailable, RequestID: evil, UserID: evil, Subject: evil,
			Fingerprint: evil, ErrorType: evil, Calls: evil, Cause: evil, Err: errors.New(evil)})
	}
	bodies := []string{get(page, "/").Body.String(), get(page, "/?saved="+"%22%3E%3Cscript%3E").Body.String(),
		post(page, "stage="+evil+"&hold_back=0&per_second=0").Body.String(), post(page, "stage=keep&hold_back="+evil+"&per_second="+evil+"&until="+evil).Body.String()}
	for _, body := range bodies {
		assert.NotContains(t, body, "<script")
		assert.NotContains(t, body, strings.Repeat("x", 400))
		assert.False(t, slices.ContainsFunc(elements(t, body), func(e xml.StartElement) bool { return e.Name.Local == "script" }))
	}
	for _, target := range []string{"/", "/?format=json"} {
		assert.NotContains(t, get(page, target).Body.String(), "ada@")
	}
}

func TestLinkBack(t *testing.T) {
	for back, want := range map[string]string{
		"":                    "",
		"/home":               `<a href="/home">Back to the application</a>`,
		"javascript:alert(1)": `<a href="#ZgotmplZ">Back to the application</a>`,
	} {
		w := httptest.NewRecorder()
		statuspage.New(statuspage.Options{Back: back}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		if want == "" {
			assert.NotContains(t, w.Body.String(), "Back to the application")
		}
		assert.Contains(t, w.Body.String(), want)
	}
}
