package apptest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing/synctest"

	"example.com/stytchmigrate/stytchtest"
)

// Reply is all that a request led to.
type Reply struct {
	*httptest.ResponseRecorder
	Saw string // what the handler saw, as Who says it
	app *App
}

// String is the reply as a row of a test: see the package documentation.
func (r *Reply) String() string {
	var calls []string
	for _, c := range r.app.Stytch.Calls() {
		if c.Op != stytchtest.JWKS {
			calls = append(calls, string(c.Op))
		}
	}
	parts := []string{r.Saw, strings.Join(r.Cookies(), " "), r.Header().Get("Cache-Control"), strings.Join(calls, " ")}
	for i := range parts {
		if parts[i] == "" {
			parts[i] = "-"
		}
	}
	return strings.Join(parts, " | ")
}

// Settled is String once all that goes on behind the request is done.
func (r *Reply) Settled() string {
	synctest.Wait()
	return r.String()
}

// WithKeySets is String, and how often the key set was fetched.
func (r *Reply) WithKeySets() string {
	return fmt.Sprintf("%s | key sets: %d", r, r.app.Stytch.Count(stytchtest.JWKS))
}

// Cookies are the names of the cookies that the response sets (+) or expires (-).
func (r *Reply) Cookies() (out []string) {
	for _, c := range r.Result().Cookies() {
		sign := "+"
		if c.MaxAge < 0 {
			sign = "-"
		}
		out = append(out, sign+c.Name)
	}
	return out
}

// Jar is the Cookie header that a browser sends next, if it sent the header
// before with this request.
func (r *Reply) Jar(before string) string {
	changed := r.Result().Cookies()
	var pairs []string
	for pair := range strings.SplitSeq(before, "; ") {
		name, _, _ := strings.Cut(pair, "=")
		if pair != "" && !slices.ContainsFunc(changed, func(c *http.Cookie) bool { return c.Name == name }) {
			pairs = append(pairs, pair)
		}
	}
	for _, c := range changed {
		if c.MaxAge >= 0 {
			pairs = append(pairs, c.Name+"="+c.Value)
		}
	}
	return strings.Join(pairs, "; ")
}
