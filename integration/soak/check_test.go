package soak

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
)

const (
	slack = 3 * time.Second

	jwtLife = 3 * time.Second
	jwtOver = jwtLife + 30*time.Second + slack // with the leeway for clocks
)

// check holds a visit against what must never be.
func (s *soak) check(v *visit) {
	s.served(v)
	s.checkWhose(v)
	if v.path == "page" && v.owner != "" && v.ended == nil {
		s.checkKept(v)
	}
	if v.ended != nil {
		s.checkGone(v)
	}
	if most := timeout + slack; v.waited > most || v.ending > most {
		s.tell("slow", fmt.Sprintf("%v, then %v in Logout", v.waited, v.ending), v)
	}
}

// checkWhose: nobody but the owner of the cookies is in the context, nor in what
// is set. Of a user who is known by the JWT alone nobody can say that it is not the
// one who has signed in since: the Stytch session stays then.
func (s *soak) checkWhose(v *visit) {
	stayed := v.user != nil && v.user.Partial && v.has(oldCookie) && slices.Contains(v.past, s.whose(v.user))
	var shown []string
	if name := s.whose(v.user); name != "" && !stayed {
		shown = append(shown, name)
	}
	if v.session != nil && !stayed {
		of, _ := v.session.CustomClaims["of"].(string)
		shown = append(shown, of)
	}
	if stayed {
		s.count("stayed, known by the JWT alone")
	}
	if v.legacy != nil {
		shown = append(shown, v.legacy.Identity.Subject)
	}
	for _, c := range v.rec.Result().Cookies() {
		if c.Name == jwtCookie && c.MaxAge >= 0 {
			shown = append(shown, inJWT(c.Value))
		}
	}
	for _, name := range shown {
		if name != v.owner {
			s.tell("crossing", fmt.Sprintf("%q is shown", name), v)
		}
	}
}

// whose is the name of a Stytch user; of a partial one by its id, if that was seen
// before.
func (s *soak) whose(u *stytchmigrate.User) string {
	if u == nil {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !u.Partial && s.ids[u.UserID] == "" {
		s.ids[u.UserID], _, _ = strings.Cut(u.Emails[0].Email, "@")
	}
	return s.ids[u.UserID]
}

// inJWT is whose session a JWT is of, by the claim that the application gave it.
func inJWT(jwt string) string {
	var claims struct{ Of string }
	if part := strings.Split(jwt, "."); len(part) == 3 {
		payload, _ := base64.RawURLEncoding.DecodeString(part[1])
		_ = json.Unmarshal(payload, &claims)
	}
	return claims.Of
}

// checkKept: who is signed in is not turned away, and keeps the cookies: the old
// one goes when there is a Stytch session in its place. Those of a Stytch session
// may go that was there before a sign-in without Logout, and was revoked for it.
func (s *soak) checkKept(v *visit) {
	switch v.outcome {
	case stytchmigrate.OutcomeAnonymous, stytchmigrate.OutcomeRefused:
		s.tell("lost", "turned away", v)
	}
	for _, c := range v.rec.Result().Cookies() {
		switch {
		case c.MaxAge >= 0:
		case isStytch(c.Name) && len(v.past) > 0 && !s.lives(v):
			s.count("cookies deleted of a session that was signed in over")
		case isStytch(c.Name) || v.user == nil:
			s.tell("lost", c.Name+" is deleted", v)
		}
	}
}

// lives says whether the Stytch session of a request is alive.
func (s *soak) lives(v *visit) bool {
	return slices.ContainsFunc(s.stytch.Sessions(), func(at stytchtest.Session) bool {
		return at.Live && slices.ContainsFunc(v.cookies, func(c *http.Cookie) bool { return c.Value == at.Token })
	})
}

// checkGone: by the old cookie nobody comes back anywhere. By the Stytch cookies
// they don't where they logged out, and elsewhere not for longer than a JWT lasts.
func (s *soak) checkGone(v *visit) {
	back := v.user != nil
	for _, c := range v.rec.Result().Cookies() {
		back = back || c.MaxAge >= 0 && c.Value != ""
	}
	judged := v.machine == v.ended.machine
	if !v.has(tokenCookie) && !v.has(jwtCookie) || v.sent.Sub(v.ended.done) > jwtOver {
		judged = judged || s.storeHeld(v.ended.sent)
	}
	if judged {
		s.count("ghosts judged")
	}
	if judged && back {
		s.tell("came back", "after the logout", v)
	}
}

// heard is OnEvent.
func (s *soak) heard(_ context.Context, e stytchmigrate.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.Kind != "request" {
		s.events[e.Kind]++
	}
	if e.Kind == "store" && e.Cause == "failed" {
		s.storeFailed = time.Now()
	}
}

// storeHeld says whether the store has been there since then. On a machine that
// is too busy a call of it takes too long, and what it was to tell is not known.
func (s *soak) storeHeld(since time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.storeFailed.Before(since.Add(-6 * time.Second)) // it is left alone for five
}
