package main

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"
	jwtmiddleware "github.com/auth0/go-jwt-middleware/v2"
	auth0jwks "github.com/auth0/go-jwt-middleware/v2/jwks"
	"github.com/auth0/go-jwt-middleware/v2/validator"
	"github.com/clerk/clerk-sdk-go/v2"
	clerkhttp "github.com/clerk/clerk-sdk-go/v2/http"
	clerkjwks "github.com/clerk/clerk-sdk-go/v2/jwks"
	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-chi/jwtauth/v5"
	"github.com/golang-jwt/jwt/v5"
	"github.com/lestrrat-go/httprc/v3"
	jwtv2 "github.com/lestrrat-go/jwx/v2/jwt"
	"github.com/lestrrat-go/jwx/v3/jwk"
	jwtv3 "github.com/lestrrat-go/jwx/v3/jwt"

	"example.com/stytchmigrate"
)

// peer is a middleware that is measured. Each is set up as its README says, in the
// way that is fastest for it where there are several: the token comes in the same
// cookie, issuer and audience are checked where it can check them, keys are kept
// in memory, and the set is fetched anew from time to time where it knows how to.
type peer struct {
	name string
	// open returns an instance. One that remembers requests is a new one each time.
	open func() (instance, error)
}

// instance is a middleware, and how a handler behind it learns whose a request is.
type instance struct {
	wrap func(http.Handler) http.Handler
	user func(*http.Request) string // "": nobody's
}

const (
	bareName = "bare handler"
	ourName  = "stytchmigrate"
	scsPeer  = "alexedwards/scs v2"
)

// always is for a peer that remembers nothing of requests.
func always(name string, i instance) peer {
	return peer{name, func() (instance, error) { return i, nil }}
}

func (w *world) bare() peer {
	return always(bareName, instance{wrap: func(next http.Handler) http.Handler { return next }})
}

func (w *world) ours() peer {
	return peer{ourName, func() (i instance, err error) {
		m, err := w.newMiddleware()
		if err != nil {
			return i, err
		}
		return instance{m.Handler, ourUser}, nil
	}}
}

func ourUser(r *http.Request) string {
	u, ok := stytchmigrate.UserFromContext(r.Context())
	if !ok {
		return ""
	}
	return u.UserID
}

// jwtPeers verify the JWT of each request. None of them has a memory for it. ctx
// ends the goroutines with which some keep the key set current.
func (w *world) jwtPeers(ctx context.Context) ([]peer, error) {
	auth0, err := w.auth0()
	if err != nil {
		return nil, err
	}
	kf, err := w.keyfunc(ctx)
	if err != nil {
		return nil, err
	}
	jwx, err := w.jwx(ctx)
	if err != nil {
		return nil, err
	}
	return []peer{auth0, w.clerk(), w.jwtauth(), kf, w.oidc(ctx), jwx}, nil
}

func (w *world) keySetURL() string { return w.stytch.URL + "/v1/sessions/jwks/" + w.stytch.ProjectID }

// auth0 has an extractor for cookies, a mode for requests without a token, and a
// provider that caches the key set; all three are its own.
func (w *world) auth0() (p peer, err error) {
	issuer, err := url.Parse(w.stytch.URL)
	if err != nil {
		return p, err
	}
	set, err := url.Parse(w.keySetURL())
	if err != nil {
		return p, err
	}
	provider := auth0jwks.NewCachingProvider(issuer, 5*time.Minute, auth0jwks.WithCustomJWKSURI(set), auth0jwks.WithCustomClient(w.keySet))
	v, err := validator.New(provider.KeyFunc, validator.RS256, w.issuer, []string{w.stytch.ProjectID})
	if err != nil {
		return p, err
	}
	m := jwtmiddleware.New(v.ValidateToken, jwtmiddleware.WithCredentialsOptional(true),
		jwtmiddleware.WithTokenExtractor(jwtmiddleware.CookieTokenExtractor(jwtName)))
	return always("auth0/go-jwt-middleware v2", instance{m.CheckJWT, func(r *http.Request) string {
		c, ok := r.Context().Value(jwtmiddleware.ContextKey{}).(*validator.ValidatedClaims)
		if !ok {
			return ""
		}
		return c.RegisteredClaims.Subject
	}}), nil
}

// clerk fetches and caches keys through its client, and so parses none for a
// request as it would with the option JSONWebKey. ProxyURL is how it is told of an
// issuer that is not Clerk's. It has no check for the audience.
func (w *world) clerk() peer {
	config := &clerk.ClientConfig{}
	config.HTTPClient, config.Key = w.keySet, clerk.String("secret")
	wrap := clerkhttp.WithHeaderAuthorization(
		clerkhttp.JWKSClient(clerkjwks.NewClient(config)), clerkhttp.ProxyURL(w.issuer),
		clerkhttp.AuthorizationJWTExtractor(cookieToken))
	return always("clerk-sdk-go v2", instance{wrap, func(r *http.Request) string {
		c, ok := clerk.SessionClaimsFromContext(r.Context())
		if !ok {
			return ""
		}
		return c.Subject
	}})
}

func cookieToken(r *http.Request) string {
	c, err := r.Cookie(jwtName)
	if err != nil {
		return ""
	}
	return c.Value
}

// jwtauth is given the one key; it knows no key sets. Its FromContext copies all
// claims into a map, so the token is read by the key that it exports.
func (w *world) jwtauth() peer {
	ja := jwtauth.New("RS256", nil, w.public, jwtv2.WithIssuer(w.issuer), jwtv2.WithAudience(w.stytch.ProjectID))
	return always("go-chi/jwtauth v5", instance{jwtauth.Verify(ja, cookieToken), func(r *http.Request) string {
		t, ok := r.Context().Value(jwtauth.TokenCtxKey).(jwtv2.Token)
		if err, failed := r.Context().Value(jwtauth.ErrorCtxKey).(error); !ok || failed && err != nil {
			return ""
		}
		return t.Subject()
	}})
}

// subjectKey is where the middlewares that people write themselves put the user.
type subjectKey struct{}

// byHand is such a middleware: a token that is no good is no token.
func byHand(name string, subject func(*http.Request) (string, error)) peer {
	wrap := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if sub, err := subject(r); err == nil {
				r = r.WithContext(context.WithValue(r.Context(), subjectKey{}, sub))
			}
			next.ServeHTTP(w, r)
		})
	}
	return always(name, instance{wrap, func(r *http.Request) string {
		sub, _ := r.Context().Value(subjectKey{}).(string)
		return sub
	}})
}

func (w *world) keyfunc(ctx context.Context) (p peer, err error) {
	k, err := keyfunc.NewDefaultOverrideCtx(ctx, []string{w.keySetURL()}, keyfunc.Override{Client: w.keySet})
	if err != nil {
		return p, err
	}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"RS256"}), jwt.WithIssuer(w.issuer),
		jwt.WithAudience(w.stytch.ProjectID), jwt.WithExpirationRequired())
	return byHand("golang-jwt v5 + keyfunc v3", func(r *http.Request) (string, error) {
		c, err := r.Cookie(jwtName)
		if err != nil {
			return "", err
		}
		var claims jwt.RegisteredClaims
		_, err = parser.ParseWithClaims(c.Value, &claims, k.Keyfunc)
		return claims.Subject, err
	}), nil
}

func (w *world) oidc(ctx context.Context) peer {
	set := oidc.NewRemoteKeySet(oidc.ClientContext(ctx, w.keySet), w.keySetURL())
	v := oidc.NewVerifier(w.issuer, set, &oidc.Config{ClientID: w.stytch.ProjectID})
	return byHand("coreos/go-oidc v3", func(r *http.Request) (string, error) {
		c, err := r.Cookie(jwtName)
		if err != nil {
			return "", err
		}
		t, err := v.Verify(r.Context(), c.Value)
		if err != nil {
			return "", err
		}
		return t.Subject, nil
	})
}

func (w *world) jwx(ctx context.Context) (p peer, err error) {
	cache, err := jwk.NewCache(ctx, httprc.NewClient())
	if err != nil {
		return p, err
	}
	wait, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err = cache.Register(wait, w.keySetURL(), jwk.WithHTTPClient(w.keySet)); err != nil {
		return p, err
	}
	set, err := cache.CachedSet(w.keySetURL())
	if err != nil {
		return p, err
	}
	options := []jwtv3.ParseOption{jwtv3.WithKeySet(set), jwtv3.WithIssuer(w.issuer), jwtv3.WithAudience(w.stytch.ProjectID)}
	return byHand("lestrrat-go/jwx v3", func(r *http.Request) (string, error) {
		t, err := jwtv3.ParseCookie(r, jwtName, options...)
		if err != nil {
			return "", err
		}
		sub, _ := t.Subject()
		return sub, nil
	}), nil
}

// scs looks a session up in its own memory: no JWT, and no other machine. It is
// what a server-side session costs. It returns the cookie of such a session too.
func (w *world) scs(ctx context.Context) (p peer, token string, err error) {
	m := scs.New()
	m.Store = memstore.NewWithCleanupInterval(0)
	m.Cookie.Name = scsName
	ctx, err = m.Load(ctx, "")
	if err != nil {
		return p, "", err
	}
	m.Put(ctx, "user", w.userID)
	if token, _, err = m.Commit(ctx); err != nil {
		return p, "", err
	}
	return always(scsPeer, instance{m.LoadAndSave, func(r *http.Request) string {
		return m.GetString(r.Context(), "user")
	}}), token, nil
}
