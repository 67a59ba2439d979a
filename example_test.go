package stytchmigrate_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"time"

	"github.com/gorilla/securecookie"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
	"example.com/stytchmigrate/userinfo"
)

// people has the users of the examples by the value of their old cookie "sid".
var people = map[string]userinfo.Identity{
	"f0e1d2c3b4a59687": {Subject: "17", Email: "ada@example.com", EmailVerified: true},
	"00112233aabbccdd": {Subject: "18", Email: "bob@example.com"}, // never clicked the link
}

// fingerprint is different with each key.
var fingerprint = regexp.MustCompile("fingerprint [0-9a-f]+")

func resolvePeople(_ *http.Request, value string) (stytchmigrate.LegacySession, error) {
	id, ok := people[value]
	if !ok {
		return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
	}
	return stytchmigrate.LegacySession{ID: stytchmigrate.Secret(value), Identity: id}, nil
}

// newExample returns a middleware, and the stand-in for Stytch behind it. In a test
// stytchtest.NewServer starts that. An application has only the Config.
func newExample(legacy ...stytchmigrate.LegacyCookie) (*stytchmigrate.Middleware, *stytchtest.Server) {
	tickets, _ := userinfo.NewTickets(securecookie.GenerateRandomKey(32), securecookie.GenerateRandomKey(32))
	stytch, _ := stytchtest.Start(stytchtest.Config{InProcess: true})
	stytch.AddUser(stytchtest.Person("ada@example.com"))
	stytch.AddUser(stytchtest.Person("bob@example.com"))
	stytch.SetUserInfo(func(ctx context.Context, token string) (string, error) { // as userinfo.Handler(tickets.Redeem) tells Stytch
		id, err := tickets.Redeem(ctx, token)
		return id.Email, err
	})
	auth, err := stytchmigrate.New(stytchmigrate.Config{
		ProjectID:  stytch.ProjectID,
		Secret:     stytchmigrate.Secret(stytch.Secret),
		BaseURL:    stytch.URL,
		HTTPClient: stytch.Client(),
		Tickets:    tickets,
		Legacy:     legacy,
		Logger:     slog.New(slog.DiscardHandler),
	})
	if err != nil {
		panic(err)
	}
	return auth, stytch
}

// browse sends a request with a browser's cookies, and applies the response to them.
func browse(h http.Handler, path string, cookies map[string]string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", "https://app.example.com"+path, nil)
	for name, value := range cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if cookies[c.Name] = c.Value; c.MaxAge < 0 {
			delete(cookies, c.Name)
		}
	}
	return w
}

func Example() {
	auth, stytch := newExample(stytchmigrate.LegacyCookie{Name: "sid", Resolve: resolvePeople})
	defer stytch.Close()

	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if user, ok := stytchmigrate.UserFromContext(r.Context()); ok {
			fmt.Fprint(w, "Hello ", user.Emails[0].Email)
			return
		}
		fmt.Fprint(w, "Please sign in")
	})
	app := auth.Handler(mux)

	browser := map[string]string{"sid": "f0e1d2c3b4a59687"}
	fmt.Println(browse(app, "/", browser).Body)
	fmt.Println("cookies:", len(browser), "sid:", browser["sid"] != "", "calls:", len(stytch.Calls()))
	fmt.Println(browse(app, "/", browser).Body) // the Stytch cookies have come back
	fmt.Println("cookies:", len(browser), "sid:", browser["sid"] != "", "calls:", len(stytch.Calls()))
	fmt.Println(browse(app, "/", map[string]string{}).Body)
	// Output:
	// Hello ada@example.com
	// cookies: 3 sid: true calls: 1
	// Hello ada@example.com
	// cookies: 2 sid: false calls: 1
	// Please sign in
}

// A cookie of gorilla/sessions, whose store keeps its values in the cookie.
func ExampleSecureCookie() {
	codecs := securecookie.CodecsFromPairs([]byte("the old code's hash key: 32 bytes"), nil)
	legacy := stytchmigrate.SecureCookie(stytchmigrate.LegacyCookie{Name: "sid"}, codecs,
		func(r *http.Request, values map[any]any) (stytchmigrate.LegacySession, error) {
			id, _ := values["session"].(string)
			if id == "" || values["second factor pending"] == true {
				return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
			}
			return resolvePeople(r, id)
		})
	auth, stytch := newExample(legacy)
	defer stytch.Close()

	value, err := codecs[0].Encode("sid", map[any]any{"session": "f0e1d2c3b4a59687"})
	if err != nil {
		fmt.Println(err)
		return
	}
	app := auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, stytchmigrate.OutcomeFromContext(r.Context()))
	}))
	fmt.Println(browse(app, "/", map[string]string{"sid": value}).Body)
	fmt.Println(browse(app, "/", map[string]string{"sid": value[1:]}).Body)
	// Output:
	// migrated
	// anonymous
}

// The two old handlers stay as they are, but for one call each. Without it a user who
// logs out, or logs in as another person, would keep the Stytch session.
func ExampleMiddleware_Logout() {
	auth, stytch := newExample(stytchmigrate.LegacyCookie{Name: "sid", Resolve: resolvePeople})
	defer stytch.Close()

	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("password") != "correct" {
			http.Error(w, "Wrong password.", http.StatusForbidden) // the user who was signed in before stays
			return
		}
		if err := auth.Logout(w, r); err != nil { // now that one goes
			slog.Warn("old session", "error", err)
		}
		http.SetCookie(w, &http.Cookie{Name: "sid", Value: "f0e1d2c3b4a59687", Path: "/"})
	})
	mux.HandleFunc("/logout", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "sid", Path: "/", MaxAge: -1})
		if err := auth.Logout(w, r); err != nil { // Stytch may not know of the logout
			slog.Warn("logout", "error", err)
		}
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, stytchmigrate.OutcomeFromContext(r.Context()))
	})
	app := auth.Handler(mux)

	browser := map[string]string{}
	browse(app, "/login?password=correct", browser)
	stolen := map[string]string{"sid": browser["sid"]}
	fmt.Println(browse(app, "/", browser).Body)
	browse(app, "/logout", browser)
	fmt.Println(len(browser), "cookies")
	fmt.Println(browse(app, "/", browser).Body)
	fmt.Println(browse(app, "/", stolen).Body)
	// Output:
	// migrated
	// 0 cookies
	// anonymous
	// refused
}

// The handler of the new login. Stytch has answered it with a session: of a magic link, a
// one-time code, OAuth or a password. SignIn sets the cookies of that session, and ends
// what the browser had before.
func ExampleMiddleware_SignIn() {
	auth, stytch := newExample(stytchmigrate.LegacyCookie{Name: "sid", Resolve: resolvePeople})
	defer stytch.Close()
	ada, _ := stytch.User(stytch.Users()[0].ID)

	mux := http.NewServeMux()
	mux.HandleFunc("/authenticate", func(w http.ResponseWriter, r *http.Request) {
		answer := stytch.NewSession(ada.ID, time.Hour) // as from Stytch's POST /v1/otps/authenticate
		err := auth.SignIn(w, r, stytchmigrate.Secret(answer.Token), stytchmigrate.Secret(answer.JWT))
		switch {
		case errors.Is(err, stytchmigrate.ErrNoSession):
			http.Error(w, "Please sign in again.", http.StatusUnauthorized)
		case err != nil: // Stytch can't be reached, or no cookie can be set
			http.Error(w, "Please try again.", http.StatusServiceUnavailable)
		default:
			http.Redirect(w, r, "/", http.StatusSeeOther)
		}
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		user, ok := stytchmigrate.UserFromContext(r.Context())
		fmt.Fprint(w, stytchmigrate.OutcomeFromContext(r.Context()))
		if ok {
			fmt.Fprint(w, " ", user.Emails[0].Email)
		}
	})
	app := auth.Handler(mux)

	browser := map[string]string{}
	fmt.Println(browse(app, "/", browser).Body)
	fmt.Println(browse(app, "/authenticate", browser).Code)
	fmt.Println(browse(app, "/", browser).Body)
	// Output:
	// anonymous
	// 303
	// authenticated ada@example.com
}

// The handler of "change password". Other devices must not stay signed in by the old one.
// Stytch begins the new session after EndSessions, which would end it too.
func ExampleMiddleware_EndSessions() {
	auth, stytch := newExample(stytchmigrate.LegacyCookie{Name: "sid", Resolve: resolvePeople})
	defer stytch.Close()
	ada := stytch.Users()[0].ID
	mux := http.NewServeMux()
	mux.HandleFunc("/password", func(w http.ResponseWriter, r *http.Request) {
		user, ok := stytchmigrate.UserFromContext(r.Context())
		if !ok { // not moved yet: pass your own id
			http.Error(w, "Please sign in.", http.StatusUnauthorized)
			return
		}
		// Change the password at Stytch, and end the user's old sessions in your own store. Then:
		if err := auth.EndSessions(r.Context(), user.UserID); err != nil { // some may not have ended: try again
			http.Error(w, "Please try again.", http.StatusServiceUnavailable)
			return
		}
		answer := stytch.NewSession(user.UserID, time.Hour) // as from POST /v1/passwords/authenticate
		if err := auth.SignIn(w, r, stytchmigrate.Secret(answer.Token), stytchmigrate.Secret(answer.JWT)); err != nil {
			http.Error(w, "Please sign in.", http.StatusUnauthorized)
		}
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, stytchmigrate.OutcomeFromContext(r.Context()))
	})
	app := auth.Handler(mux)

	device := func() map[string]string {
		s := stytch.NewSession(ada, time.Hour)
		return map[string]string{"stytch_session": s.Token, "stytch_session_jwt": s.JWT}
	}
	here, phone := device(), device()
	fmt.Println(browse(app, "/", here).Body, browse(app, "/", phone).Body)
	browse(app, "/password", here)
	fmt.Println(browse(app, "/", here).Body, browse(app, "/", phone).Body)
	// Output:
	// authenticated authenticated
	// authenticated anonymous
}

// Call Check once the server listens. It names every wrong setting before users come.
func ExampleMiddleware_Check() {
	auth, stytch := newExample(stytchmigrate.LegacyCookie{Name: "sid", Resolve: resolvePeople})
	defer stytch.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	fmt.Println(auth.Check(ctx))

	stytch.SetUserInfo(nil) // as if the URL were not set in the dashboard
	fmt.Println(auth.Check(ctx))
	// Output:
	// <nil>
	// stytchmigrate: UserInfo URL in the Stytch dashboard: there is none, or it is no URL (400 migrate_from_external_missing_userinfo): nobody can move; set it to where userinfo.Handler is mounted
}

// The first day: users stay where they were, and Explain says why.
func ExampleMiddleware_Explain() {
	explain := func(auth *stytchmigrate.Middleware, cookie, value string) {
		r := httptest.NewRequest("GET", "https://app.example.com/", nil)
		r.AddCookie(&http.Cookie{Name: cookie, Value: value})
		fmt.Print(fingerprint.ReplaceAllString(auth.Explain(r), "fingerprint …"), "\n")
	}
	codec := func(key string) securecookie.Codec { return securecookie.New([]byte(key), nil) }
	byCookie := stytchmigrate.SecureCookie(stytchmigrate.LegacyCookie{Name: "sid"}, []securecookie.Codec{codec("a key of 32 bytes, not the right"), codec("another key of 32 bytes, neither")}, resolvePeople)

	auth, stytch := newExample(byCookie)
	defer stytch.Close()
	value, _ := codec("the old code's hash key: 32 bytes").Encode("sid", "f0e1d2c3b4a59687")
	explain(auth, "sid", value)          // the codecs have other keys than the old code
	explain(auth, "SESSIONID", "a1b2c3") // the old cookie has another name

	auth, stytch = newExample(stytchmigrate.LegacyCookie{Name: "sid", Resolve: resolvePeople})
	defer stytch.Close()
	explain(auth, "sid", "00112233aabbccdd") // nobody has verified Bob's email
	_ = auth.SetRollout(stytchmigrate.Rollout{Stage: stytchmigrate.StageObserve})
	explain(auth, "sid", "f0e1d2c3b4a59687") // the rollout moves nobody yet
	// Output:
	// cookie sid: 96 bytes, none of 2 codecs has its MAC: wrong keys or another cookie's name
	// other cookies: 0
	// rollout: stage replace
	// outcome: anonymous: no cookie holds a session
	// response: it may change cookies
	//
	// cookies: none is named sid, stytch_session, stytch_session_jwt
	// other cookies: 1
	// rollout: stage replace
	// outcome: anonymous: no cookie holds a session
	// response: it may change cookies
	//
	// cookie sid: 16 bytes, a session: subject 18, fingerprint …
	// other cookies: 0
	// rollout: stage replace
	// outcome: refused, cause identity: userinfo: email is not verified
	// response: it may change cookies
	//
	// cookie sid: 16 bytes, a session: subject 17, fingerprint …
	// other cookies: 0
	// rollout: stage observe
	// outcome: legacy, cause observe
	// response: it may change cookies
}

// Until every user has moved, handlers serve the others by their old session. So they do
// when Stytch can't be reached.
func ExampleLegacyFromContext() {
	auth, stytch := newExample(stytchmigrate.LegacyCookie{Name: "sid", Resolve: resolvePeople})
	defer stytch.Close()
	stytch.FailAll(stytchtest.Any, stytchtest.Error(503, "server_unavailable"))

	app := auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, ok := stytchmigrate.UserFromContext(r.Context()); ok {
			fmt.Fprint(w, user.ExternalID)
		} else if old, ok := stytchmigrate.LegacyFromContext(r.Context()); ok {
			fmt.Fprint(w, "user ", old.Identity.Subject, " as before: ", stytchmigrate.OutcomeFromContext(r.Context()))
		}
	}))
	w := browse(app, "/", map[string]string{"sid": "f0e1d2c3b4a59687"})
	fmt.Println(w.Body)
	fmt.Println(len(w.Result().Cookies()), "cookies changed")
	// Output:
	// user 17 as before: unavailable
	// 0 cookies changed
}

// A handler can be tested without the middleware and without Stytch.
func ExampleNewContext() {
	handler := func(w http.ResponseWriter, r *http.Request) {
		if user, ok := stytchmigrate.UserFromContext(r.Context()); ok {
			fmt.Fprint(w, "Hello ", user.UserID)
			return
		}
		w.WriteHeader(http.StatusUnauthorized)
	}
	r := httptest.NewRequest("GET", "/", nil)
	for _, user := range []*stytchmigrate.User{{UserID: "user-test-1"}, nil} {
		w := httptest.NewRecorder()
		handler(w, r.WithContext(stytchmigrate.NewContext(r.Context(), user, nil)))
		fmt.Println(w.Code, w.Body)
	}
	// Output:
	// 200 Hello user-test-1
	// 401
}

// Stytch matches users by email. A user who can type any address into a profile would
// get the account of its owner. So an unverified address is refused before any call. Set
// EmailVerified only if the application has verified the address. The old session goes
// on.
func ExampleLegacyCookie_unverifiedEmail() {
	auth, stytch := newExample(stytchmigrate.LegacyCookie{Name: "sid", Resolve: resolvePeople})
	defer stytch.Close()
	app := auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		old, _ := stytchmigrate.LegacyFromContext(r.Context())
		fmt.Fprint(w, stytchmigrate.OutcomeFromContext(r.Context()), ", user ", old.Identity.Subject)
	}))
	fmt.Println(browse(app, "/", map[string]string{"sid": "00112233aabbccdd"}).Body)
	fmt.Println("calls:", len(stytch.Calls()))
	// Output:
	// refused, user 18
	// calls: 0
}

// accessToken is an access token whose signature and expiry the provider's library has
// checked.
type accessToken struct{ Audience, Raw string }

func parseAccessToken(value string) (accessToken, error) {
	audience, _, _ := strings.Cut(value, ".")
	return accessToken{Audience: audience, Raw: value}, nil
}

// A provider issues access tokens to other applications too, and its UserInfo endpoint
// takes all of them. Check the audience, or another application could sign in here with
// its users' tokens.
func ExampleLegacyCookie_accessToken() {
	legacy := stytchmigrate.LegacyCookie{Name: "access_token", Resolve: func(_ *http.Request, value string) (stytchmigrate.LegacySession, error) {
		token, err := parseAccessToken(value)
		if err != nil || token.Audience != "our-client" {
			return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
		}
		return stytchmigrate.LegacySession{Token: stytchmigrate.Secret(token.Raw)}, nil
	}}
	auth, stytch := newExample(legacy)
	defer stytch.Close()
	app := auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, stytchmigrate.OutcomeFromContext(r.Context()))
	}))
	for _, value := range []string{"our-client.17.signature", "another-client.17.signature"} {
		stytch.Accept(value, "ada@example.com") // as the provider's UserInfo endpoint does
		fmt.Println(browse(app, "/", map[string]string{"access_token": value}).Body)
	}
	fmt.Println("calls:", len(stytch.Calls()))
	// Output:
	// migrated
	// anonymous
	// calls: 1
}

// A test of a handler alone, with a user who has moved and with one who has not.
func ExampleNewLegacyContext() {
	account := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, ok := stytchmigrate.UserFromContext(r.Context()); ok {
			fmt.Fprint(w, "account ", user.ExternalID)
		} else if old, ok := stytchmigrate.LegacyFromContext(r.Context()); ok {
			fmt.Fprint(w, "account ", old.Identity.Subject)
		}
	})
	ctx := context.Background()
	for _, ctx := range []context.Context{
		stytchmigrate.NewContext(ctx, &stytchmigrate.User{ExternalID: "17"}, nil),
		stytchmigrate.NewLegacyContext(ctx, stytchmigrate.LegacySession{Identity: userinfo.Identity{Subject: "18"}}),
	} {
		w := httptest.NewRecorder()
		account.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", "/account", nil))
		fmt.Println(w.Body)
	}
	// Output:
	// account 17
	// account 18
}
