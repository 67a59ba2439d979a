package integration

import (
	"context"
	"database/sql"
	"errors"
	"net/http"
	"strconv"

	"github.com/golang-jwt/jwt/v5"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/userinfo"
)

func Example_jwt() {
	i := ownJWTs()

	twoPages(ownJWTCookie(i.find, new(table)), i.sign(i.claims(signIn{user: "17"})), nil)
	// Output:
	// migrated ada@example.com, stytch_session set, stytch_session_jwt set
	// authenticated ada@example.com, sid expired
}

func Example_accessToken() {
	i := providersTokens()

	twoPages(accessTokenCookie(i.find), i.sign(i.claims(signIn{user: "17"})), i.email)
	// Output:
	// migrated ada@example.com, stytch_session set, stytch_session_jwt set
	// authenticated ada@example.com, sid expired
}

// A provider signs tokens for many applications, and its UserInfo endpoint takes
// them all. What another one was given opens nobody's account here.
func Example_accessTokenOfAnotherApplication() {
	i := providersTokens()
	claims := i.claims(signIn{user: "17"})
	claims.Audience = jwt.ClaimStrings{"the other shop"}

	twoPages(accessTokenCookie(i.find), i.sign(claims), i.email)
	// Output:
	// anonymous
	// anonymous
}

// keyFunc finds the key of a kid, or errNoKey. Any other error is that it can't
// be told now.
type keyFunc func(ctx context.Context, kid string) (key any, err error)

var errNoKey = errors.New("keys: no such key")

// oldClaims are those of the old code's JWTs.
type oldClaims struct {
	jwt.RegisteredClaims
	SecondFactorPending bool            `json:"mfa_pending,omitempty"`
	Actor               map[string]any  `json:"act,omitempty"` // RFC 8693 section 4.1: who acts for the user
	SessionID           string          `json:"sid,omitempty"`
	SignedInAt          jwt.NumericDate `json:"auth_time,omitzero"`
}

// readJWT tells a JWT that is no session from one that can't be judged now. Not
// even a signature of the right key counts where that key also signs for other
// applications: the parser must know issuer, audience and algorithm.
func readJWT(ctx context.Context, parser *jwt.Parser, keys keyFunc, value string) (claims oldClaims, err error) {
	var down error
	_, err = parser.ParseWithClaims(value, &claims, func(t *jwt.Token) (any, error) {
		kid, _ := t.Header["kid"].(string)
		key, err := keys(ctx, kid)
		if !errors.Is(err, errNoKey) {
			down = err
		}
		return key, err
	})
	if down != nil {
		return claims, down
	}
	if err != nil || claims.SecondFactorPending || claims.Actor != nil {
		return claims, stytchmigrate.ErrNoSession
	}
	return claims, nil
}

// ownJWTCookie is for a cookie that is a JWT of the application's own, good for
// itself: nothing is kept on the server.
func ownJWTCookie(keys keyFunc, users *table) stytchmigrate.LegacyCookie {
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithIssuer("https://old.example.com"),
		jwt.WithAudience("shop"), jwt.WithExpirationRequired())
	return stytchmigrate.LegacyCookie{Name: "sid", Resolve: func(r *http.Request, value string) (stytchmigrate.LegacySession, error) {
		claims, err := readJWT(r.Context(), parser, keys, value)
		if err != nil {
			return stytchmigrate.LegacySession{}, err
		}
		if claims.ID == "" || claims.IssuedAt == nil {
			return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession // the old code sets both
		}
		u, err := users.Find(r.Context(), claims.Subject)
		if errors.Is(err, sql.ErrNoRows) {
			return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
		}
		return stytchmigrate.LegacySession{
			ID:        stytchmigrate.Secret(claims.ID), // not the value: a JWT can be written in several ways
			StartedAt: claims.IssuedAt.Time,
			ExpiresAt: claims.ExpiresAt.Time,
			Identity:  userinfo.Identity{Subject: u.ID, Email: u.Email, EmailVerified: u.EmailVerified},
		}, err
	}}
}

// accessTokenCookie is for a cookie that is an access token of an identity
// provider. It goes to Stytch as it is, which takes it to the provider's UserInfo
// endpoint. That accepts a token of any application's: what must not be of another
// one is only checked here. Where the claims hold a verified email, give Identity
// too: Stytch's answer is held against it then.
func accessTokenCookie(keys keyFunc) stytchmigrate.LegacyCookie {
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"EdDSA"}), jwt.WithIssuer("https://id.example.com"),
		jwt.WithAudience("shop"), jwt.WithExpirationRequired())
	return stytchmigrate.LegacyCookie{Name: "sid", Resolve: func(r *http.Request, value string) (stytchmigrate.LegacySession, error) {
		claims, err := readJWT(r.Context(), parser, keys, value)
		if err != nil {
			return stytchmigrate.LegacySession{}, err
		}
		if claims.SessionID == "" || claims.SignedInAt.IsZero() {
			return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
		}
		return stytchmigrate.LegacySession{
			// Not jti: a token that was refreshed is the same session. But one of the
			// provider's sessions may be of several people, one after the other.
			ID:        stytchmigrate.Secret(strconv.Quote(claims.Subject) + claims.SessionID),
			Token:     stytchmigrate.Secret(value),
			StartedAt: claims.SignedInAt.Time,
			ExpiresAt: claims.ExpiresAt.Time,
		}, nil
	}}
}
