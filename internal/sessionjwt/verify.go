// Package sessionjwt decides whether a token is a session JWT of a Stytch
// project, without a call to Stytch for each.
//
// The keys that sign session JWTs sign other tokens too, and anyone can write
// whatever they like into a cookie. So every rule is an allow-list, and all
// rules that need no key come first: only a token that could be a session JWT
// of this project, but for its signature, can cause the key set to be fetched.
//
// A session that was revoked has a JWT that verifies until it expires, five
// minutes after it was made: that is the price of not asking.
package sessionjwt

import (
	"context"
	"crypto/rsa"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	// Leeway is how far the clocks of Stytch and of this machine may be apart.
	// A token's nbf is the moment it was made, so some is needed.
	Leeway = 30 * time.Second

	// maxAhead is how far ahead of our clock a token may have been made, and
	// still be worth a question to Stytch: it is our clock that may be wrong.
	maxAhead = 5 * time.Minute
)

// What Verify finds, to be told apart with [errors.Is].
var (
	// ErrRefused is for what is no session JWT of this project: rubbish, forged,
	// another kind of token, or one whose session has run out. The error's text
	// names the rule that was broken, and holds nothing of the token.
	ErrRefused = errors.New("sessionjwt: refused")

	// ErrNotCurrent is for a session JWT of this project that only the clock
	// speaks against. Stytch knows if its session is alive.
	ErrNotCurrent = errors.New("sessionjwt: not current")

	// ErrForeign is for what looks like a session JWT of another project. Its
	// signature has not been verified, and can't be.
	ErrForeign = errors.New("sessionjwt: of another project")

	// ErrNoKeys means that nothing can be said, for want of the key.
	ErrNoKeys = errors.New("sessionjwt: no key set to verify with")
)

// refusal is an ErrRefused that names the rule. It is made of constants only:
// a string that could come from a token doesn't convert by itself.
type refusal string

func (r refusal) Error() string { return ErrRefused.Error() + ": " + string(r) }
func (r refusal) Unwrap() error { return ErrRefused }

// A Verifier verifies the session JWTs of one Stytch project. It is safe for
// concurrent use, if it was made by [New].
type Verifier struct {
	projectID string
	issuers   []string
	keys      *Keys
	header    atomic.Pointer[passed] // of the last token whose signature was right
}

// New returns a [Verifier] for tokens that are for projectID and by one of
// issuers, verified with keys. Both are compared byte for byte. New panics if
// projectID or issuers is empty, since such a Verifier would refuse all users.
func New(projectID string, issuers []string, keys *Keys) *Verifier {
	if projectID == "" || len(issuers) == 0 || slices.Contains(issuers, "") || keys == nil {
		panic("sessionjwt: New without project, issuers or keys")
	}
	return &Verifier{projectID: projectID, issuers: slices.Clone(issuers), keys: keys}
}

// Verify returns the claims of a session JWT, or one of [ErrRefused],
// [ErrNotCurrent], [ErrForeign] and [ErrNoKeys]. With ErrNotCurrent it returns
// the claims as well: all other rules were kept, and the signature is right.
//
// It waits only where the token names a key that is not in the set: two seconds
// at most, and no longer than ctx lasts.
func (v *Verifier) Verify(ctx context.Context, token string) (*Claims, error) {
	t, c, err := v.parse(token)
	if err != nil {
		return nil, err
	}
	current := c.checkDates(time.Now())
	if errors.Is(current, ErrRefused) {
		return nil, current
	}
	if err := v.keys.checkSignature(ctx, t); err != nil {
		return nil, err
	}
	if last := v.header.Load(); last == nil || last.segment != t.header {
		v.header.Store(&passed{strings.Clone(t.header), t.keyID})
	}
	return &c.Claims, current
}

// Inspect is Verify that fetches no keys and remembers nothing. A token whose key is not
// in the set in force is [ErrNoKeys].
func (v *Verifier) Inspect(token string) (*Claims, error) {
	t, c, err := v.parse(token)
	if err != nil {
		return nil, err
	}
	current := c.checkDates(time.Now())
	if errors.Is(current, ErrRefused) {
		return nil, current
	}
	key := v.keys.set.Load().key(t.keyID)
	if key == nil {
		return nil, ErrNoKeys
	}
	if err := t.checkSignature(key); err != nil {
		return nil, err
	}
	return &c.Claims, current
}

// Read returns the claims of a session JWT of this project without a look at
// its dates and its signature: it is for what Stytch itself has just answered.
func (v *Verifier) Read(token string) (*Claims, error) {
	_, c, err := v.parse(token)
	if err != nil {
		return nil, err
	}
	return &c.Claims, nil
}

// parse applies the rules that need neither a key nor a clock.
func (v *Verifier) parse(token string) (*jws, *claimSet, error) {
	t, err := parseJWS(token, v.header.Load())
	if err != nil {
		return nil, nil, err
	}
	c, err := parseClaims(t.payload)
	if err != nil {
		return nil, nil, err
	}
	return t, c, v.checkNames(c)
}

// checkNames tells whose token it is.
func (v *Verifier) checkNames(c *claimSet) error {
	by, us := slices.Contains(v.issuers, c.issuer), slices.Contains(c.audience, v.projectID)
	switch {
	case by && us:
		return nil
	case by:
		return refusal("aud is not this project")
	case us:
		return refusal("iss is not this project's")
	default:
		return ErrForeign
	}
}

// checkDates returns nil for a token that is current. A token that isn't may be
// of a session that was extended after it was made, so the session's own end,
// as that token has it, is held against current tokens only.
func (c *claimSet) checkDates(now time.Time) error {
	made := c.IssuedAt
	if c.notBefore.After(made) {
		made = c.notBefore
	}
	switch {
	case made.After(now.Add(maxAhead)):
		return refusal("iat or nbf is too far ahead")
	case made.After(now.Add(Leeway)), !now.Before(c.ExpiresAt.Add(Leeway)):
		return ErrNotCurrent
	case !now.Before(c.SessionExpiresAt.Add(Leeway)):
		return refusal("the session has run out")
	default:
		return nil
	}
}

// checkSignature verifies a token whose header has passed, whatever its payload.
func (k *Keys) checkSignature(ctx context.Context, t *jws) error {
	key, err := k.Key(ctx, t.keyID)
	if err != nil {
		return err
	}
	return t.checkSignature(key)
}

func (t *jws) checkSignature(key *rsa.PublicKey) error {
	if jwt.SigningMethodRS256.Verify(t.signed, t.signature, key) != nil {
		return refusal("the signature is wrong")
	}
	return nil
}
