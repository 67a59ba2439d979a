package stytchtest

import (
	"context"
	"io"
	"net/http"
	"strings"
)

// maxRequest is more than any call of a client has reason to send.
const maxRequest = 1 << 20

// route finds the endpoint of a request, and the id at the end of its path.
func route(r *http.Request) (op Op, id string) {
	path := r.URL.Path
	switch r.Method {
	case http.MethodPost:
		switch path {
		case "/v1/sessions/migrate":
			return Migrate, ""
		case "/v1/sessions/authenticate":
			return Authenticate, ""
		case "/v1/sessions/revoke":
			return Revoke, ""
		case "/v1/users":
			return CreateUser, ""
		case "/v1/otps/email/login_or_create":
			return SendOTP, ""
		case "/v1/otps/authenticate":
			return AuthenticateOTP, ""
		}
	case http.MethodGet:
		if path == "/v1/sessions" {
			return ListSessions, ""
		}
		if id, ok := strings.CutPrefix(path, "/v1/sessions/jwks/"); ok && id != "" {
			return JWKS, id
		}
		if id, ok := strings.CutPrefix(path, "/v1/users/"); ok && id != "" && !strings.Contains(id, "/") {
			return GetUser, id
		}
	}
	return unknownRoute, ""
}

// ServeHTTP serves the API. It records the call, lets the fault scripted for it
// take place, if there is one, and answers.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.enter() != nil {
		panic(http.ErrAbortHandler)
	}
	defer s.running.Done()
	// What waits on behalf of the call ends with the client, and with the server.
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()

	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequest))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	op, id := route(r)
	c := s.begin(r, op, body)
	defer s.end(c, 0)
	f := s.takeFault(op)
	f.play(&reply{ResponseWriter: w, server: s, call: c, ctx: ctx, fault: f}, r.WithContext(ctx), func() answer {
		// A client that leaves does not stop work that has begun: it may be
		// done all the same, which is what makes a timeout hard to judge.
		return s.work(s.ctx, c, id)
	})
}

// work does what a call asks for, and decides what to answer.
func (s *Server) work(ctx context.Context, c *Call, id string) answer {
	switch c.Op {
	case unknownRoute:
		return c.fail(&apiError{404, "route_not_found", "Nothing is served at this path by this method."})
	case JWKS:
		return s.serveJWKS(c, id)
	}
	if !c.BasicAuth {
		return c.fail(&apiError{401, "unauthorized_credentials", "The project id or the secret is wrong."})
	}
	if c.Op == ListSessions {
		return s.serveListSessions(c)
	}
	if c.Op == GetUser {
		return s.serveGetUser(c, id)
	}
	if c.Body == nil {
		return c.fail(badRequest("The request's body must be a JSON object."))
	}
	switch c.Op {
	case Migrate:
		return s.serveMigrate(ctx, c)
	case Authenticate:
		return s.serveAuthenticate(c)
	case Revoke:
		return s.serveRevoke(c)
	case SendOTP:
		return s.serveSendOTP(c)
	case AuthenticateOTP:
		return s.serveAuthenticateOTP(c)
	default:
		return s.serveCreateUser(c)
	}
}
