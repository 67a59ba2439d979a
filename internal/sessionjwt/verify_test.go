package sessionjwt_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/internal/sessionjwt"
)

// fresh verifies a token with a key set that is yet to be fetched, and returns
// how many fetches that took.
func fresh(t *testing.T, token string) (*sessionjwt.Claims, int64, error) {
	t.Helper()
	s := serving(t)
	claims, err := verifier(s).Verify(t.Context(), token)
	return claims, s.fetches.Load(), err
}

func TestVerifyReturnsWhatTheTokenSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now().UTC()
		got, fetches, err := fresh(t, token(t, both(both(with("legacy_session", "sess_1"), with("account", fragment("9007199254740993"))), with(`a"},`, object{`"b\`: `{["\`}))))
		require.NoError(t, err)
		assert.EqualValues(t, 1, fetches)
		got.IssuedAt, got.ExpiresAt = got.IssuedAt.UTC(), got.ExpiresAt.UTC()
		assert.Equal(t, &sessionjwt.Claims{
			UserID: "user-test-1", SessionID: "session-test-1", LegacySession: "sess_1",
			IssuedAt: now, ExpiresAt: now.Add(5 * time.Minute),
			SessionStartedAt: now.Add(-time.Hour), SessionExpiresAt: now.Add(23 * time.Hour),
			Session: sessionjwt.Session{
				LastAccessedAt: now, IPAddress: "192.0.2.1", UserAgent: "Mozilla",
				AuthenticationFactors: json.RawMessage(`[{"type":"imported"}]`), Roles: []string{"stytch_user"},
			},
			Custom: map[string]any{"legacy_session": "sess_1", "account": json.Number("9007199254740993"), `a"},`: map[string]any{`"b\`: `{["\`}},
		}, got)
	})
}

// Each row is the custom claim until_browser_closes. It counts only if it is true.
func TestUntilBrowserCloses(t *testing.T) {
	for _, row := range []struct {
		claim any
		want  bool
	}{{true, true}, {fragment(" true "), true}, {false, false}, {"true", false}, {1, false}, {nil, false}, {[]bool{true}, false}} {
		claims, _, err := fresh(t, token(t, with("until_browser_closes", row.claim)))
		require.NoError(t, err)
		assert.Equal(t, row.want, claims.UntilBrowserCloses, row.claim)
		assert.Contains(t, claims.Custom, "until_browser_closes")
	}
	claims, _, err := fresh(t, token(t, with("UNTIL_BROWSER_CLOSES", true)))
	require.NoError(t, err)
	assert.False(t, claims.UntilBrowserCloses, "case counts")
}

func TestDatesKeepTheirFraction(t *testing.T) {
	claims, _, err := fresh(t, token(t, with("iat", float64(in(-time.Minute))+0.5)))
	require.NoError(t, err)
	assert.Equal(t, int(time.Second/2), claims.IssuedAt.Nanosecond())
}

// Each row is a good token with one thing changed, signed by the project's key.
// The rows are made in the bubble in which they are judged: their dates are of
// its clock.
func TestVerifyJudgesClaims(t *testing.T) {
	for _, rows := range []func() []row{audRows, issRows, dateRows, sessionRows, sessionDateRows, otherRows} {
		synctest.Test(t, func(t *testing.T) {
			for _, r := range rows() {
				r.check(t)
			}
		})
	}
}

type row struct {
	name string
	edit edit
	want error
}

func (r row) check(t *testing.T) {
	t.Helper()
	claims, fetches, err := fresh(t, token(t, r.edit))
	switch r.want {
	case accepted, notCurrent:
		assert.ErrorIs(t, err, r.want, r.name)
		require.NotNil(t, claims, r.name)
		assert.Equal(t, "user-test-1", claims.UserID, r.name)
		assert.EqualValues(t, 1, fetches, r.name)
	default:
		assert.ErrorIs(t, err, r.want, r.name)
		assert.Nil(t, claims, r.name)
		assert.Zero(t, fetches, "fetched for a token that no key could help: %s", r.name)
	}
	for _, other := range []error{refused, notCurrent, foreign, noKeys} {
		if other != r.want {
			assert.NotErrorIs(t, err, other, r.name)
		}
	}
}

func TestSessionEndFallsBackToTheTokens(t *testing.T) {
	for _, e := range []edit{without("expires_at"), with("expires_at", ""), with("expires_at", nil)} {
		claims, _, err := fresh(t, token(t, inSession(e)))
		require.NoError(t, err)
		assert.Equal(t, claims.ExpiresAt, claims.SessionExpiresAt)
	}
}

func TestClaimsThatAreAbsentAreZero(t *testing.T) {
	for _, s := range []object{
		{"id": "session-test-1"},
		{"id": "session-test-1", "last_accessed_at": 1, "attributes": "x", "authentication_factors": object{}, "roles": []int{1}},
		{"id": "session-test-1", "last_accessed_at": nil, "attributes": nil, "authentication_factors": nil, "roles": nil},
	} {
		claims, _, err := fresh(t, token(t, with(session, s)))
		require.NoError(t, err)
		assert.Zero(t, claims.Session)
		assert.Zero(t, claims.SessionStartedAt)
		assert.Empty(t, claims.LegacySession)
		assert.Nil(t, claims.Custom)
	}
}

func TestARefusalNamesItsRule(t *testing.T) {
	good := token(t, asIs)
	for want, token := range map[string]string{
		"longer than 8 KiB":             strings.Repeat("a", 8<<10+1),
		"not three parts":               good + ".a",
		"header is not base64url":       "?" + good,
		"signature is not base64url":    good + "?",
		"typ is not JWT":                withHeader(t, with("typ", "at+jwt")),
		"header asks for an extension":  withHeader(t, with("crit", []string{"exp"})),
		"header brings or names a key":  withHeader(t, with("jku", "https://stytch.com/jwks")),
		"alg is not RS256":              withHeader(t, with("alg", "none")),
		"sub is not a user":             token(t, with("sub", "m2m-client-test-1")),
		"no session claim with an id":   token(t, without(session)),
		"aud is not this project":       token(t, with("aud", "project-test-2")),
		"iss is not this project's":     token(t, with("iss", "stytch.com/project-test-2")),
		"iat, exp or nbf is not a date": token(t, with("exp", "soon")),
		"the signature is wrong":        good[:len(good)-8] + "AAAAAAAA",
		"kid is not in the key set":     withHeader(t, with("kid", "jwk-test-2")),
	} {
		_, _, err := fresh(t, token)
		assert.EqualError(t, err, "sessionjwt: refused: "+want)
	}
}

func TestAnotherKeysSignatureIsRefused(t *testing.T) {
	forged := sign(t, otherKey(), text(t, goodHeader()), text(t, goodClaims()))
	claims, fetches, err := fresh(t, forged)
	assert.ErrorIs(t, err, refused)
	assert.Nil(t, claims)
	assert.EqualValues(t, 1, fetches)

	// The clock is no way around the signature.
	expired := goodClaims()
	expired["exp"] = in(-time.Hour)
	claims, _, err = fresh(t, sign(t, otherKey(), text(t, goodHeader()), text(t, expired)))
	assert.ErrorIs(t, err, refused)
	assert.NotErrorIs(t, err, notCurrent)
	assert.Nil(t, claims)
}

func TestErrorsNeverQuoteTheToken(t *testing.T) {
	const canary = "canary"
	for _, name := range []string{"iss", "aud", "sub", "iat", "nbf", "exp", session} {
		_, _, err := fresh(t, token(t, with(name, canary)))
		require.Error(t, err, name)
		assert.NotContains(t, err.Error(), canary, name)
	}
	for _, name := range []string{"alg", "kid", "typ", "crit", "jwk"} {
		_, _, err := fresh(t, withHeader(t, with(name, canary)))
		require.Error(t, err, name)
		assert.NotContains(t, err.Error(), canary, name)
	}
	_, _, err := fresh(t, canary+"."+canary+"."+canary)
	assert.NotContains(t, err.Error(), canary)
}

func TestNewWantsWhatItNeeds(t *testing.T) {
	keys := sessionjwt.NewKeys(serving(t).fetch, nil)
	assert.NotPanics(t, func() { sessionjwt.New(project, []string{issuer}, keys) })
	assert.Panics(t, func() { sessionjwt.New("", []string{issuer}, keys) })
	assert.Panics(t, func() { sessionjwt.New(project, nil, keys) })
	assert.Panics(t, func() { sessionjwt.New(project, []string{""}, keys) })
	assert.Panics(t, func() { sessionjwt.New(project, []string{issuer}, nil) })
}

func TestReadTakesAStaleTokenOfThisProjectWithoutAKey(t *testing.T) {
	s := serving(t)
	stale := token(t, both(with("exp", in(-time.Hour)), with("iat", in(-2*time.Hour))))
	claims, err := verifier(s).Read(stale)
	require.NoError(t, err)
	assert.Equal(t, "user-test-1", claims.UserID)

	_, err = verifier(s).Read(token(t, both(with("iss", "stytch.com/project-test-2"), with("aud", "project-test-2"))))
	assert.ErrorIs(t, err, sessionjwt.ErrForeign)
	_, err = verifier(s).Read("rubbish")
	assert.ErrorIs(t, err, sessionjwt.ErrRefused)
	assert.Zero(t, s.fetches.Load())
}

// Inspect says what Verify says, as far as it has the keys, and fetches none.
func TestInspectFetchesNothing(t *testing.T) {
	for _, rows := range []func() []row{audRows, issRows, dateRows, sessionRows, sessionDateRows, otherRows} {
		synctest.Test(t, func(t *testing.T) {
			for _, r := range rows() {
				s := serving(t)
				v, text := verifier(s), token(t, r.edit)
				before := r.want
				if before == accepted || before == notCurrent {
					before = noKeys
				}
				_, err := v.Inspect(text)
				assert.ErrorIs(t, err, before, r.name)
				assert.Zero(t, s.fetches.Load(), r.name)
				_, _ = v.Verify(t.Context(), token(t, asIs))
				want, wantErr := v.Verify(t.Context(), text)
				claims, err := v.Inspect(text)
				assert.Equal(t, wantErr, err, r.name)
				assert.Equal(t, want, claims, r.name)
				assert.EqualValues(t, 1, s.fetches.Load(), r.name)
				_, err = v.Inspect(text[:len(text)-8] + "AAAAAAAA")
				assert.Error(t, err, r.name)
			}
		})
	}
}
