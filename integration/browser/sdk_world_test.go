package browser

import (
	"html/template"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
	"example.com/stytchmigrate/userinfo"
)

// The names by which a browser knows what is in a sdkWorld.
const (
	sdkPlain  = "http://localhost"        // the application while it is developed
	sdkSite   = "https://app.example.com" // the application
	sdkAPI    = "test.stytch.com"         // where the SDK finds a test project
	sdkDomain = "login.example.com"       // a custom domain of the project
)

// sdkWorld is an application behind the middleware, with Stytch's browser SDK on
// its pages, and Stytch. The browser gets to all of it through a proxy; whatever
// else it asks for is not there.
type sdkWorld struct {
	stytch *stytchtest.Server
	auth   *stytchmigrate.Middleware
	pages  http.Handler
	proxy  string // URL
	tls    string // address of what is behind the proxy

	mu       sync.Mutex // guards all below
	httpOnly bool       // the custom domain keeps the tokens in cookies of its own, and tells no script
	down     bool       // nobody gets to Stytch from the browser
	asked    []string   // by the SDK, each once: method, host and path
	nowhere  []string   // hosts that were asked for and are not there
}

func newSDKWorld(t *testing.T, change func(*stytchmigrate.Config)) *sdkWorld {
	t.Helper()
	w := &sdkWorld{stytch: stytchtest.NewServer(t, stytchtest.Config{})}
	for _, email := range []string{"ada@example.com", "bob@example.com"} {
		w.stytch.AddUser(stytchtest.Person(email))
	}
	cfg := stytchmigrate.Config{
		ProjectID: w.stytch.ProjectID, Secret: stytchmigrate.Secret(w.stytch.Secret), BaseURL: w.stytch.URL,
		Legacy: []stytchmigrate.LegacyCookie{{Name: "sid", Resolve: sdkLegacy}},
		Logger: slog.New(slog.DiscardHandler),
	}
	change(&cfg)
	var err error
	w.auth, err = stytchmigrate.New(cfg)
	require.NoError(t, err)
	w.listen(t)
	return w
}

func (w *sdkWorld) listen(t *testing.T) {
	t.Helper()
	w.stytch.Accept("old-session-of-ada", "ada@example.com")
	w.pages = w.auth.Handler(w.site(npm(t, "@stytch/vanilla-js/dist/iife/index.headless.js")))
	behind := httptest.NewUnstartedServer(w)
	behind.Config.ErrorLog = quiet // Chromium hangs up once before it ignores who signed the certificate
	behind.StartTLS()
	t.Cleanup(behind.Close)
	w.tls = behind.Listener.Addr().String()
	w.proxy = listen(t, w)
}

// quiet is the log of servers that browsers hang up on.
var quiet = log.New(io.Discard, "", 0)

// sdkLegacy knows one old session.
func sdkLegacy(_ *http.Request, value string) (stytchmigrate.LegacySession, error) {
	if value != "old-session-of-ada" {
		return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
	}
	return stytchmigrate.LegacySession{Token: stytchmigrate.Secret(value), Identity: userinfo.Identity{
		Subject: "17", Email: "ada@example.com", EmailVerified: true,
	}}, nil
}

// ServeHTTP is the proxy and all that is behind it.
func (w *sdkWorld) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodConnect:
		w.tunnel(rw, r)
	case r.Host == sdkAPI || r.Host == sdkDomain:
		w.serveSDK(rw, r)
	default:
		w.pages.ServeHTTP(rw, r)
	}
}

// tunnel gets a browser to the hosts that there are.
func (w *sdkWorld) tunnel(rw http.ResponseWriter, r *http.Request) {
	host, _, _ := net.SplitHostPort(r.Host)
	if !w.isThere(host) {
		http.Error(rw, "no such host", http.StatusBadGateway)
		return
	}
	connect(rw, w.tls)
}

// connect has a client of a proxy talk to a server itself.
func connect(rw http.ResponseWriter, to string) {
	server, err := net.Dial("tcp", to)
	if err != nil {
		http.Error(rw, "closed", http.StatusBadGateway)
		return
	}
	if client, _, err := http.NewResponseController(rw).Hijack(); err == nil {
		_, _ = io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n")
		go pipe(server, client)
		pipe(client, server)
	}
}

func pipe(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	_ = to.Close()
}

func (w *sdkWorld) isThere(host string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	there := host == "app.example.com" || (host == sdkAPI || host == sdkDomain) && !w.down
	if !there && !w.down && !slices.Contains(w.nowhere, host) {
		w.nowhere = append(w.nowhere, host)
	}
	return there
}

func (w *sdkWorld) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

// clock makes Stytch's clock wrong by d. What it made in its own past has expired.
func (w *sdkWorld) clock(d time.Duration) {
	w.stytch.SetClock(func() time.Time { return time.Now().Add(d) })
}

// replay is a request by somebody else, with cookies that were copied. It returns
// whom it was taken for, and what became of the cookies.
func (w *sdkWorld) replay(copied []*network.Cookie) []string {
	r := httptest.NewRequest(http.MethodGet, sdkSite+"/who", nil)
	for _, c := range copied {
		r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
	}
	rec := httptest.NewRecorder()
	w.pages.ServeHTTP(rec, r)
	out := []string{rec.Body.String()}
	for _, c := range rec.Result().Cookies() {
		if c.MaxAge < 0 {
			out = append(out, c.Name+" deleted")
		} else {
			out = append(out, c.Name+" set")
		}
	}
	return out
}

// site is the application: an old login, a page, and a logout.
func (w *sdkWorld) site(sdk string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(rw http.ResponseWriter, _ *http.Request) {
		http.SetCookie(rw, &http.Cookie{Name: "sid", Value: "old-session-of-ada", Path: "/", HttpOnly: true})
	})
	mux.HandleFunc("/logout", w.logout)
	mux.HandleFunc("/who", func(rw http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(rw, sdkWho(r)) })
	mux.HandleFunc("/", func(rw http.ResponseWriter, r *http.Request) { _ = sdkPage.Execute(rw, sdkWho(r)) })
	mux.HandleFunc("/sdk.js", func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/javascript; charset=utf-8")
		_, _ = io.WriteString(rw, sdk)
	})
	return mux
}

func (w *sdkWorld) logout(rw http.ResponseWriter, r *http.Request) {
	if err := w.auth.Logout(rw, r); err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
	}
}

// sdkWho is whom a request is of, as a handler is told.
func sdkWho(r *http.Request) string {
	who := stytchmigrate.OutcomeFromContext(r.Context()).String()
	if user, ok := stytchmigrate.UserFromContext(r.Context()); ok {
		return who + " " + user.Emails[0].Email
	}
	if old, ok := stytchmigrate.LegacyFromContext(r.Context()); ok {
		return who + " " + old.Identity.Email
	}
	return who
}

// sdkPage says whom the middleware takes the user for, and, once started, whom
// the SDK does.
var sdkPage = template.Must(template.New("").Parse(`<!doctype html>
<html lang="en"><meta name="viewport" content="width=device-width"><title>Application</title>
<p>The middleware: <b id="who">{{.}}</b></p>
<p>The SDK: <b id="sdk">not started</b></p>
<script src="/sdk.js"></script>
<script>
let client
function start(options) {
	client = new stytch.StytchClient("public-token-test-1", options)
	client.onStateChange(look)
	return look()
}
function look() {
	const tokens = client.session.getTokens(), session = client.session.getSync(), user = client.user.getSync()
	const seen = { Token: tokens?.session_token ?? "", JWT: tokens?.session_jwt ?? "", Session: session?.session_id ?? "", Email: user?.emails[0].email ?? "" }
	document.querySelector("#sdk").textContent = seen.Email || "nobody"
	return seen
}
async function settled() {
	await client.rbac.allPermissions() // what it asks about the project has come
	while (client.session.getInfo().fromCache) await new Promise(done => setTimeout(done, 10))
	return look()
}
function said(promise) {
	return promise.then(() => "yes", error => error.error_type ?? error.name)
}
</script></html>
`))
