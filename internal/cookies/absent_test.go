package cookies_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/cookies"
)

// Each row is what a handler sets that did not see the cookie sid, and whether it may have
// meant a logout. Both ways of looking at it agree: at a response that changes, and at one
// that does not.
func TestExpiresAbsent(t *testing.T) {
	for lines, want := range map[string]bool{
		"":                           false,
		"theme=dark":                 false,
		"sid=; Max-Age=0":            true,
		"sid=; Path=/app; Max-Age=0": true,
		"sid=":                       true,
		"sid=x; Expires=Thu, 01-Jan-70 00:00:01 GMT": true,
		"csrf=; Max-Age=0":                           false,
		"old=; Max-Age=0":                            false,
		"sid=visitor":                                false,
		"sid=; Max-Age=0|sid=visitor":                false,
		"sid=visitor|sid=; Path=/a; Max-Age=0":       false,
		"sid=; Max-Age=0|sid=ada-1":                  false,
		"sid=; Max-Age=0|token=; Max-Age=0":          false,
		"sid=; Max-Age=0|token=own":                  false,
		"clear":                                      true,
	} {
		h := http.Header{}
		for line := range strings.SplitSeq(lines, "|") {
			if line == "clear" {
				h.Set("Clear-Site-Data", `"cookies"`)
			} else if line != "" {
				h.Add("Set-Cookie", line)
			}
		}
		p := cookies.New(defaults(), append(sid, cookies.Legacy{Name: "old"}))
		assert.Equal(t, want, p.ExpiresAbsent(h, []string{"sid"}), lines)
		for _, meaning := range []cookies.Action{cookies.LoggedOut, cookies.Unheard} {
			handler := cookies.Handler{Shown: -1, Absent: []string{"sid"}, AbsentMeans: meaning, Classify: classify}
			pending, _ := p.Prepare(request("token=T; jwt=J"), &cookies.Change{}, handler)
			w := &recorder{h.Clone()}
			pending.Commit(w)
			assert.Equal(t, want, pending.Action() == meaning, "%s: %v", lines, pending.Action())
			assert.Equal(t, want && meaning == cookies.LoggedOut, strings.Contains(names(w.h), "-token -jwt"), lines)
		}
	}
}

// recorder is a ResponseWriter of which only the header counts.
type recorder struct{ h http.Header }

func (r *recorder) Header() http.Header         { return r.h }
func (r *recorder) Write(b []byte) (int, error) { return len(b), nil }
func (r *recorder) WriteHeader(int)             {}
