package session

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/names"
	"example.com/stytchmigrate/internal/redact"
	"example.com/stytchmigrate/internal/sealedstore"
	"example.com/stytchmigrate/internal/sessionjwt"
	"example.com/stytchmigrate/internal/stytch"
	"example.com/stytchmigrate/internal/tombstones"
)

func newSessions(api stytch.API) *Sessions {
	keys := sessionjwt.NewKeys(func(context.Context) ([]byte, error) { return nil, context.Canceled }, nil)
	return New(Config{
		API: api, Verifier: sessionjwt.New("p", []string{"i"}, keys), Limit: 15 * time.Second, Log: slog.New(slog.DiscardHandler),
		Tombstones: tombstones.New(sealedstore.New("key", nil, 0, nil), &names.Names{}),
		Attach:     func(*stytch.Session) any { return nil }, OnDoubt: func(error) {}, OnRevokeFailed: func(error) {},
	})
}

// jwt is one that Read takes: nobody looks at its signature there.
func jwt(session string, n int) string {
	part := func(v any) string {
		b, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(b)
	}
	now := time.Now().Unix()
	return part(map[string]any{"alg": "RS256", "kid": "k", "typ": "JWT"}) + "." + part(map[string]any{
		"iss": "i", "aud": "p", "sub": "user-ada", "iat": now, "exp": now + 300, "n": n, "https://stytch.com/session": map[string]any{"id": session},
	}) + ".c2ln"
}

// A session costs its share of memory however many JWTs it has had.
func TestMemoryOfOneSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSessions(nil)
		for i := range 20 {
			k, err := s.Add(&stytch.Session{ID: "s", UserID: "user-ada", Token: "t", JWT: redact.Secret(jwt("s", i)), ExpiresAt: time.Now().Add(time.Hour)}, time.Now())
			assert.NoError(t, err)
			assert.Same(t, k, s.LookupJWT(string(k.Session.JWT)))
			time.Sleep(3 * time.Second)
		}
		assert.Equal(t, 3, s.entries.Len())
	})
}

// What ended is known by nothing any more, and no answer that is under way brings it
// back.
func TestEnd(t *testing.T) {
	for name, end := range map[string]func(*Sessions){
		"the session":        func(s *Sessions) { s.End("s") },
		"its legacy session": func(s *Sessions) { s.Tombstones.MarkLegacyLocal("key") },
		"its token":          func(s *Sessions) { s.Tombstones.MarkCookie(tombstones.HashCookie('t', "t")) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSessions(nil)
				its := &stytch.Session{ID: "s", UserID: "user-ada", Token: "t", JWT: redact.Secret(jwt("s", 0)), Origin: "key", ExpiresAt: time.Now().Add(time.Hour)}
				for range 2 {
					_, err := s.Add(its, time.Now())
					assert.NoError(t, err)
					end(s)
					assert.Nil(t, s.LookupJWT(string(its.JWT)))
				}
			})
		})
	}
}
