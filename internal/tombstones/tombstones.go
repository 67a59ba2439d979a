// Package tombstones remembers what has ended and must not come back: legacy sessions,
// Stytch sessions, and cookies whose session is not known yet.
//
// A logout marks a session as ended, then looks whether the session is known, to end it;
// code that learns of a session stores it, then looks for the mark: whatever the order,
// at least one of the two sees the other. For that, the mark has a key of its own. On the
// key of the record, a logout could overwrite a session that it had not seen.
//
// Methods that end in Local are about this process alone. The others also write to the
// store that machines share, or read from it, if there is one.
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
	// TTL is how long a mark stays in the store. No browser keeps a cookie for longer
	// (RFC 6265bis, Cookie Lifetime Limits), and a machine may keep a record for as long.
	TTL = 400 * 24 * time.Hour

	// replacedFor is how long a response may be on its way that was decided before the
	// browser signed in.
	replacedFor = 5 * time.Minute

	// maxOfEach bounds the marks of each kind in this process. The kinds are kept apart,
	// so that a flood of one evicts no other.
	maxOfEach = 100_000
)

// Tombstones are the marks. Make them with [New]. They are safe for concurrent use.
type Tombstones struct {
	store *sealedstore.Store
	names *names.Names

	legacy   *lru.Cache[string, struct{}] // keys of legacy sessions' records
	sessions *lru.Cache[string, struct{}] // ids of Stytch sessions

	tied *lru.Cache[string, []string] // ids of Stytch sessions to keys of legacy sessions that end with them

	// cookies are tokens and JWTs that were logged out before their session's id was
	// known here. Strangers can fill it.
	cookies *lru.Cache[CookieHash, struct{}]

	replaced cache.TTL[CookieHash, struct{}] // cookies in whose place a sign-in has set others
	users    cache.TTL[string, struct{}]     // users whose sessions were all ended a short time ago
}

// New returns Tombstones without a mark of their own.
func New(store *sealedstore.Store, n *names.Names) *Tombstones {
	return &Tombstones{
		store: store, names: n,
		tied:   cache.LRU[string, []string](maxOfEach),
		legacy: cache.LRU[string, struct{}](maxOfEach), sessions: cache.LRU[string, struct{}](maxOfEach), cookies: cache.LRU[CookieHash, struct{}](maxOfEach),
		replaced: cache.NewTTL[CookieHash, struct{}](maxOfEach), users: cache.NewTTL[string, struct{}](maxOfEach),
	}
}

// MarkLegacy marks a legacy session on every machine. An error means that other
// machines may not learn of it.
func (t *Tombstones) MarkLegacy(ctx context.Context, key string) error {
	t.MarkLegacyLocal(key)
	return t.store.Mark(ctx, legacyKey(key), TTL)
}

// LegacyEnded reports whether a legacy session was marked on any machine. If the store
// can't tell, it is what this process knows.
func (t *Tombstones) LegacyEnded(ctx context.Context, key string) bool {
	if t.LegacyEndedLocal(key) {
		return true
	}
	ended := t.store.HasMark(ctx, legacyKey(key))
	if ended {
		t.MarkLegacyLocal(key)
	}
	return ended
}

// MarkLegacyLocal marks a legacy session in this process alone.
func (t *Tombstones) MarkLegacyLocal(key string) { t.legacy.Add(key, struct{}{}) }

// LegacyEndedLocal reports whether this process has marked a legacy session.
func (t *Tombstones) LegacyEndedLocal(key string) bool { return t.legacy.Contains(key) }

func legacyKey(key string) string { return key + ".ended" }

// MarkSessionShared marks a Stytch session in the store alone. That keeps calls that are
// on their way on other machines from bringing it back.
func (t *Tombstones) MarkSessionShared(ctx context.Context, id string) error {
	return t.store.Mark(ctx, t.sessionKey(id), TTL)
}

// SessionEndedShared reports whether a Stytch session was marked in the store. If the
// store can't tell, it is false.
func (t *Tombstones) SessionEndedShared(ctx context.Context, id string) bool {
	return t.store.HasMark(ctx, t.sessionKey(id))
}

func (t *Tombstones) sessionKey(id string) string { return t.names.Session(id) + ".over" }

// MarkSessionLocal makes this process refuse a Stytch session from now on, even if its
// JWT verifies. It reports whether the session was marked already.
func (t *Tombstones) MarkSessionLocal(id string) (already bool) {
	already, _ = t.sessions.ContainsOrAdd(id, struct{}{})
	return already
}

// SessionEndedLocal reports whether this process has marked a Stytch session.
func (t *Tombstones) SessionEndedLocal(id string) bool { return t.sessions.Contains(id) }

// CookieHash stands for a cookie that nothing vouches for. It is a hash because
// strangers can send such cookies, of any length.
type CookieHash [sha256.Size]byte

// HashCookie returns the hash of a token (kind 't') or a JWT (kind 'j').
func HashCookie(kind byte, value string) CookieHash {
	return sha256.Sum256(append([]byte{kind}, value...))
}

// MarkCookie makes this process refuse the session of a cookie from now on, though the
// session's id is not known yet.
func (t *Tombstones) MarkCookie(c CookieHash) { t.cookies.Add(c, struct{}{}) }

// CookieEnded reports whether a cookie was marked.
func (t *Tombstones) CookieEnded(c CookieHash) bool { return t.cookies.Contains(c) }

// HasCookies reports whether any cookie was marked. Ask it first: it saves the hash of
// each JWT that comes, and there are few marked cookies.
func (t *Tombstones) HasCookies() bool { return t.cookies.Len() > 0 }

// MarkReplaced notes on every machine that a sign-in has set other cookies in place of
// this one. A response to a request that brought this one must not touch the browser's
// cookies: they are those of the sign-in by now.
func (t *Tombstones) MarkReplaced(ctx context.Context, c CookieHash) error {
	t.replaced.Put(c, struct{}{}, replacedFor)
	return t.store.Mark(ctx, t.replacedKey(c), replacedFor)
}

// IsReplaced reports whether MarkReplaced was called for a cookie a short time ago. If the
// store can't tell, it is what this process knows.
func (t *Tombstones) IsReplaced(ctx context.Context, c CookieHash) bool {
	if _, replaced := t.replaced.Get(c); replaced {
		return true
	}
	return t.store.HasMark(ctx, t.replacedKey(c))
}

func (t *Tombstones) replacedKey(c CookieHash) string {
	return t.names.Session(string(c[:])) + ".replaced"
}

// MarkUser notes on every machine, for a time, that all sessions of a user end now. An
// exchange that is under way looks for the mark when its session is made: that session is
// in no list of the user's sessions yet.
func (t *Tombstones) MarkUser(ctx context.Context, id string, ttl time.Duration) error {
	t.users.Put(id, struct{}{}, ttl)
	return t.store.Mark(ctx, t.userKey(id), ttl)
}

// UserEnded reports whether MarkUser was called for a user. If the store can't tell, it is
// what this process knows.
func (t *Tombstones) UserEnded(ctx context.Context, id string) bool {
	if _, ended := t.users.Get(id); ended {
		return true
	}
	return t.store.HasMark(ctx, t.userKey(id))
}

func (t *Tombstones) userKey(id string) string { return t.names.Session("user "+id) + ".user" }
