package cookies_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/cookies"
)

func host(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

// fetch sets the Fetch Metadata of a request: Site, Mode, Dest.
func fetch(metadata string) func(*http.Request) {
	return func(r *http.Request) {
		for i, v := range strings.Fields(metadata) {
			r.Header.Set([]string{"Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest"}[i], v)
		}
	}
}

func both(f, g func(*http.Request)) func(*http.Request) {
	return func(r *http.Request) { f(r); g(r) }
}

// Each row is a request to an application whose cookies have a Domain.
func TestMayWrite(t *testing.T) {
	p := cookies.New(options(func(o *cookies.Options) { o.Domain = "example.com" }), nil)
	for name, row := range map[string]struct {
		change func(*http.Request)
		want   bool
	}{
		"typed into the address bar":            {fetch("none navigate document"), true},
		"a link on the site":                    {fetch("same-origin navigate document"), true},
		"a link on another site":                {fetch("cross-site navigate document"), true},
		"a fetch of the page":                   {fetch("same-origin cors empty"), true},
		"a fetch of a sibling's page":           {fetch("same-site cors empty"), true},
		"a frame of the site":                   {fetch("same-origin navigate iframe"), true},
		"a frame on another site":               {fetch("cross-site navigate iframe"), false},
		"an object on another site":             {fetch("cross-site navigate object"), false},
		"a fetch of another site":               {fetch("cross-site cors empty"), false},
		"an opaque fetch of another site":       {fetch("cross-site no-cors empty"), false},
		"a fetch of a document by another site": {fetch("cross-site cors document"), false},
		"an unknown relation":                   {fetch("new-site navigate iframe"), false},
		"an image":                              {fetch("same-origin no-cors image"), false},
		"a stylesheet":                          {fetch("same-origin no-cors style"), false},
		"a script":                              {fetch("same-origin no-cors script"), false},
		"a font":                                {fetch("same-origin cors font"), false},
		"audio":                                 {fetch("same-origin no-cors audio"), false},
		"video":                                 {fetch("none navigate video"), false},
		"subtitles":                             {fetch("same-origin cors track"), false},
		"a manifest":                            {fetch("same-origin cors manifest"), false},
		"a worker's script":                     {fetch("same-origin same-origin worker"), false},
		"a shared worker's script":              {fetch("same-origin same-origin sharedworker"), false},
		"a service worker's script":             {fetch("same-origin same-origin serviceworker"), false},
		"an audio worklet's script":             {fetch("same-origin cors audioworklet"), false},
		"a paint worklet's script":              {fetch("same-origin cors paintworklet"), false},
		"an XSL stylesheet":                     {fetch("same-origin same-origin xslt"), false},
		"no metadata, no origin":                {func(*http.Request) {}, true},
		"the origin of the page":                {header("Origin", "https://app.example.com"), true},
		"the origin of a sibling":               {header("Origin", "https://www.example.com"), true},
		"another origin":                        {header("Origin", "https://other.example"), false},
		"an origin that only ends alike":        {header("Origin", "https://badexample.com"), false},
		"the origin null":                       {header("Origin", "null"), false},
		"an origin that is no URL":              {header("Origin", "://"), false},
		"metadata go before an origin":          {both(fetch("same-origin cors empty"), header("Origin", "https://other.example")), true},
		"a link, by a service worker":           {fetch("cross-site navigate empty"), true},
		"a frame elsewhere, by a worker":        {fetch("cross-site same-origin empty"), false},
		"an upgrade to HTTP/2":                  {header("Upgrade", "h2c"), true},
		"an upgrade to a WebSocket":             {header("Upgrade", "websocket"), true},
		"a tunnel":                              {method(http.MethodConnect), true},
		"a host with a port":                    {host("app.example.com:8443"), true},
		"a host in capitals":                    {host("APP.Example.COM"), true},
		"the domain itself":                     {host("example.com"), true},
		"a deeper host":                         {host("a.b.example.com"), true},
		"a host with a dot at its end":          {host("app.example.com."), false},
		"a host outside the domain":             {host("other.example"), false},
		"a host that only ends like it":         {host("badexample.com"), false},
		"an address":                            {host("192.0.2.7:80"), false},
		"an address of version 6":               {host("[2001:db8::1]:443"), false},
		"no host at all":                        {host(""), false},
		"a health check's fetch of the outside": {both(host("10.0.0.1"), fetch("none navigate document")), false},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, row.want, p.MayWrite(request("", row.change)))
		})
	}
}

// Without a Domain the cookies are host-only, and any host may be the one.
func TestMayWriteWithoutDomain(t *testing.T) {
	for name, row := range map[string]struct {
		change func(*http.Request)
		want   bool
	}{
		"an address":                  {host("192.0.2.7:80"), true},
		"a dot at the end":            {host("app.example.com."), true},
		"no host":                     {host(""), true},
		"the page's origin and port":  {both(host("localhost:8080"), header("Origin", "http://localhost:8080")), true},
		"another port":                {both(host("localhost:8080"), header("Origin", "http://localhost:8081")), false},
		"a sibling's origin":          {header("Origin", "https://www.example.com"), false},
		"a post without any metadata": {method(http.MethodPost), true},
		"a post from another site":    {both(method(http.MethodPost), header("Origin", "https://other.example")), false},
		"a post that leads to a page": {both(method(http.MethodPost), fetch("cross-site navigate document")), true},
		"options":                     {method(http.MethodOptions), true},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, row.want, cookies.New(defaults(), nil).MayWrite(request("", row.change)))
		})
	}
}

// Where the Stytch cookies have a Path, a browser would not send them back to a page
// elsewhere: the cookies that such a page has stay.
func TestMayWriteWithAPath(t *testing.T) {
	p := cookies.New(options(func(o *cookies.Options) { o.Path = "/app" }), nil)
	for path, want := range map[string]bool{
		"/app": true, "/app/": true, "/app/page": true,
		"/": false, "/application": false, "/ap": false, "/APP/page": false, "": false,
	} {
		assert.Equal(t, want, p.MayWrite(request("", func(r *http.Request) { r.URL.Path = path })), path)
	}
	assert.True(t, cookies.New(defaults(), nil).MayWrite(request("", func(r *http.Request) { r.URL.Path = "" })), "no path is /")
}

// Each row is a host and a domain (RFC 6265 section 5.1.3).
func TestDomainMatch(t *testing.T) {
	for _, row := range []struct {
		host, domain string
		want         bool
	}{
		{"example.com", "", true},
		{"example.com", "example.com", true},
		{"EXAMPLE.com", ".example.COM", true},
		{"www.example.com", "example.com", true},
		{"badexample.com", "example.com", false},
		{"example.com", "www.example.com", false},
		{"192.0.2.7", "192.0.2.7", true},
		{"192.0.2.7", "2.7", false},
	} {
		assert.Equal(t, row.want, cookies.DomainMatch(row.host, row.domain), row)
	}
}

// Each row is a request's path and a cookie's (RFC 6265 section 5.1.4).
func TestPathMatch(t *testing.T) {
	for _, row := range []struct {
		path, cookiePath string
		want             bool
	}{
		{"/app", "/app", true},
		{"/app/page", "/app/", true},
		{"/app/page", "/app", true},
		{"/app", "/app/", false},
		{"/application", "/app", false},
		{"*", "/", true},
		{"", "/app", false},
	} {
		assert.Equal(t, row.want, cookies.PathMatch(row.path, row.cookiePath), row)
	}
}
