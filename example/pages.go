package main

import (
	"bytes"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"

	"example.com/stytchmigrate"
)

//go:embed page.html
var pageSource string

var page = template.Must(template.New("page").Parse(pageSource))

// account is who a request is from. It is the answer of GET /me, and most of
// what the home page shows.
type account struct {
	Outcome    string `json:"outcome"`
	SignedInBy kind   `json:"signed_in_by"`
	UserID     string `json:"user_id,omitempty"` // the application's own
	Name       string `json:"name,omitempty"`

	StytchUserID  string    `json:"stytch_user_id,omitempty"`
	StytchEmail   string    `json:"stytch_email,omitempty"`
	StytchSession string    `json:"stytch_session_id,omitempty"`
	ExpiresAt     time.Time `json:"expires_at,omitzero"`
}

func (a *app) accountOf(r *http.Request) account {
	ctx := r.Context()
	p, by := a.whose(r)
	out := account{
		Outcome:    stytchmigrate.OutcomeFromContext(ctx).String(),
		SignedInBy: by, UserID: p.ID, Name: p.Name,
	}
	if user, ok := stytchmigrate.UserFromContext(ctx); ok {
		out.StytchUserID = user.UserID
		if len(user.Emails) > 0 { // none where User.Partial
			out.StytchEmail = user.Emails[0].Email
		}
	}
	if session, ok := stytchmigrate.SessionFromContext(ctx); ok {
		out.StytchSession, out.ExpiresAt = session.SessionID, session.ExpiresAt
	}
	return out
}

// status is 503 where nobody can say who is there: a 401, or a page for
// strangers, would tell a user who is signed in that they are not.
func (a account) status() int {
	if a.Outcome == stytchmigrate.OutcomeUnavailable.String() && a.SignedInBy == nobody {
		return http.StatusServiceUnavailable
	}
	return http.StatusOK
}

// meanings explain the outcomes to the visitor.
var meanings = map[string]string{
	"anonymous":     "No session came with this request, or none that lives.",
	"authenticated": "A Stytch session came with this request.",
	"migrated":      "The old session came with this request, and became a Stytch session in it. The old cookie goes once the new ones have come back, with the next page.",
	"legacy":        "The old session is left alone for now: the operators chose that.",
	"refused":       "The old session can't become a Stytch session: here, because the email is not verified. It stays what it was, and goes on.",
	"unavailable":   "Stytch can't be asked just now. No cookie is touched; the next request tries again.",
}

// view is what page.html is given.
type view struct {
	Title, Page string // Page is home, cookies or code
	SignedIn    bool   // or the browser holds a session cookie, where that is all that is known
	Account     account
	Meaning     string
	Came, Holds []cookieView
	Calls       []entry // in this request
	People      []person
	HasOld      bool // the old sign-in is in the code
	StandIn     bool
	Down        bool

	// Of the page that asks for a code.
	Person                person
	MethodID, Code, Wrong string
}

// home says who is signed in, and what came of the request.
func (a *app) home(w http.ResponseWriter, r *http.Request) {
	v := a.view("Who am I", r)
	v.Page, v.Account = "home", a.accountOf(r)
	v.SignedIn = v.Account.SignedInBy != nobody
	v.Meaning = meanings[v.Account.Outcome]
	a.render(w, v.Account.status(), v)
}

// cookies shows what the browser holds. The middleware skips it.
func (a *app) cookies(w http.ResponseWriter, r *http.Request) {
	v := a.view("My cookies", r)
	v.Page = "cookies"
	a.render(w, http.StatusOK, v)
}

func (a *app) view(title string, r *http.Request) view {
	v := view{Title: title, People: people, HasOld: a.ready.Load().hasOld, StandIn: a.standIn != nil, Down: a.down.Load()}
	// The request that is passed on holds the cookies that the browser will
	// hold after the response; those that it came with were kept before.
	v.Holds = cookieViews(r.Cookies())
	v.SignedIn = slices.ContainsFunc(v.Holds, func(c cookieView) bool { return c.Kind != notOurs })
	if s, ok := r.Context().Value(seenKey{}).(seen); ok {
		v.Came, v.Calls = cookieViews(s.cookies), a.journal.since(s.position)
	}
	return v
}

// me is the same for programs.
func (a *app) me(w http.ResponseWriter, r *http.Request) {
	out := a.accountOf(r)
	body, err := json.Marshal(out)
	if err != nil {
		a.fail(w, err)
		return
	}
	a.write(w, out.status(), "application/json", body)
}

// render writes a page as a whole or not at all.
func (a *app) render(w http.ResponseWriter, status int, v view) {
	var body bytes.Buffer
	if err := page.Execute(&body, v); err != nil {
		a.fail(w, err)
		return
	}
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	a.write(w, status, "text/html; charset=utf-8", body.Bytes())
}

func (a *app) write(w http.ResponseWriter, status int, contentType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store") // it is one person's; "Back" after a logout must not show it
	h.Set("X-Content-Type-Options", "nosniff")
	if status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "5")
	}
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may have left
}

func (a *app) fail(w http.ResponseWriter, err error) {
	a.log.Error("page failed", "error", err)
	http.Error(w, "Something went wrong.", http.StatusInternalServerError)
}

const notOurs = "not ours"

// cookieView is what may be shown of a cookie: never the whole value, for with
// that anybody who looks over the visitor's shoulder is signed in too.
type cookieView struct {
	Name, Excerpt string
	Length        int
	Kind          string
	ExpiresAt     time.Time // of a JWT
}

func cookieViews(cookies []*http.Cookie) []cookieView {
	kinds := map[string]string{
		oldCookie:            "the old session",
		"stytch_session":     "the Stytch session's token",
		"stytch_session_jwt": "the Stytch session's JWT",
	}
	var out []cookieView
	for _, c := range cookies {
		kind, ours := kinds[c.Name]
		if !ours { // cookies of a host are those of all its ports
			kind = notOurs
		}
		out = append(out, cookieView{c.Name, excerpt(c.Value), len(c.Value), kind, jwtExpiry(c.Value)})
	}
	return out
}

// excerpt is enough of a value to tell two apart. JWTs begin alike, and so do
// secure cookies of one hour; hence the end as well.
func excerpt(value string) string {
	if len(value) < 32 {
		return "…"
	}
	return value[:6] + "…" + value[len(value)-4:]
}

// jwtExpiry reads when a JWT expires, for show: it verifies nothing.
func jwtExpiry(value string) time.Time {
	parts := strings.Split(value, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Expiry int64 `json:"exp"`
	}
	if err != nil || json.Unmarshal(payload, &claims) != nil || claims.Expiry == 0 {
		return time.Time{}
	}
	return time.Unix(claims.Expiry, 0)
}

// ExpiresIn is for people: the time that a JWT has left, or that it has none.
func (c cookieView) ExpiresIn() string {
	switch left := time.Until(c.ExpiresAt).Round(time.Second); {
	case c.ExpiresAt.IsZero():
		return ""
	case left <= 0:
		return "expired"
	default:
		return "expires in " + left.String()
	}
}
