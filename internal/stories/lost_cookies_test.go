package stories_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/storetest"
	"example.com/stytchmigrate/stytchtest"
)

// way is what is between the application and a browser: which Set-Cookie lines of a
// response the browser obeys.
type way func(lines []string) []string

func allLines(lines []string) []string { return lines }

// stytchRefused is a browser that refuses the Stytch cookies, or an edge that passes on
// the cookies it knows.
func stytchRefused(lines []string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(l string) bool {
		return strings.HasPrefix(l, "stytch_session") && !strings.Contains(l, "Max-Age=0")
	})
}

// firstLine and lastLine are proxies that keep header fields in a map.
func firstLine(lines []string) []string { return lines[:min(1, len(lines))] }
func lastLine(lines []string) []string  { return lines[max(0, len(lines)-1):] }

// oneLine is a proxy that joins fields of one name, which RFC 9110 section 5.3 forbids for
// Set-Cookie. A browser reads one cookie with the attributes of all.
func oneLine(lines []string) []string {
	if len(lines) == 0 {
		return nil
	}
	return []string{strings.Join(lines, ", ")}
}

// obey changes the cookies of a browser, by name.
func (w way) obey(t *testing.T, jar map[string]string, h http.Header) {
	t.Helper()
	for _, line := range w(h["Set-Cookie"]) {
		c, err := http.ParseSetCookie(line)
		require.NoError(t, err)
		if jar[c.Name] = c.Value; c.MaxAge < 0 {
			delete(jar, c.Name)
		}
	}
}

func cookieHeader(jar map[string]string) string {
	var pairs []string
	for _, name := range []string{"sid", "stytch_session", "stytch_session_jwt"} {
		if v, ok := jar[name]; ok {
			pairs = append(pairs, name+"="+v)
		}
	}
	return strings.Join(pairs, "; ")
}

// Each row is what becomes of the Set-Cookie lines on the way to every third browser. All
// of them move in StageReplace, and come with pages and forms for a day, from machine to
// machine. No request is without its user, and one exchange is made for each browser.
func TestCookiesLostOnTheirWay(t *testing.T) {
	for name, row := range map[string]struct {
		way   way
		holds string // the names of the cookies of such a browser in the end; "": as the last pages had it
	}{
		"no line is lost":                {allLines, "stytch_session stytch_session_jwt"},
		"the Stytch cookies are refused": {stytchRefused, "sid"},
		"the first line alone arrives":   {firstLine, ""},
		"the last line alone arrives":    {lastLine, "stytch_session_jwt"},
		"the lines arrive as one":        {oneLine, ""},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
				const browsers, visits = 9, 24
				a.Resolve = apptest.ResolveAsAda
				jars := make([]map[string]string, browsers)
				exchanges := 0
				for visit := range visits {
					for i := range jars {
						w := way(allLines)
						if i%3 == 0 {
							w = row.way
						}
						if visit == 0 {
							jars[i] = map[string]string{"sid": fmt.Sprint("ada-", i)}
						}
						got := a.On(m[(i+visit)%len(m)]).Get(cookieHeader(jars[i]), apptest.Method([]string{"GET", "GET", "POST"}[visit%3]))
						require.Contains(t, []string{"migrated ada", "authenticated ada"}, got.Saw, "browser %d, page %d", i, visit)
						exchanges += a.Stytch.Count(stytchtest.Migrate)
						w.obey(t, jars[i], got.Header())
						require.NotEmpty(t, jars[i])
					}
					time.Sleep([]time.Duration{time.Second, time.Minute, 7 * time.Minute, time.Hour}[visit%4])
				}
				assert.Equal(t, browsers, exchanges)
				assert.NotContains(t, jars[1], "sid", "the others")
				if row.holds != "" {
					assert.Equal(t, row.holds, strings.Join(slices.Sorted(maps.Keys(jars[0])), " "))
				}
			})
		})
	}
}
