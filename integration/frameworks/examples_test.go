package frameworks

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/gorilla/mux"
	"github.com/julienschmidt/httprouter"
	"github.com/justinas/alice"
	"github.com/labstack/echo/v4"
	echomiddleware "github.com/labstack/echo/v4/middleware"

	"example.com/stytchmigrate"
)

// What the examples have in common: hello says who is there, browse is somebody
// with an old session who comes, comes again, logs out, and comes once more.

func Example_netHTTP() {
	auth, done := newExample()
	defer done()

	m := http.NewServeMux()
	m.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, hello(r)) })
	m.HandleFunc("/logout", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, goodbye(auth, w, r)) })
	m.Handle("/members", auth.RequireUser(http.HandlerFunc(membersOnly)))
	browse(auth.Handler(m))
	// Output:
	// Hello ada@example.com: +stytch_session +stytch_session_jwt
	// Hello ada@example.com: -sid
	// Goodbye: -stytch_session -stytch_session_jwt -sid
	// Please sign in:
}

// After Recoverer and the like, and before whatever writes session cookies of its
// own. An answer that Recoverer itself writes moves nobody then; the next does.
func Example_chi() {
	auth, done := newExample()
	defer done()

	r := chi.NewRouter()
	r.Use(middleware.RequestID, middleware.Recoverer, auth.Handler)
	r.Get("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, hello(r)) })
	r.Post("/logout", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, goodbye(auth, w, r)) })
	r.With(auth.RequireUser).Get("/members", membersOnly)
	browse(r)
	// Output:
	// Hello ada@example.com: +stytch_session +stytch_session_jwt
	// Hello ada@example.com: -sid
	// Goodbye: -stytch_session -stytch_session_jwt -sid
	// Please sign in:
}

// Use runs for the routes that match. Where a 404 has to know who is there too,
// wrap the router: auth.Handler(r).
func Example_gorillaMux() {
	auth, done := newExample()
	defer done()

	r := mux.NewRouter()
	r.Use(auth.Handler)
	r.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, hello(r)) })
	r.HandleFunc("/logout", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, goodbye(auth, w, r)) }).Methods("POST")
	members := r.PathPrefix("/members").Subrouter()
	members.Use(auth.RequireUser)
	members.HandleFunc("/", membersOnly)
	browse(r)
	// Output:
	// Hello ada@example.com: +stytch_session +stytch_session_jwt
	// Hello ada@example.com: -sid
	// Goodbye: -stytch_session -stytch_session_jwt -sid
	// Please sign in:
}

// WrapMiddleware puts request and ResponseWriter of ours into the Context, for
// what runs after it and for the error handler. What comes before it in Use must
// not keep c.Response() for later.
func Example_echo() {
	auth, done := newExample()
	defer done()

	e := echo.New()
	e.Use(echomiddleware.Recover(), echo.WrapMiddleware(auth.Handler))
	e.GET("/", func(c echo.Context) error { return c.String(http.StatusOK, hello(c.Request())) })
	e.POST("/logout", func(c echo.Context) error {
		return c.String(http.StatusOK, goodbye(auth, c.Response(), c.Request()))
	})
	e.GET("/members", echo.WrapHandler(http.HandlerFunc(membersOnly)), echo.WrapMiddleware(auth.RequireUser))
	browse(e)
	// Output:
	// Hello ada@example.com: +stytch_session +stytch_session_jwt
	// Hello ada@example.com: -sid
	// Goodbye: -stytch_session -stytch_session_jwt -sid
	// Please sign in:
}

// The engine is wrapped as a whole, in place of e.Run(addr):
//
//	http.ListenAndServe(addr, auth.Handler(e))
//
// Config.Skip leaves out paths that need no user. Ours can't go into e.Use, see
// Example_ginUse.
func Example_gin() {
	auth, done := newExample()
	defer done()

	e := gin.New()
	e.Use(gin.Recovery())
	e.GET("/", func(c *gin.Context) { c.String(http.StatusOK, hello(c.Request)) })
	e.POST("/logout", func(c *gin.Context) { c.String(http.StatusOK, goodbye(auth, c.Writer, c.Request)) })
	e.GET("/members", gin.WrapH(auth.RequireUser(http.HandlerFunc(membersOnly))))
	browse(auth.Handler(e))
	// Output:
	// Hello ada@example.com: +stytch_session +stytch_session_jwt
	// Hello ada@example.com: -sid
	// Goodbye: -stytch_session -stytch_session_jwt -sid
	// Please sign in:
}

// A mistake: a middleware of gin that calls ours. Handlers of gin write to
// c.Writer, which is not the ResponseWriter that ours hands on, and their header
// has gone out when ours gets to add its cookies. Nobody is refused, but every
// page moves the user anew, and a logout in the page that moves clears nothing.
func Example_ginUse() {
	auth, done := newExample()
	defer done()

	e := gin.New()
	e.Use(func(c *gin.Context) {
		auth.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			c.Request = r
			c.Next()
		})).ServeHTTP(c.Writer, c.Request)
	})
	e.GET("/", func(c *gin.Context) { c.String(http.StatusOK, hello(c.Request)) })
	e.POST("/logout", func(c *gin.Context) { c.String(http.StatusOK, goodbye(auth, c.Writer, c.Request)) })
	browse(e)
	// Output:
	// Hello ada@example.com:
	// Hello ada@example.com:
	// Goodbye:
	// Please sign in:
}

// The router is wrapped; a single route may be by r.Handler.
func Example_httprouter() {
	auth, done := newExample()
	defer done()

	r := httprouter.New()
	r.GET("/", func(w http.ResponseWriter, r *http.Request, _ httprouter.Params) { fmt.Fprint(w, hello(r)) })
	r.POST("/logout", func(w http.ResponseWriter, r *http.Request, _ httprouter.Params) { fmt.Fprint(w, goodbye(auth, w, r)) })
	r.Handler("GET", "/members", auth.RequireUser(http.HandlerFunc(membersOnly)))
	browse(auth.Handler(r))
	// Output:
	// Hello ada@example.com: +stytch_session +stytch_session_jwt
	// Hello ada@example.com: -sid
	// Goodbye: -stytch_session -stytch_session_jwt -sid
	// Please sign in:
}

func Example_alice() {
	auth, done := newExample()
	defer done()

	everybody := alice.New(recoverer, auth.Handler)
	members := everybody.Append(auth.RequireUser)
	m := http.NewServeMux()
	m.Handle("/", everybody.ThenFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, hello(r)) }))
	m.Handle("/logout", everybody.ThenFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, goodbye(auth, w, r)) }))
	m.Handle("/members", members.ThenFunc(membersOnly))
	browse(m)
	// Output:
	// Hello ada@example.com: +stytch_session +stytch_session_jwt
	// Hello ada@example.com: -sid
	// Goodbye: -stytch_session -stytch_session_jwt -sid
	// Please sign in:
}

// In front of an application that can't be changed. The application's own id of the user
// goes to it in a header, in place of any that the client may have sent. The id comes from
// a claim of the session, because a Partial user has no email. Logout is served here. The
// Host stays what the browser asked for.
func Example_reverseProxy() {
	auth, done := newExample()
	defer done()

	u, _ := url.Parse("http://10.0.0.7:8080")
	m := http.NewServeMux()
	m.Handle("/", &httputil.ReverseProxy{
		Transport: otherMake{}, // for the example: nothing listens there
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(u)
			r.Out.Host = r.In.Host
			r.Out.Header.Del("X-User")
			if session, ok := stytchmigrate.SessionFromContext(r.In.Context()); ok {
				id, _ := session.CustomClaims["app_user_id"].(string)
				r.Out.Header.Set("X-User", id)
			} else if old, ok := stytchmigrate.LegacyFromContext(r.In.Context()); ok {
				r.Out.Header.Set("X-User", old.Identity.Subject)
			}
		},
	})
	m.HandleFunc("/logout", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, goodbye(auth, w, r)) })
	browse(auth.Handler(m))
	// Output:
	// Hello ada: +stytch_session +stytch_session_jwt
	// Hello ada: -sid
	// Goodbye: -stytch_session -stytch_session_jwt -sid
	// Please sign in:
}
