// Package tombstones remembers what has ended and must not come back: legacy sessions,
// Stytch sessions, and cookies of which nothing else is known yet.
//
// That something ended stands under a key of its own, apart from what it was. A
// logout writes that before it looks for a session, and who makes a session looks
// for it afterwards: whatever the order, one of the two sees the other.
//
// Here is what this process knows; Everywhere, what the store knows too.
package tombstones

import (
	"context"
	"crypto/sha256"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"example.com/stytchmigrate/internal/cache"
	"example.com/stytchmigrate/internal/names"
	"example.com/stytchmigrate/internal/sealedstore"
)

const (
	// Keep is how long what is over is remembered: no browser keeps a cookie longer,
	// and some machine a record as long.
	TTL = 400 * 24 * time.Hour

	maxEach = 100_000 // of each kind: an id each, and kept apart so that nothing else evicts them
)

// Endings is made with [New]. It is safe for concurrent use.
type Tombstones struct {
	store *sealedstore.Store
	names *names.Names

	legacy   *lru.Cache[string, struct{}] // keys of legacy sessions
	sessions *lru.Cache[string, struct{}] // ids of Stytch sessions

	// cookies are the tokens and JWTs of sessions that were logged out before
	// their id was known here. Anybody can fill it.
	cookies *lru.Cache[CookieHash, struct{}]
}

// New returns Endings that nothing has come to yet.
func New(v *sealedstore.Store, n *names.Names) *Tombstones {
	return &Tombstones{
		store: v, names: n,
		legacy: cache.LRU[string, struct{}](maxEach), sessions: cache.LRU[string, struct{}](maxEach), cookies: cache.LRU[CookieHash, struct{}](maxEach),
	}
}

// Cookie is the SHA-256 of what a browser sent and nobody vouches for, by its
// kind. It is for memories that anybody can fill with cookies of any length.
type CookieHash [sha256.Size]byte

// CookieOf is of a token ('t') or a JWT ('j').
func HashCookie(kind byte, value string) CookieHash {
	return sha256.Sum256(append([]byte{kind}, value...))
}

// EndLegacy makes a legacy session refused from now on, on every machine. An error
// means that others may not know. EndLegacyHere is for this process alone.
func (e *Tombstones) MarkLegacy(ctx context.Context, key string) error {
	e.MarkLegacyLocal(key)
	return e.store.Mark(ctx, legacyKey(key), TTL)
}

func (e *Tombstones) MarkLegacyLocal(key string) { e.legacy.Add(key, struct{}{}) }

// LegacyHere reports whether a legacy session was logged out, as far as this process
// knows, and LegacyEverywhere whether it was on any machine.
func (e *Tombstones) LegacyEndedLocal(key string) bool { return e.legacy.Contains(key) }

func (e *Tombstones) LegacyEnded(ctx context.Context, key string) bool {
	if e.LegacyEndedLocal(key) {
		return true
	}
	ended := e.store.HasMark(ctx, legacyKey(key))
	if ended {
		e.MarkLegacyLocal(key)
	}
	return ended
}

func legacyKey(key string) string { return key + ".ended" }

// EndSessionElsewhere keeps calls for a Stytch session that are under way on other
// machines from handing it out. SessionElsewhere is their question.
func (e *Tombstones) MarkSessionShared(ctx context.Context, id string) error {
	return e.store.Mark(ctx, e.sessionKey(id), TTL)
}

func (e *Tombstones) SessionEndedShared(ctx context.Context, id string) bool {
	return e.store.HasMark(ctx, e.sessionKey(id))
}

func (e *Tombstones) sessionKey(id string) string { return e.names.Session(id) + ".over" }

// EndSessionHere makes this process refuse a Stytch session from now on, though its
// JWT verifies. It reports whether it did so already.
func (e *Tombstones) MarkSessionLocal(id string) (already bool) {
	already, _ = e.sessions.ContainsOrAdd(id, struct{}{})
	return already
}

func (e *Tombstones) SessionEndedLocal(id string) bool { return e.sessions.Contains(id) }

// EndCookieHere is EndSessionHere for a session of which nothing but a cookie is
// known yet.
func (e *Tombstones) MarkCookie(c CookieHash) { e.cookies.Add(c, struct{}{}) }

func (e *Tombstones) CookieEnded(c CookieHash) bool { return e.cookies.Contains(c) }

// AnyCookie reports whether any ended: few do, and each JWT that comes would have to
// be hashed.
func (e *Tombstones) HasCookies() bool { return e.cookies.Len() > 0 }
