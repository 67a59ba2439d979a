package main

import (
	"crypto/rsa"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/securecookie"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
	"example.com/stytchmigrate/userinfo"
)

const (
	email       = "ada@example.com"
	sessionName = "stytch_session"
	jwtName     = "stytch_session_jwt"
	scsName     = "session"
	oldName     = "sid"
	longLived   = 30 * 24 * time.Hour
)

// world is what everything that is measured has in common: one project of the
// stand-in, one key, one user, and the cookies that requests bring. It is made
// once, for signatures take longer than all the rest.
type world struct {
	stytch *stytchtest.Server
	tape   *tape
	keySet *http.Client // answers every request with the project's key set
	public *rsa.PublicKey
	issuer string
	userID string
	codecs []securecookie.Codec // of the old cookie
	began  time.Time            // of every old session

	jwt        string   // of the session that the known JWTs are of
	newer      []string // JWTs of that session, each expires later than the one before
	strangers  []string // JWTs of a session each
	stale      []string // JWTs of a session each, which have expired
	old        []string // old cookies, of a session each
	wrongKey   string   // a JWT as good as jwt, signed with a key that the project does not have
	wrongCodec string   // an old cookie sealed with another key
}

// newWorld signs 4 × pool JWTs. They live for an hour, so that none of them
// expires while the table is made.
func newWorld(pool int) (*world, error) {
	stytch, err := stytchtest.Start(stytchtest.Config{InProcess: true, JWTLifetime: time.Hour})
	if err != nil {
		return nil, err
	}
	_, key := stytch.SigningKey()
	w := &world{
		stytch: stytch, tape: newTape(stytch), public: &key.PublicKey,
		issuer: "stytch.com/" + stytch.ProjectID,
		userID: stytch.AddUser(stytchtest.Person(email)).ID,
		codecs: securecookie.CodecsFromPairs([]byte(strings.Repeat("k", 32))),
		began:  time.Now().Add(-time.Hour),
	}
	if w.keySet, err = newKeySetClient(stytch); err != nil {
		return nil, err
	}
	w.signKnown(pool)
	w.signStrangers(pool)
	if err := w.sealOld(pool); err != nil {
		return nil, err
	}
	return w, w.rehearse()
}

// rehearse puts every answer on the tape that will be asked for.
func (w *world) rehearse() error {
	m, err := w.newMiddleware()
	if err != nil {
		return err
	}
	h, v := m.Handler(application(nil, "")), newVisitor()
	for _, cookies := range [][]string{jwts(w.jwt), jwts(w.strangers...), olds(w.old...)} {
		for _, c := range cookies {
			v.send(h, c)
		}
	}
	// To the first one the sessions of expired JWTs are known already.
	if m, err = w.newMiddleware(); err != nil {
		return err
	}
	h = m.Handler(application(nil, ""))
	for _, c := range jwts(w.stale...) {
		v.send(h, c)
	}
	return nil
}

// signKnown makes the JWTs of one session.
func (w *world) signKnown(pool int) {
	s := w.stytch.NewSession(w.userID, longLived)
	w.jwt = s.JWT
	claims := w.stytch.Claims(s.ID)
	expires := claims["exp"].(int64)
	for i := range pool {
		claims["exp"], claims["jti"] = expires+int64(i)+1, fmt.Sprint(i)
		w.newer = append(w.newer, w.stytch.SignJWT(claims, nil))
	}
	claims["exp"] = expires
	forged := w.stytch.SignJWT(claims, nil)
	claims["jti"] = "forged"
	signed := w.stytch.SignJWT(claims, nil)
	// What was signed is one token, and the signature is another's: everything but
	// the arithmetic says that it is good.
	w.wrongKey = signed[:strings.LastIndexByte(signed, '.')] + forged[strings.LastIndexByte(forged, '.'):]
}

// signStrangers makes JWTs of sessions that nothing has heard of, of today and
// of an hour ago.
func (w *world) signStrangers(pool int) {
	for range pool {
		s := w.stytch.NewSession(w.userID, longLived)
		w.strangers = append(w.strangers, s.JWT)
		claims := maps.Clone(w.stytch.Claims(s.ID))
		for _, name := range []string{"iat", "nbf", "exp"} {
			claims[name] = claims[name].(int64) - 2*3600
		}
		w.stale = append(w.stale, w.stytch.SignJWT(claims, nil))
	}
}

func (w *world) sealOld(pool int) (err error) {
	for i := range pool {
		id := fmt.Sprint("old-", i)
		w.stytch.Accept("token-of-"+id, email)
		v, err := securecookie.EncodeMulti(oldName, id, w.codecs...)
		if err != nil {
			return err
		}
		w.old = append(w.old, v)
	}
	other := securecookie.CodecsFromPairs([]byte(strings.Repeat("x", 32)))
	w.wrongCodec, err = securecookie.EncodeMulti(oldName, "old-0", other...)
	return err
}

// newMiddleware is the middleware as a program has it: the old cookies are
// securecookie's, and nothing is logged that goes well.
func (w *world) newMiddleware() (*stytchmigrate.Middleware, error) {
	return stytchmigrate.New(w.config())
}

func (w *world) config() stytchmigrate.Config {
	return stytchmigrate.Config{
		ProjectID: w.stytch.ProjectID, Secret: stytchmigrate.Secret(w.stytch.Secret), BaseURL: w.stytch.URL,
		HTTPClient: w.tape.client(), Logger: slog.New(slog.DiscardHandler),
		Legacy: []stytchmigrate.LegacyCookie{stytchmigrate.SecureCookie(
			stytchmigrate.LegacyCookie{Name: oldName}, w.codecs, w.resolve)},
	}
}

// resolve gives a Token of its own, and not a ticket: a ticket is another one each
// time, and the tape would not know the call again.
func (w *world) resolve(_ *http.Request, id string) (stytchmigrate.LegacySession, error) {
	return stytchmigrate.LegacySession{
		ID: stytchmigrate.Secret(id), StartedAt: w.began, Token: stytchmigrate.Secret("token-of-" + id),
		Identity: userinfo.Identity{Subject: "ada", Email: email, EmailVerified: true},
	}, nil
}

// jwts turns JWTs into Cookie headers as a browser sends them, among others.
func jwts(tokens ...string) []string {
	headers := make([]string, len(tokens))
	for i, t := range tokens {
		headers[i] = "theme=dark; " + jwtName + "=" + t
	}
	return headers
}

func olds(values ...string) []string {
	headers := make([]string, len(values))
	for i, v := range values {
		headers[i] = "theme=dark; " + oldName + "=" + v
	}
	return headers
}
