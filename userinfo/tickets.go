package userinfo

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/gorilla/securecookie"
)

const (
	// ticketName goes into the MAC, so that nothing else sealed with the same
	// keys, a cookie say, is a ticket, and no ticket is a cookie.
	ticketName = "stytchmigrate-ticket"

	ticketLife  = 60 * time.Second // Stytch redeems within the request that it was sent in
	clockLeeway = 30 * time.Second // how far the clocks of two machines may differ

	// maxNames bounds the optional part of a ticket, so that a header of 4 KB
	// holds the ticket of everybody but a user with an absurd subject.
	maxNames = 512
)

var errNotMade = errors.New("userinfo: Tickets was not made by NewTickets")

// Tickets mints and redeems tickets: sealed, short-lived tokens that hold an
// [Identity] and stand for a legacy session on the way to Stytch and back. Nothing
// is stored, so any machine with the same keys redeems what another one minted.
//
// A ticket can be neither read nor changed without the keys. It lives for 60
// seconds, and for 30 more because clocks disagree. Until then it may be redeemed
// more than once: Stytch may repeat its call, and to remember what was redeemed,
// the machines would have to share it.
//
// So whoever catches a ticket can learn the Identity in it from the endpoint, for
// 90 seconds at most. It gets nobody a session, for that takes the secret of the
// Stytch project as well, and it is no credential anywhere else. A ticket travels
// only in calls from the application to Stytch and from there to the endpoint,
// which must both be made over TLS.
//
// It can't live much shorter. It is minted when an exchange begins, and must be
// good until Stytch redeems it in the last try of that: the middleware lets an
// exchange run for three times its Timeout, 15 seconds by default. A Timeout of
// more than 20 seconds lets one outlive its ticket. Stytch is then refused by the
// endpoint, which loses nobody: the user keeps the legacy session, and the next
// exchange has a ticket of its own.
//
// Make it with [NewTickets]; the zero value can neither mint nor redeem. It is
// safe for concurrent use, and prints and logs as [redacted].
type Tickets struct {
	// A pointer, so that fmt gets no further even where it may not call Format:
	// in an unexported field of a struct that somebody prints.
	box *box
}

type box struct {
	codecs []securecookie.Codec // the first mints; not written after NewTickets

	mu       sync.RWMutex
	projects map[string]bool // guarded by mu: those that Minter was called for
}

// ticket is what is sealed. Its times are its own and not securecookie's, which
// knows of no clock that is ahead of ours.
type ticket struct {
	Project   string   `json:"project"`
	IssuedAt  int64    `json:"iat"` // milliseconds of Unix time
	ExpiresAt int64    `json:"exp"`
	Identity  Identity `json:"identity"`
}

// NewTickets returns Tickets that seal with the first pair of keys and redeem
// with any of them. A pair is as in gorilla/securecookie: a hash key of at least
// 32 bytes and a block key of 16, 24 or 32 bytes, here both required. The error
// names everything that is wrong, and holds nothing of the keys, which are copied.
//
// To rotate keys with no request lost, let each step reach all machines before
// the next: add the new pair last, then put it first, then, after two minutes in
// which the last tickets of the old one run out, drop that.
//
// Keep to keys that nothing else uses, and to other keys for each Stytch
// environment.
func NewTickets(keyPairs ...[]byte) (*Tickets, error) {
	var wrong []error
	if len(keyPairs) == 0 {
		wrong = append(wrong, errors.New("userinfo: no keys given"))
	}
	b := &box{projects: map[string]bool{}}
	for i := 0; i < len(keyPairs); i += 2 {
		pair := i/2 + 1
		hashKey, blockKey := bytes.Clone(keyPairs[i]), []byte(nil)
		if n := len(hashKey); n < 32 {
			wrong = append(wrong, fmt.Errorf("userinfo: pair %d: hash key has %d bytes, not 32 or more", pair, n))
		}
		if i+1 == len(keyPairs) {
			wrong = append(wrong, fmt.Errorf("userinfo: pair %d: block key is missing", pair))
			break
		}
		blockKey = bytes.Clone(keyPairs[i+1])
		switch n := len(blockKey); n {
		case 16, 24, 32:
		default:
			wrong = append(wrong, fmt.Errorf("userinfo: pair %d: block key has %d bytes, not 16, 24 or 32", pair, n))
		}
		b.codecs = append(b.codecs, securecookie.New(hashKey, blockKey).
			SetSerializer(securecookie.JSONEncoder{}).MaxAge(0).MaxLength(maxToken))
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, err
	}
	return &Tickets{box: b}, nil
}

// Minter returns the function that mints the tickets of a Stytch project. The
// middleware calls it; an application has no need to.
//
// From the first call on, t redeems only tickets of the projects that Minter was
// called for. Until then, as in a program that serves only the UserInfo endpoint,
// it redeems whatever its keys open.
//
// The function returned is safe for concurrent use. It refuses an Identity that
// [Identity.Validate] finds wrong, and leaves the names out of a ticket if they
// come to more than 512 bytes: a long name must keep nobody from migrating.
func (t *Tickets) Minter(projectID string) func(Identity) (string, error) {
	if t == nil || t.box == nil {
		return func(Identity) (string, error) { return "", errNotMade }
	}
	t.box.mu.Lock()
	t.box.projects[projectID] = true
	t.box.mu.Unlock()

	codec := t.box.codecs[0]
	return func(id Identity) (string, error) {
		if err := id.Validate(); err != nil {
			return "", err
		}
		if len(id.Name)+len(id.GivenName)+len(id.MiddleName)+len(id.FamilyName) > maxNames {
			id.Name, id.GivenName, id.MiddleName, id.FamilyName = "", "", "", ""
		}
		now := time.Now()
		return codec.Encode(ticketName, ticket{
			Project:   projectID,
			IssuedAt:  now.UnixMilli(),
			ExpiresAt: now.Add(ticketLife).UnixMilli(),
			Identity:  id,
		})
	}
}

// Redeem returns the Identity in a ticket. For any token that is not a ticket of
// these keys and projects within its life, it returns [ErrInvalidToken] and no
// more. It waits for nothing, so it has no use for its context; it has one so
// that it can be given to [Handler].
func (t *Tickets) Redeem(_ context.Context, token string) (Identity, error) {
	if t == nil || t.box == nil {
		return Identity{}, errNotMade
	}
	if !isCanonical(token) {
		return Identity{}, ErrInvalidToken
	}
	now := time.Now()
	for _, codec := range t.box.codecs {
		// A ticket of its own for each, and no end of the search before one is
		// good all through: pairs that share a hash key open each other's MAC,
		// and what the wrong block key makes of the rest may pass for JSON.
		var tk ticket
		if codec.Decode(ticketName, token, &tk) == nil && tk.isLive(now) && t.box.mayRedeem(tk.Project) {
			return tk.Identity, nil
		}
	}
	return Identity{}, ErrInvalidToken
}

// isCanonical reports whether token is the one way of writing its bytes in
// base64. securecookie also takes line breaks and stray bits at the end, outside
// of what its MAC covers.
func isCanonical(token string) bool {
	if len(token) > maxToken {
		return false
	}
	b, err := base64.URLEncoding.DecodeString(token)
	return err == nil && base64.URLEncoding.EncodeToString(b) == token
}

func (tk ticket) isLive(now time.Time) bool {
	issued, expires := time.UnixMilli(tk.IssuedAt), time.UnixMilli(tk.ExpiresAt)
	return !issued.After(now.Add(clockLeeway)) && now.Before(expires.Add(clockLeeway))
}

func (b *box) mayRedeem(project string) bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return len(b.projects) == 0 || b.projects[project]
}

// Format implements [fmt.Formatter], so that no verb prints the keys. String
// alone would leave out %d and %#v.
func (Tickets) Format(s fmt.State, _ rune) { io.WriteString(s, "[redacted]") }

// LogValue implements [slog.LogValuer] to the same end.
func (Tickets) LogValue() slog.Value { return slog.StringValue("[redacted]") }
