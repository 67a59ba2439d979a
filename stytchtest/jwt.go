package stytchtest

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const sessionClaim = "https://stytch.com/session"

// SignJWT signs claims with the key that signs now, RS256, under a header of alg,
// kid and typ. Members of header are added to that or replace it; a nil value
// removes one. What the header says about alg does not change how it is signed.
// Nil claims are an empty object. It panics if they are no JSON.
func (s *Server) SignJWT(claims, header map[string]any) string {
	kid, key := s.SigningKey()
	t := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims(claims))
	if claims == nil {
		t.Claims = jwt.MapClaims{}
	}
	t.Header["kid"] = kid
	for name, v := range header {
		if v == nil {
			delete(t.Header, name)
		} else {
			t.Header[name] = v
		}
	}
	signed, err := t.SignedString(key)
	if err != nil {
		panic("stytchtest: SignJWT: " + err.Error())
	}
	return signed
}

// Claims returns the claims of a JWT that the server would mint now for the
// session with the id, ready to be changed and given to SignJWT. It panics if
// there is no such session.
func (s *Server) Claims(sessionID string) map[string]any {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.findSession(func(x *session) bool { return x.ID == sessionID })
	if x == nil {
		panic("stytchtest: Claims: no such session: " + sessionID)
	}
	return s.claims(x, now)
}

// claims needs mu.
func (s *Server) claims(x *session, now time.Time) map[string]any {
	claims := cloneJSON(x.CustomClaims)
	factor := maps.Clone(x.factor)
	delete(factor, "created_at")
	delete(factor, "updated_at")
	maps.Copy(claims, map[string]any{
		"iss": s.issuer,
		"aud": []any{s.ProjectID},
		"sub": x.UserID,
		"iat": now.Unix(),
		"nbf": now.Unix(),
		"exp": now.Add(s.lifetime).Unix(),
		sessionClaim: map[string]any{
			"id":                     x.ID,
			"started_at":             x.StartedAt.Format(time.RFC3339),
			"last_accessed_at":       x.LastAccessedAt.Format(time.RFC3339),
			"expires_at":             x.ExpiresAt.Format(time.RFC3339),
			"attributes":             map[string]any{"ip_address": "", "user_agent": ""},
			"authentication_factors": []any{map[string]any(factor)},
			"roles":                  s.rolesOf(x.UserID),
		},
	})
	return claims
}

// mint gives x a fresh JWT and returns it. Signing takes about a millisecond, so
// it is not done under mu.
func (s *Server) mint(x *session) string {
	now := s.now()
	s.mu.Lock()
	claims := s.claims(x, now)
	s.mu.Unlock()
	token := s.SignJWT(claims, nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !now.Before(x.mintedAt) { // of two at once the later one is the latest
		x.JWT, x.mintedAt = token, now
	}
	return token
}

// JWT mints a fresh JWT for the session with the id, whether that is alive or
// not. It panics if there is no such session.
func (s *Server) JWT(sessionID string) string {
	s.mu.Lock()
	x := s.findSession(func(x *session) bool { return x.ID == sessionID })
	s.mu.Unlock()
	if x == nil {
		panic("stytchtest: JWT: no such session: " + sessionID)
	}
	return s.mint(x)
}

var errUnparsable = &apiError{400, "unable_to_parse_session_jwt", "The session_jwt was not signed by a key of the project."}

// parseJWT returns the user id and session id in a JWT that a published key
// signed. Its dates are not looked at: an expired JWT is as good as a fresh one
// as long as its session lives.
func (s *Server) parseJWT(token string) (userID, sessionID string, _ *apiError) {
	claims := jwt.MapClaims{}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"RS256"}), jwt.WithoutClaimsValidation())
	_, err := parser.ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) {
		for _, k := range s.publishedKeys() {
			if k.id == t.Header["kid"] {
				return &k.key.private.PublicKey, nil
			}
		}
		return nil, errors.New("unknown kid")
	})
	if err != nil {
		return "", "", errUnparsable
	}
	if iss, err := claims.GetIssuer(); err != nil || iss != s.issuer {
		return "", "", &apiError{400, "jwt_invalid_issuer", "The JWT has another issuer."}
	}
	if aud, err := claims.GetAudience(); err != nil || !slices.Contains(aud, s.ProjectID) {
		return "", "", &apiError{400, "jwt_invalid_audience", "The JWT is for another project."}
	}
	sub, err := claims.GetSubject()
	inner, _ := claims[sessionClaim].(map[string]any)
	id, _ := inner["id"].(string)
	if err != nil || sub == "" || id == "" {
		return "", "", &apiError{400, "jwt_invalid_claims", "The JWT is not one of a session."}
	}
	return sub, id, nil
}
