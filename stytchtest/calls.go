package stytchtest

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Op names an endpoint. Untyped string constants will do: s.Count("migrate").
// A method that is given an Op that does not exist panics, since a test with a
// misspelt one would pass for the wrong reason.
type Op string

// The endpoints that are served, and Any, which is all of them and requests to
// unknown paths as well.
const (
	Migrate         Op = "migrate"
	Authenticate    Op = "authenticate"
	Revoke          Op = "revoke"
	JWKS            Op = "jwks"
	CreateUser      Op = "create_user"
	GetUser         Op = "get_user"
	ListSessions    Op = "list_sessions"
	SendOTP         Op = "send_otp"
	AuthenticateOTP Op = "authenticate_otp"
	Any             Op = "*"
)

// unknownRoute is the Op of requests to paths that are not served.
const unknownRoute Op = ""

var ops = []Op{Migrate, Authenticate, Revoke, JWKS, CreateUser, GetUser, ListSessions, SendOTP, AuthenticateOTP, Any}

func (op Op) mustExist() {
	if !slices.Contains(ops, op) {
		panic("stytchtest: no such op: " + string(op))
	}
}

// Call is one request that arrived at the server, whatever became of it. It is
// a copy: changing it changes nothing. The tokens in it are those of a test; it
// is nothing to log where real ones might be.
type Call struct {
	Op        Op // empty for a path that is not served
	Method    string
	Host      string
	Path      string
	Header    http.Header    // as received, but without Authorization
	Body      map[string]any // the request's JSON object; nil if it had none
	BasicAuth bool           // the project's credentials were given, and right

	// The request's members by name; zero if absent or of another type.
	SessionToken    string
	SessionJWT      string
	SessionID       string
	DurationMinutes int
	CustomClaims    map[string]any
	TelemetryID     string
	UserID          string // of the query of a list_sessions call

	Start       time.Time
	End         time.Time // see InFlight; zero until then
	RequestID   string    // in the answer, if the answer says one
	Status      int       // HTTP status of the answer; zero if there was none
	UserInfoErr error     // why a migrate call could not learn whose the token is
}

// Calls returns all calls in the order of their arrival, those in flight too.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := make([]Call, len(s.calls))
	for i, c := range s.calls {
		calls[i] = *c
		calls[i].Header = c.Header.Clone()
		calls[i].Body = cloneJSON(c.Body)
		calls[i].CustomClaims = cloneJSON(c.CustomClaims)
	}
	return calls
}

// Count returns how many calls of op arrived, those in flight too.
func (s *Server) Count(op Op) int {
	op.mustExist()
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, c := range s.calls {
		if op == Any || c.Op == op {
			n++
		}
	}
	return n
}

// InFlight returns how many calls of op are in flight: from their arrival until
// their answer begins, or the server notices that their client has left. A
// client that has its answer finds the call ended.
func (s *Server) InFlight(op Op) int {
	op.mustExist()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inFlight[op]
}

// MaxInFlight returns the highest InFlight there was since ResetCalls.
func (s *Server) MaxInFlight(op Op) int {
	op.mustExist()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peak[op]
}

// ResetCalls forgets the calls so far. Users, sessions and scripted faults stay.
// A test that measures memory calls it first: a server keeps every call.
func (s *Server) ResetCalls() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = nil
	s.peak = maps.Clone(s.inFlight)
}

// begin records the arrival of a call. Body is the request's, read already.
func (s *Server) begin(r *http.Request, op Op, body []byte) *Call {
	user, secret, ok := r.BasicAuth()
	c := &Call{
		Op: op, Method: r.Method, Host: r.Host, Path: r.URL.Path,
		Header:    r.Header.Clone(),
		BasicAuth: ok && user == s.ProjectID && secret == s.Secret,
		Start:     s.now(),
		RequestID: s.newID("request-id"),
	}
	c.Header.Del("Authorization")
	c.Body, _ = decodeObject(body)
	c.SessionToken, _ = c.Body["session_token"].(string)
	c.SessionJWT, _ = c.Body["session_jwt"].(string)
	c.SessionID, _ = c.Body["session_id"].(string)
	c.UserID = r.URL.Query().Get("user_id")
	c.TelemetryID, _ = c.Body["telemetry_id"].(string)
	c.CustomClaims, _ = c.Body["session_custom_claims"].(map[string]any)
	c.DurationMinutes, _ = minutes(c.Body)

	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, c)
	for _, op := range []Op{op, Any} {
		s.inFlight[op]++
		s.peak[op] = max(s.peak[op], s.inFlight[op])
	}
	return c
}

// end takes a call out of flight, with the status of its answer or zero. Only
// the first end of a call counts.
func (s *Server) end(c *Call, status int) {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !c.End.IsZero() {
		return
	}
	c.End, c.Status = now, status
	s.inFlight[c.Op]--
	s.inFlight[Any]--
}

// decodeObject decodes a JSON object; false if body is anything else.
func decodeObject(body []byte) (map[string]any, bool) {
	d := json.NewDecoder(strings.NewReader(string(body)))
	var m map[string]any
	if d.Decode(&m) != nil || d.More() {
		return nil, false
	}
	return m, m != nil
}

// cloneJSON copies a JSON object to its depths, so that a test that changes what
// it was given does not change the server.
func cloneJSON(m map[string]any) map[string]any {
	if m == nil {
		return nil
	}
	return cloneValue(m).(map[string]any)
}

func cloneValue(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, x := range v {
			m[k] = cloneValue(x)
		}
		return m
	case []any:
		a := make([]any, len(v))
		for i, x := range v {
			a[i] = cloneValue(x)
		}
		return a
	}
	return v
}
