package sessionjwt

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"time"
)

const (
	sessionClaim = "https://stytch.com/session"
	legacyClaim  = "legacy_session"
	browserClaim = "until_browser_closes"
	userPrefix   = "user-"

	// maxDate is the end of year 9999, the last that RFC 3339 can write.
	maxDate = 253402300799
)

// Claims is what a session JWT says that passed every rule. Its fields hold
// what Stytch signed; strings may hold anything that JSON can.
type Claims struct {
	UserID    string // sub, as in "user-live-…"
	SessionID string

	// LegacySession is the custom claim legacy_session, "" if the token has none
	// or it isn't a string. It is in Custom too.
	LegacySession string

	// UntilBrowserCloses is the custom claim until_browser_closes, false if it is
	// anything but true. It is in Custom too.
	UntilBrowserCloses bool

	// IssuedAt and ExpiresAt are of the JWT, which lives five minutes.
	IssuedAt, ExpiresAt time.Time

	// SessionStartedAt and SessionExpiresAt are of the session. A token that
	// doesn't say when its session started has a zero SessionStartedAt; one that
	// doesn't say when it ends, as old ones don't, has ExpiresAt in its place.
	SessionStartedAt, SessionExpiresAt time.Time

	// Session is the rest of what the token says of its session.
	Session Session

	// Custom holds the top-level claims that are neither of RFC 7519 nor the
	// session, as encoding/json decodes them into any, numbers as json.Number; nil if there are none.
	Custom map[string]any
}

// Session is what a session JWT says of its session beyond identity and dates.
// Nothing here decides whether a token is accepted: what is absent, or not of
// the type that Stytch documents, is left zero.
type Session struct {
	LastAccessedAt        time.Time
	IPAddress             string
	UserAgent             string
	AuthenticationFactors json.RawMessage // a JSON array, nil if absent
	Roles                 []string
}

// IsImpersonated reports whether someone of the project's staff acts as the user. Stytch
// does not extend such a session.
func (s *Session) IsImpersonated() bool {
	var factors []struct {
		Type           string `json:"type"`
		DeliveryMethod string `json:"delivery_method"`
	}
	_ = json.Unmarshal(s.AuthenticationFactors, &factors) // factors of another form are passed over
	for _, f := range factors {
		if f.Type == "impersonated" || f.DeliveryMethod == "impersonation" {
			return true
		}
	}
	return false
}

// claimSet is Claims, and the claims that are judged and then of no more use.
type claimSet struct {
	Claims
	issuer    string
	audience  []string
	notBefore time.Time // zero if absent
}

// parseClaims reads the payload of a session JWT. It judges types and form, so
// that what it returns looks like a session JWT of some Stytch project.
func parseClaims(doc []byte) (*claimSet, error) {
	var room [16]member
	all, err := parseObject(room[:0], doc)
	if err != nil {
		return nil, err
	}
	c := &claimSet{}
	for _, m := range all {
		if err := c.set(m); err != nil {
			return nil, err
		}
	}
	switch {
	case c.issuer == "":
		return nil, refusal("iss is absent or empty")
	case len(c.audience) == 0:
		return nil, refusal("aud is absent or empty")
	case c.UserID == "":
		// Also signed by the project's keys: machine-to-machine tokens, whose sub
		// is a client.
		return nil, refusal("sub is absent")
	case c.IssuedAt.IsZero() || c.ExpiresAt.IsZero():
		return nil, refusal("iat or exp is absent")
	case c.SessionID == "":
		// Also signed by the project's keys: access tokens of third-party
		// applications, whose sub is a user, but who have no session.
		return nil, refusal("no session claim with an id")
	}
	if c.SessionExpiresAt.IsZero() {
		c.SessionExpiresAt = c.ExpiresAt
	}
	return c, nil
}

// set takes one claim in.
func (c *claimSet) set(m member) error {
	ok := true
	switch string(m.name) {
	case "iss":
		c.issuer, ok = text(m.value)
	case "aud":
		c.audience, ok = audience(m.value)
	case "sub":
		c.UserID, ok = text(m.value)
		ok = ok && strings.HasPrefix(c.UserID, userPrefix) && len(c.UserID) > len(userPrefix)
	case "iat":
		c.IssuedAt, ok = numericDate(m.value)
	case "exp":
		c.ExpiresAt, ok = numericDate(m.value)
	case "nbf":
		c.notBefore, ok = numericDate(m.value)
	case "jti":
	case sessionClaim:
		return c.setSession(m.value)
	default:
		switch string(m.name) {
		case legacyClaim:
			c.LegacySession, _ = text(m.value)
		case browserClaim:
			c.UntilBrowserCloses = string(m.value) == "true"
		}
		if c.Custom == nil {
			c.Custom = make(map[string]any)
		}
		c.Custom[string(m.name)] = custom(m.value)
	}
	if !ok {
		return refusal(m.rule())
	}
	return nil
}

// custom decodes a claim that is the application's own. Numbers stay as they are
// written: a float64 would round an id of 19 digits.
func custom(value []byte) (v any) {
	if s, ok := text(value); ok {
		return s
	}
	d := json.NewDecoder(bytes.NewReader(value))
	d.UseNumber()
	_ = d.Decode(&v) // the whole payload is known to be valid JSON
	return v
}

// rule says what a registered claim has to be, in words that hold nothing of a
// token.
func (m member) rule() string {
	switch string(m.name) {
	case "iss":
		return "iss is not a string"
	case "aud":
		return "aud is neither a string nor an array of strings"
	case "sub":
		return "sub is not a user"
	default:
		return "iat, exp or nbf is not a date"
	}
}

// setSession takes the session claim in. Dates that we act upon must be right
// if they are there: a start that can't be read must not pass for none.
func (c *claimSet) setSession(value []byte) error {
	var room [12]member
	all, err := members(room[:0], value)
	if err != nil {
		return err
	}
	for _, m := range all {
		ok := true
		switch string(m.name) {
		case "id":
			c.SessionID, ok = text(m.value)
		case "started_at":
			c.SessionStartedAt, ok = date(m.value)
		case "expires_at":
			c.SessionExpiresAt, ok = date(m.value)
		case "last_accessed_at":
			c.Session.LastAccessedAt, _ = date(m.value)
		case "attributes":
			c.Session.setAttributes(m.value)
		case "authentication_factors":
			if m.value[0] == '[' {
				c.Session.AuthenticationFactors = bytes.Clone(m.value)
			}
		case "roles":
			c.Session.Roles, _ = texts(m.value)
		}
		if !ok {
			return refusal("the session's id, started_at or expires_at is malformed")
		}
	}
	return nil
}

func (s *Session) setAttributes(value []byte) {
	var room [4]member
	all, _ := members(room[:0], value)
	for _, m := range all {
		switch string(m.name) {
		case "ip_address":
			s.IPAddress, _ = text(m.value)
		case "user_agent":
			s.UserAgent, _ = text(m.value)
		}
	}
}

// audience reads aud, which RFC 7519, Section 4.1.3 lets be a string or an
// array of strings.
func audience(value []byte) ([]string, bool) {
	if one, ok := text(value); ok {
		return []string{one}, one != ""
	}
	return texts(value)
}

// numericDate reads a NumericDate of RFC 7519, Section 2: seconds, perhaps with
// a fraction. Bounds keep it clear of where float64 and time.Time overflow.
func numericDate(value []byte) (time.Time, bool) {
	n, ok := number(value)
	if !ok || n <= 0 || n > maxDate {
		return time.Time{}, false
	}
	seconds, fraction := math.Modf(n)
	return time.Unix(int64(seconds), int64(fraction*float64(time.Second))).UTC(), true
}

// date reads a date of the session claim, RFC 3339 with or without a fraction;
// null and "" are none.
func date(value []byte) (t time.Time, ok bool) {
	if isNull(value) {
		return t, true
	}
	s, ok := text(value)
	if !ok || s == "" {
		return t, ok
	}
	t, err := time.Parse(time.RFC3339, s)
	return t, err == nil
}
