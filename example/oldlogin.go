package main

import (
	"context"
	"crypto/rand"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/securecookie"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/userinfo"
)

const oldCookie = "legacy_session"

// oldSession is what the old login keeps in its cookie, as gob.
type oldSession struct {
	ID         string // random, new for each login
	UserID     string
	SignedInAt time.Time
}

// oldLogin is the login that the application had before: a cookie, signed and
// encrypted, and a list of the sessions that were logged out.
type oldLogin struct {
	codecs []securecookie.Codec

	mu     sync.Mutex
	ended  map[string]bool      // by ID; a database would forget them after 30 days, when the cookie is void
	before map[string]time.Time // by user: sessions that started before then have ended
}

// newOldLogin makes its keys for this process alone. Real ones come from where
// the old code has them.
func newOldLogin() *oldLogin {
	return &oldLogin{
		codecs: securecookie.CodecsFromPairs(securecookie.GenerateRandomKey(32), securecookie.GenerateRandomKey(32)),
		ended:  make(map[string]bool),
		before: make(map[string]time.Time),
	}
}

// start signs somebody in. The ID is what tells this session from the person's
// earlier ones: had it none of its own, a session that was logged out could not
// be told from the one of the next login.
func (o *oldLogin) start(w http.ResponseWriter, p person) error {
	value, err := securecookie.EncodeMulti(oldCookie, oldSession{rand.Text(), p.ID, time.Now()}, o.codecs...)
	if err != nil {
		return err
	}
	http.SetCookie(w, &http.Cookie{
		Name: oldCookie, Value: value, Path: "/", MaxAge: 30 * 24 * 3600,
		HttpOnly: true, SameSite: http.SameSiteLaxMode, // and Secure, were this not plain HTTP on loopback
	})
	return nil
}

// cookie describes the old session to the middleware.
func (o *oldLogin) cookie() stytchmigrate.LegacyCookie {
	return stytchmigrate.SecureCookie(stytchmigrate.LegacyCookie{Name: oldCookie, End: o.end}, o.codecs, o.resolve)
}

// resolve tells whose session an old cookie is. The MAC and the cookie's age
// have been checked; all else that the old code checked is checked here.
func (o *oldLogin) resolve(_ *http.Request, s oldSession) (stytchmigrate.LegacySession, error) {
	p, ok := find(s.UserID)
	if !ok || o.hasEnded(&s) {
		return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
	}
	return stytchmigrate.LegacySession{
		ID:        stytchmigrate.Secret(s.ID),
		StartedAt: s.SignedInAt,
		Identity: userinfo.Identity{
			Subject: p.ID, Name: p.Name,
			Email: p.Email, EmailVerified: p.EmailVerified, // what the application knows, never simply true
		},
	}, nil
}

// end makes an old session one that was; Logout calls it where the request
// carries one. A cookie that is merely expired in the browser is still good in the
// hands of whoever copied it.
func (o *oldLogin) end(_ context.Context, s stytchmigrate.LegacySession) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended[string(s.ID)] = true
	return nil
}

// endAll ends all old sessions of a user.
func (o *oldLogin) endAll(userID string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.before[userID] = time.Now()
}

func (o *oldLogin) hasEnded(s *oldSession) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ended[s.ID] || s.SignedInAt.Before(o.before[s.UserID])
}

// whose is what the old code made of a request before there was a middleware.
func (o *oldLogin) whose(r *http.Request) (person, bool) {
	c, err := r.Cookie(oldCookie)
	if err != nil {
		return person{}, false
	}
	var s oldSession
	if securecookie.DecodeMulti(oldCookie, c.Value, &s, o.codecs...) != nil || o.hasEnded(&s) {
		return person{}, false
	}
	return find(s.UserID)
}
