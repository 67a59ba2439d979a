package browser

import (
	"net/url"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
)

// What each engine makes of a Set-Cookie line that may be the end of a cookie. WebKit
// is WebKitGTK here, whose cookies are libsoup's: Safari's may differ.
func TestLinesThatBrowsersKeep(t *testing.T) { inEngines(t, linesThatBrowsersKeep) }

func linesThatBrowsersKeep(t *testing.T, e *engine, table *results) {
	all, none, onlyWebKit, notWebKit := engines, []*engine{}, []*engine{webkit}, []*engine{chromium, firefox}
	a, p := newSecureApp(t), newTab(t, e)
	for _, tt := range []struct {
		line string
		keep []*engine
	}{
		{"Expires=Thu, 01 Jan 1970 00:00:00 GMT", none},
		{"Expires=Thu, 1-Jan-1970 00:00:00 GMT", none},
		{"Expires=Thu, 01-Jan-70 00:00:00 GMT", none},
		{"Expires=01 Jan 1970 00:00:00 GMT", none},
		{"Expires=Thu, 01 Jan 1970 00:00:00", none},
		{"Expires=Thu Jan 01 1970 00:00:00 GMT+0000 (UTC)", onlyWebKit},
		{"Expires=Wed, 01-Jan-69 00:00:00 GMT", all}, // of 2069 (RFC 6265 section 5.1.1)
		{"Expires=1970-01-01T00:00:00Z", all},
		{"Expires=0", all},
		{"Expires=-1", all},
		{"Max-Age=0", none},
		{"Max-Age=-1", none},
		// Max-Age wins by RFC 6265 section 5.3. In WebKit the last of the two does.
		{"Expires=Thu, 01 Jan 2099 00:00:00 GMT; Max-Age=0", none},
		{"Max-Age=0; Expires=Thu, 01 Jan 2099 00:00:00 GMT", onlyWebKit},
		{"Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=3600", all},
		{"Max-Age=3600; Expires=Thu, 01 Jan 1970 00:00:00 GMT", notWebKit},
	} {
		t.Run(tt.line, func(t *testing.T) {
			p := p.in(t)
			p.do(navigate(a.before("app.test", "sid=x; Path=/; Max-Age=3600")))
			p.do(navigate(a.before("app.test", "sid=x; Path=/; "+tt.line)))
			saysWhetherKept(p, table, tt.keep, names(p.jar()), "sid")
		})
	}
}

// saysWhetherKept holds what is in the jar against the engines that are to keep it.
func saysWhetherKept(p *tab, table *results, keep []*engine, held []string, name string) {
	p.t.Helper()
	verdict := "gone"
	if slices.Contains(held, name) {
		verdict = "kept"
	}
	assert.Equal(p.t, slices.Contains(keep, p.engine), verdict == "kept", "%s is %s", name, verdict)
	table.say(p.t, "%s", verdict)
}

// Names with a prefix are kept if the line has what the prefix demands (RFC 6265bis
// section 4.1.3). WebKit, by the cookies of libsoup, demands nothing.
func TestPrefixesThatBrowsersKeep(t *testing.T) { inEngines(t, prefixesThatBrowsersKeep) }

func prefixesThatBrowsersKeep(t *testing.T, e *engine, table *results) {
	all, onlyWebKit := engines, []*engine{webkit}
	a, p := newSecureApp(t), newTab(t, e)
	for _, tt := range []struct {
		name, attributes string
		keep             []*engine
	}{
		{"__Host-s", "Secure; Path=/", all},
		{"__Host-s", "Path=/", onlyWebKit},
		{"__Host-s", "Secure; Path=/; Domain=app.test", onlyWebKit},
		{"__Secure-s", "Secure", all},
		{"__Secure-s", "Path=/", onlyWebKit},
		{"__Http-s", "Secure; HttpOnly; Path=/", all},
		{"__Http-s", "Secure; Path=/", onlyWebKit},
		{"__Host-Http-s", "Secure; HttpOnly; Path=/", all},
		{"__Host-Http-s", "Secure; Path=/", onlyWebKit},
	} {
		t.Run(tt.name+"; "+tt.attributes, func(t *testing.T) {
			p := p.in(t)
			p.do(navigate(a.before("app.test")))
			p.clear()
			p.do(navigate(a.before("app.test", tt.name+"=x; "+tt.attributes)))
			saysWhetherKept(p, table, tt.keep, names(p.jar()), tt.name)
		})
	}
}

// Clear-Site-Data takes all cookies of the host, also those of the same response.
func TestClearSiteData(t *testing.T) { inEngines(t, clearSiteData) }

func clearSiteData(t *testing.T, e *engine, table *results) {
	a, p := newSecureApp(t), newTab(t, e)
	for value, left := range map[string][]string{
		`"cookies"`: nil, `"*"`: nil, `"cache", "cookies"`: nil,
		`"storage"`: {"beside", "sid"}, `cookies`: {"beside", "sid"}, // without quotes: not a directive
	} {
		t.Run(value, func(t *testing.T) {
			p := p.in(t)
			p.do(navigate(a.before("app.test")))
			p.clear()
			p.do(navigate(a.before("app.test", "sid=x; Path=/")))
			p.do(navigate(a.at("app.test", "/before?"+url.Values{"line": {"beside=x; Path=/"}, "clear": {value}}.Encode())))
			assert.Equal(t, left, names(p.jar()))
			table.say(t, "left: %v", names(p.jar()))
		})
	}
}
