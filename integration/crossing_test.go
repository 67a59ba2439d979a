package integration

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
)

// A revoked session's JWT is good until it expires, on machines that did not
// serve the logout.
const jwtLives = 5*time.Minute + 30*time.Second

// ending is a logout that was completed without an error.
type ending struct {
	at       time.Time
	machine  int
	sessions []string // ids of the Stytch sessions whose cookies it came with
	legacies []string // values of the old cookies that it came with, or that these sessions came from
}

// check holds a response against what must be true of each.
func (w *world) check(v *visit) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := v.rec.Result().Header
	set, deleted, old := stytchLines(v.rec.Result().Cookies())
	if len(set) > 0 && len(deleted) > 0 {
		w.fail(v, "a Stytch cookie is set and one deleted")
	}
	if len(set)+len(deleted)+old > 0 && h.Get("Cache-Control") != "no-store" {
		w.fail(v, "a session cookie without no-store")
	}
	// Of a user who is known by the JWT alone nobody can say that it is not the one
	// who has signed in since: the Stytch session stays then.
	unknown := v.sent.mixed && v.user != nil && v.user.Partial
	if v.user != nil && !unknown && v.user.UserID != w.ids[v.sent.owner] {
		w.fail(v, "the user in the context is "+w.nameOf(v.user.UserID))
	}
	if v.session != nil {
		if !unknown && v.session.UserID != w.ids[v.sent.owner] {
			w.fail(v, "the session in the context is of "+w.nameOf(v.session.UserID))
		}
		w.checkEnded(v, v.session.SessionID, false)
		defer w.served(v)
	}
	if v.legacy != nil && v.legacy.Identity.Subject != "" && v.legacy.Identity.Subject != v.sent.owner {
		w.fail(v, "the legacy session in the context is of "+v.legacy.Identity.Subject)
	}
	for _, c := range set {
		s := w.sessionOf(c)
		if s.UserID != w.ids[v.sent.owner] {
			w.fail(v, c.Name+" is set to a session of "+w.nameOf(s.UserID))
		}
		w.checkEnded(v, s.ID, true)
	}
}

// checkJar fails a response that comes late, and puts a session of one into the
// jar of the other who sits there by now.
func (w *world) checkJar(v *visit, owner string, c *http.Cookie) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := w.sessionOf(c); c.Value != "" && owner != "" && s.UserID != w.ids[owner] {
		w.fail(v, "a session of "+w.nameOf(s.UserID)+" in the jar of "+owner)
	}
}

// isOver says whether cookies are of a session that was logged out on another
// machine than the one that set them from its memory, until the JWT expires.
func (w *world) isOver(cookies []*http.Cookie) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(cookies, func(c *http.Cookie) bool {
		id := w.sessionOf(c).ID
		return c.Name == tokenCookie && slices.ContainsFunc(w.endings, func(e ending) bool {
			return slices.Contains(e.sessions, id) && time.Since(e.at) < jwtLives
		})
	})
}

// served notes that a machine has a session in memory.
func (w *world) served(v *visit) {
	key := fmt.Sprint(v.machine, v.session.SessionID)
	if _, ok := w.first[key]; !ok {
		w.first[key] = v.decided
	}
}

// checkEnded fails a response that has to do with a session that was logged out
// before. What another machine has in memory stays good until the JWT expires;
// but an old cookie is asked about in the store each time, and so is a session
// that Stytch was asked about. What happened elsewhere while the handler ran
// nobody knows.
func (w *world) checkEnded(v *visit, id string, handedOut bool) {
	s, _ := w.stytch.Session(id)
	of, _ := s.CustomClaims["of"].(string)
	for _, e := range w.endings {
		same, at := e.machine == v.machine, v.decided
		if same && handedOut {
			at = time.Now()
		}
		if !e.at.Before(at) {
			continue
		}
		byOld := v.sent.token == "" && v.sent.jwt == ""
		first, ok := w.first[fmt.Sprint(v.machine, id)]
		asked := !ok || first.After(e.at)
		told := same || !w.storeFailed && (at.Sub(e.at) > jwtLives || handedOut && (byOld || asked))
		switch {
		case slices.Contains(e.sessions, id) && told:
			w.fail(v, fmt.Sprintf("session %s was logged out at %s on machine %d", short(id), stamp(e.at), e.machine))
		case slices.Contains(e.legacies, of) && byOld && told:
			w.fail(v, fmt.Sprintf("old cookie %s was logged out at %s on machine %d", of, stamp(e.at), e.machine))
		}
	}
}

func (w *world) fail(v *visit, what string) {
	w.wrong = append(w.wrong, fmt.Sprintf("%s: %s: %s", stamp(time.Now()), v, what))
}

// sessionOf is the session that a Stytch cookie is of. It needs mu.
func (w *world) sessionOf(c *http.Cookie) stytchtest.Session {
	if s, ok := w.seen[c.Value]; ok {
		return s
	}
	id := ""
	if c.Name == jwtCookie {
		id = idInJWT(c.Value)
	}
	for _, s := range w.stytch.Sessions() {
		if s.Token == c.Value || s.ID == id {
			w.seen[c.Value] = s
			return s
		}
	}
	return stytchtest.Session{}
}

// idInJWT is the id of the session in a JWT of the stand-in.
func idInJWT(jwt string) string {
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		return ""
	}
	var claims struct {
		Session struct{ ID string } `json:"https://stytch.com/session"`
	}
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
	_ = json.Unmarshal(payload, &claims)
	return claims.Session.ID
}

// stytchLines sorts the cookies of a response: those that are Stytch's, and how
// many deletions of the old one there are.
func stytchLines(cookies []*http.Cookie) (set, deleted []*http.Cookie, old int) {
	for _, c := range cookies {
		switch {
		case c.Name == oldCookie && c.MaxAge < 0:
			old++
		case c.Name == oldCookie:
		case c.MaxAge < 0:
			deleted = append(deleted, c)
		default:
			set = append(set, c)
		}
	}
	return set, deleted, old
}

func (w *world) nameOf(userID string) string {
	for name, id := range w.ids {
		if id == userID {
			return name
		}
	}
	return "nobody"
}

// began is when bubbles of testing/synctest begin.
var began = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func stamp(t time.Time) string { return t.Sub(began).String() }

func short(id string) string { return id[max(0, len(id)-4):] }

// endingOf is what a logout ends: what its request came with.
func (w *world) endingOf(v *visit) ending {
	e := ending{at: time.Now(), machine: v.machine}
	if v.sent.sid != "" {
		e.legacies = append(e.legacies, v.sent.sid)
	}
	for _, s := range w.sessionsIn(v.sent) {
		e.sessions = append(e.sessions, s.ID)
		if of, ok := s.CustomClaims["of"].(string); ok {
			e.legacies = append(e.legacies, of)
		}
	}
	return e
}

// sessionsIn are the Stytch sessions that a jar has cookies of.
func (w *world) sessionsIn(j jar) (out []stytchtest.Session) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range []*http.Cookie{{Name: tokenCookie, Value: j.token}, {Name: jwtCookie, Value: j.jwt}} {
		if s := w.sessionOf(c); c.Value != "" && s.ID != "" {
			out = append(out, s)
		}
	}
	return out
}

// touches says whether an ending is of a session in a jar.
func (w *world) touches(e ending, j jar) bool {
	return slices.Contains(e.legacies, j.sid) || slices.ContainsFunc(w.sessionsIn(j), func(s stytchtest.Session) bool {
		of, _ := s.CustomClaims["of"].(string)
		return slices.Contains(e.sessions, s.ID) || slices.Contains(e.legacies, of)
	})
}

// resolve reads an old cookie: user.id.start, and in a world of tokens alone says
// nothing of the person.
func (w *world) resolve(_ *http.Request, value string) (stytchmigrate.LegacySession, error) {
	parts := strings.Split(value, ".")
	if len(parts) != 3 {
		return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
	}
	s := stytchmigrate.LegacySession{ID: stytchmigrate.Secret(parts[1]), Token: stytchmigrate.Secret(parts[0] + "-token")}
	if !w.blind {
		s.Identity.Subject, s.Identity.Email, s.Identity.EmailVerified = parts[0], parts[0]+"@example.com", true
	}
	if ms, err := strconv.Atoi(parts[2]); err == nil {
		s.StartedAt = began.Add(time.Duration(ms) * time.Millisecond)
	}
	return s, nil
}
