// Package userinfo tells Stytch whose legacy session it is about to migrate.
//
// When an application asks Stytch to migrate a session, Stytch takes the legacy
// token it was given and calls a UserInfo endpoint of the application's with it.
// The answer's email decides which Stytch user gets the session.
//
// An application without an identity provider has neither such tokens nor such
// an endpoint, and gets both here: [Tickets] turns an [Identity] into a token
// that lives for a minute, and [Handler] redeems it. Most callers need only this:
//
//	tickets, err := userinfo.NewTickets(hashKey, blockKey)
//	// …
//	mux.Handle("/userinfo", userinfo.Handler(tickets.Redeem))
//
// and give the same tickets to the middleware that migrates the sessions. The
// endpoint may run on another machine, or in another program, with the same keys.
//
// An application that has tokens of its own gives Handler a function that looks
// them up instead.
//
// The endpoint must be reachable from the internet and be served while the
// middleware waits for Stytch: put no limit on it that those waiting requests
// count towards.
package userinfo

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"runtime/debug"
	"time"
)

// ErrInvalidToken is the error of a token that tells nobody's identity: forged,
// expired, revoked, unknown or of another project. Which of them is not said,
// for whoever tries tokens would learn from it.
//
// A lookup given to [Handler] returns it, or an error that wraps it, for "no".
// Any other error is taken for "can't tell".
var ErrInvalidToken = errors.New("userinfo: invalid token")

// Handler returns the UserInfo endpoint of OpenID Connect Core §5.3: it answers
// a GET, HEAD or POST that carries a bearer token with the claims of the
// [Identity] that lookup finds for the token. It is safe for concurrent use if
// lookup is. It panics at once if lookup is nil, as [http.Handle] does.
//
// The token is taken from the Authorization header. A POST without that header
// may carry it in a form instead, as access_token (RFC 6750 §2.2): OpenID Connect
// allows both, and which of them Stytch uses is not documented. Any page can post
// a form, but one that has a token to put in gains nothing by that: a request
// changes nothing, and what is answered to a form no page of another site can
// read. What stands in a URL ends up in logs, so a token there is refused.
//
// Of a form 64 KB are read at most, for 10 seconds, and of any other body nothing.
//
// The email and email_verified claims are present only if the email is verified
// and well-formed. Stytch matches users by it, and an address that nobody
// verified would open its owner's account to whoever typed it in.
//
// Answers but the 200 have a fixed text, and a bearer challenge as in RFC 6750 §3:
//
//   - 400 invalid_request: the header or the form is malformed, or there is a
//     second token, or one in the URL
//   - 401 without an error code: no bearer token
//   - 401 invalid_token: lookup returned [ErrInvalidToken]
//   - 405: another method
//   - 503 with Retry-After: lookup returned another error, or any error once the
//     request's context had ended; or it panicked, or found an Identity without
//     a well-formed Subject
//
// lookup runs in the request's goroutine and is given its context, whose end it
// must respect. Its errors are not logged, because their text may hold the token;
// a lookup that fails in ways worth knowing should log them itself. A panic goes
// to the server's ErrorLog as the type of its value and the stack, for the same
// reason; [http.ErrAbortHandler] is passed on.
func Handler(lookup func(ctx context.Context, token string) (Identity, error)) http.Handler {
	if lookup == nil {
		panic("userinfo: nil lookup")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isForm(r) {
			// Or a byte now and then holds the handler for as long as it likes, where
			// the server bounds only headers. Where it can't be set, that is so.
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(formTime))
		}
		token, a, ok := readToken(r)
		if ok {
			a = ask(r, token, lookup)
		}
		a.write(w, r)
	})
}

// answer is a response that was decided on and not yet written.
type answer struct {
	status     int
	challenge  string // WWW-Authenticate
	retryAfter string
	allow      string
	body       string // JSON for 200, else plain text
}

// The refusals. invalidToken must stay the same whatever is wrong with a token.
var (
	noToken = answer{
		status: http.StatusUnauthorized, challenge: `Bearer`,
		body: "a bearer token is needed, in the Authorization header or a form\n",
	}
	invalidRequest = answer{
		status: http.StatusBadRequest, challenge: `Bearer error="invalid_request"`,
		body: "exactly one well-formed bearer token is needed, in the Authorization header or a form\n",
	}
	invalidToken = answer{
		status: http.StatusUnauthorized, challenge: `Bearer error="invalid_token"`,
		body: "the token is not valid\n",
	}
	methodNotAllowed = answer{
		status: http.StatusMethodNotAllowed, allow: "GET, HEAD, POST",
		body: "method not allowed\n",
	}
	unavailable = answer{
		status: http.StatusServiceUnavailable, retryAfter: "5",
		body: "the token can't be looked up now\n",
	}
)

// ask decides what to answer to a request whose token has the right form. Code
// of the application runs in it: lookup, and the methods of the error it returns.
func ask(r *http.Request, token string, lookup func(context.Context, string) (Identity, error)) (a answer) {
	defer func() {
		switch v := recover(); v {
		case nil:
		case http.ErrAbortHandler:
			panic(v)
		default:
			// The panic's value may quote the token, its type and the stack don't:
			// a stack shows where a string is, not what is in it.
			logf(r, "userinfo: lookup panicked with a value of type %T\n%s", v, debug.Stack())
			a = unavailable
		}
	}()

	id, err := lookup(r.Context(), token)
	if err != nil {
		// A lookup that was cut short may have found nothing for no other reason.
		cutShort := r.Context().Err() != nil ||
			errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
		if errors.Is(err, ErrInvalidToken) && !cutShort {
			return invalidToken
		}
		return unavailable
	}
	if err := id.checkSubject(); err != nil {
		logf(r, "userinfo: lookup returned an unusable Identity: %v", err)
		return unavailable
	}
	body, err := json.Marshal(id.claims())
	if err != nil {
		return unavailable
	}
	return answer{status: http.StatusOK, body: string(body)}
}

// logf writes to where the server that r came through writes its own errors.
func logf(r *http.Request, format string, args ...any) {
	if srv, ok := r.Context().Value(http.ServerContextKey).(*http.Server); ok && srv != nil && srv.ErrorLog != nil {
		srv.ErrorLog.Printf(format, args...)
		return
	}
	log.Printf(format, args...)
}

func (a answer) write(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	if a.status == http.StatusOK {
		h.Set("Content-Type", "application/json")
	}
	// Refusals are not to be kept either: the same token may be good again once
	// a clock is right or a database is back.
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	for name, value := range map[string]string{
		"WWW-Authenticate": a.challenge, "Retry-After": a.retryAfter, "Allow": a.allow,
	} {
		if value != "" {
			h.Set(name, value)
		}
	}
	w.WriteHeader(a.status)
	if r.Method != http.MethodHead {
		io.WriteString(w, a.body) // a client that went away can't be told so
	}
}
