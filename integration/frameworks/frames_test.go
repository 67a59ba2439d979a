package frameworks

import (
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	chimiddleware "github.com/go-chi/chi/v5/middleware"
	"github.com/gorilla/mux"
	"github.com/julienschmidt/httprouter"
	"github.com/justinas/alice"
	"github.com/labstack/echo/v4"
	echomiddleware "github.com/labstack/echo/v4/middleware"
	"github.com/stretchr/testify/require"
)

// frame is a way to serve a shop.
type frame struct {
	name     string
	serve    func(s *shop) http.Handler
	front    func(t *testing.T, backend string) string // what browsers reach in its place; nil: nothing
	panicked string                                    // what a browser gets that moves when a handler panics
}

// Where the Recoverer is around ours, it answers past it, on a ResponseWriter
// that nothing was written to: no cookie is set, and the next page sets them.
const (
	recoveredInside  = "500" + moved + "migrate"
	recoveredOutside = "500 | - | - | migrate"
	aborted          = "no answer | migrate"
)

var frames = []frame{
	{"net/http", plain, nil, aborted},
	{"net/http, TimeoutHandler inside", timeoutInside, nil, aborted},
	{"net/http, TimeoutHandler outside", timeoutOutside, nil, aborted},
	{"chi", chiFrame, nil, recoveredOutside},
	{"chi, all of it inside", chiInside, nil, recoveredInside},
	{"gorilla/mux", gorillaMux, nil, aborted},
	{"echo", echoFrame, nil, recoveredInside},
	{"gin", ginFrame, nil, recoveredInside},
	{"httprouter", httprouterFrame, nil, recoveredInside},
	{"alice", aliceFrame, nil, recoveredOutside},
	{"ReverseProxy inside", proxyInside, nil, "502" + moved + "migrate"},
	{"ReverseProxy outside", plain, proxyOutside, "502 | - | - | migrate"},
	{"nginx outside", plain, nginxOutside, "502 | - | - | migrate"},
}

// mux has the shop's handlers for whatever serves an http.Handler.
func (s *shop) mux() *http.ServeMux {
	m := http.NewServeMux()
	m.HandleFunc("/", page)
	m.HandleFunc("/theme", setTheme)
	m.HandleFunc("/forbidden", forbid)
	m.HandleFunc("/panic", panics)
	m.HandleFunc("/login", s.login)
	m.HandleFunc("/logout", s.logout)
	m.Handle("/members", s.members())
	return m
}

func plain(s *shop) http.Handler { return s.auth.Handler(s.mux()) }

func timeoutInside(s *shop) http.Handler {
	return s.auth.Handler(http.TimeoutHandler(s.mux(), time.Minute, "too late"))
}

func timeoutOutside(s *shop) http.Handler {
	return http.TimeoutHandler(s.auth.Handler(s.mux()), time.Minute, "too late")
}

// quiet keeps chi's Logger and Recoverer from writing to the standard error.
type quiet struct{}

func (quiet) NewLogEntry(*http.Request) chimiddleware.LogEntry        { return quiet{} }
func (quiet) Write(int, int, http.Header, time.Duration, interface{}) {}
func (quiet) Panic(interface{}, []byte)                               {}

// chiFrame has the stack of chi's own documentation, and ours after it.
func chiFrame(s *shop) http.Handler {
	r := chi.NewRouter()
	r.Use(chimiddleware.RequestLogger(quiet{}), chimiddleware.Recoverer, s.auth.Handler)
	s.chiRoutes(r)
	return r
}

func chiInside(s *shop) http.Handler {
	r := chi.NewRouter()
	r.Use(s.auth.Handler, chimiddleware.RequestLogger(quiet{}), chimiddleware.Compress(5), chimiddleware.Recoverer)
	s.chiRoutes(r)
	return r
}

func (s *shop) chiRoutes(r chi.Router) {
	r.Get("/", page)
	r.Get("/theme", setTheme)
	r.Get("/forbidden", forbid)
	r.Get("/panic", panics)
	r.Post("/login", s.login)
	r.Post("/logout", s.logout)
	r.With(s.auth.RequireUser).Get("/members", page)
}

// gorillaMux runs ours for the routes that match, which is enough.
func gorillaMux(s *shop) http.Handler {
	r := mux.NewRouter()
	r.Use(s.auth.Handler)
	r.HandleFunc("/", page)
	r.HandleFunc("/theme", setTheme)
	r.HandleFunc("/forbidden", forbid)
	r.HandleFunc("/panic", panics)
	r.HandleFunc("/login", s.login).Methods("POST")
	r.HandleFunc("/logout", s.logout).Methods("POST")
	r.Handle("/members", s.members())
	return r
}

// echoFrame has Recover around ours, and it answers through ours all the same:
// WrapMiddleware leaves the ResponseWriter of ours in the Context.
func echoFrame(s *shop) http.Handler {
	e := echo.New()
	e.Logger.SetOutput(io.Discard)
	e.Use(echomiddleware.Recover(), echomiddleware.Gzip(), echo.WrapMiddleware(s.auth.Handler))
	e.GET("/", func(c echo.Context) error { return c.String(http.StatusOK, who(c.Request())) })
	e.GET("/theme", func(c echo.Context) error {
		c.SetCookie(theme)
		return c.String(http.StatusOK, who(c.Request()))
	})
	e.GET("/forbidden", func(echo.Context) error { return echo.ErrForbidden })
	e.GET("/panic", func(echo.Context) error { panic("of a handler") })
	e.POST("/login", func(c echo.Context) error { s.login(c.Response(), c.Request()); return nil })
	e.POST("/logout", func(c echo.Context) error { s.logout(c.Response(), c.Request()); return nil })
	e.GET("/members", echo.WrapHandler(http.HandlerFunc(page)), echo.WrapMiddleware(s.auth.RequireUser))
	return e
}

// ginFrame wraps the engine: see Example_ginUse.
func ginFrame(s *shop) http.Handler {
	e := gin.New()
	e.Use(gin.RecoveryWithWriter(io.Discard))
	e.GET("/", func(c *gin.Context) { c.String(http.StatusOK, who(c.Request)) })
	e.GET("/theme", func(c *gin.Context) {
		c.SetCookie(theme.Name, theme.Value, 60, "/", "", false, true)
		c.String(http.StatusOK, who(c.Request))
	})
	e.GET("/forbidden", func(c *gin.Context) { c.AbortWithStatus(http.StatusForbidden) })
	e.GET("/panic", func(*gin.Context) { panic("of a handler") })
	e.POST("/login", func(c *gin.Context) { s.login(c.Writer, c.Request) })
	e.POST("/logout", func(c *gin.Context) { s.logout(c.Writer, c.Request) })
	e.GET("/members", gin.WrapH(s.members()))
	return s.auth.Handler(e)
}

func httprouterFrame(s *shop) http.Handler {
	r := httprouter.New()
	r.PanicHandler = func(w http.ResponseWriter, _ *http.Request, _ any) { w.WriteHeader(http.StatusInternalServerError) }
	r.HandlerFunc("GET", "/", page)
	r.HandlerFunc("GET", "/theme", setTheme)
	r.HandlerFunc("GET", "/forbidden", forbid)
	r.GET("/panic", func(w http.ResponseWriter, r *http.Request, _ httprouter.Params) { panics(w, r) })
	r.POST("/login", func(w http.ResponseWriter, r *http.Request, _ httprouter.Params) { s.login(w, r) })
	r.POST("/logout", func(w http.ResponseWriter, r *http.Request, _ httprouter.Params) { s.logout(w, r) })
	r.Handler("GET", "/members", s.members())
	return s.auth.Handler(r)
}

func aliceFrame(s *shop) http.Handler { return alice.New(recoverer, s.auth.Handler).Then(s.mux()) }

// recoverer is the one that everybody writes.
func recoverer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if recover() != nil {
				w.WriteHeader(http.StatusInternalServerError)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// proxyInside tells a server of another make who is there, in a header. What has
// to call Logout is served by the proxy itself.
func proxyInside(s *shop) http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Header.Get("X-Who")+names(r)) })
	m.HandleFunc("/theme", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, theme)
		_, _ = io.WriteString(w, r.Header.Get("X-Who")+names(r))
	})
	m.HandleFunc("/forbidden", forbid)
	m.HandleFunc("/panic", panics)
	proxy := newProxy(s.t, newServer(s.t, m).URL)
	front := http.NewServeMux()
	front.Handle("/", proxy)
	front.HandleFunc("/login", s.login)
	front.HandleFunc("/logout", s.logout)
	front.Handle("/members", s.auth.RequireUser(proxy))
	return s.auth.Handler(front)
}

func proxyOutside(t *testing.T, backend string) string { return newServer(t, newProxy(t, backend)).URL }

// newProxy keeps the Host: by it and the Origin ours tells a fetch of the same
// site, where a browser sends no Fetch Metadata.
func newProxy(t *testing.T, backend string) http.Handler {
	t.Helper()
	u, err := url.Parse(backend)
	require.NoError(t, err)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &httputil.ReverseProxy{
		Transport: transport, ErrorLog: log.New(io.Discard, "", 0),
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(u)
			r.Out.Host = r.In.Host
			r.Out.Header.Set("X-Who", person(r.In.Context())) // whatever the client says
		},
	}
}
