// Package records remembers which Stytch session each legacy session became. A record is
// in the store that machines share, if there is one. It is in the memory of this process
// too, in case the store is down.
package records

import (
	"context"
	"encoding/json"
	"time"

	"example.com/stytchmigrate/internal/cache"
	"example.com/stytchmigrate/internal/redact"
	"example.com/stytchmigrate/internal/sealedstore"
	"example.com/stytchmigrate/internal/stytch"
	"example.com/stytchmigrate/userinfo"
)

const (
	maxRecords = 20_000              // in this process, of a few KB each
	keepRecord = 30 * 24 * time.Hour // at least; the record of a session that lives longer is kept for as long as that lives
)

// Records is made with [New]. It is safe for concurrent use.
type Records struct {
	store *sealedstore.Store
	codec Codec
	local cache.TTL[string, []byte] // sealed
}

// Codec writes sessions as JSON, and reads them. Decode returns an error also for JSON
// that lacks what a session must have.
type Codec struct {
	Encode func(*stytch.Session) (json.RawMessage, error)
	Decode func(json.RawMessage) (*stytch.Session, error)
}

// Record names the Stytch session that a legacy session became.
type Record struct {
	VouchedAt time.Time // when Stytch last vouched for the session
	Session   *stytch.Session
}

// written is a Record as it is stored.
type written struct {
	At     time.Time       `json:"at"`
	Answer json.RawMessage `json:"answer"`
}

// New returns the records in a store.
func New(v *sealedstore.Store, c Codec) *Records {
	return &Records{store: v, codec: c, local: cache.NewTTL[string, []byte](maxRecords)}
}

// ttl is how long a record is of use.
func (r *Record) ttl() time.Duration { return max(keepRecord, time.Until(r.Session.ExpiresAt)) }

// Load returns the record of a legacy session, or nil. id is the legacy session's own:
// the record opens with it alone.
func (s *Records) Load(ctx context.Context, key string, id redact.Secret) *Record {
	sealed, _, err := s.store.Get(ctx, key)
	if r := s.read(key, id, sealed); r != nil {
		return r
	}
	sealed, _ = s.local.Get(key)
	r := s.read(key, id, sealed)
	if r != nil && err == nil { // the store was down when this record was made, or has lost it
		_, _ = s.store.Put(ctx, key, "", sealed, r.ttl())
	}
	return r
}

// HasLocal reports whether the memory of this process has a record. It makes no call.
func (s *Records) HasLocal(key string) bool {
	_, ok := s.local.Get(key)
	return ok
}

// read returns the record in a sealed value, or nil. A value that can't be read is
// reported, and counts as none: so it signs no user out.
func (s *Records) read(key string, id redact.Secret, sealed []byte) *Record {
	if len(sealed) == 0 {
		return nil
	}
	var w written
	r := new(Record)
	plain, err := s.store.Open(key, id, sealed)
	if err == nil {
		err = json.Unmarshal(plain, &w)
	}
	if err == nil {
		r.Session, err = s.codec.Decode(w.Answer)
	}
	if r.VouchedAt = w.At; err != nil || r.VouchedAt.IsZero() {
		s.store.ReportUnreadable()
		return nil
	}
	return r
}

// Put records a session. If owner has lost its claim, Put records nothing and returns
// false. An owner "" needs no claim.
func (s *Records) Put(ctx context.Context, key string, id redact.Secret, owner string, r *Record) (stored bool) {
	answer, err := s.codec.Encode(r.Session)
	if err != nil {
		return true // not recorded; but the claim was not lost, and the session may be handed out
	}
	plain, err := json.Marshal(written{r.VouchedAt, answer})
	if err != nil {
		return true
	}
	sealed := s.store.Seal(key, id, plain)
	if stored, err := s.store.Put(ctx, key, owner, sealed, r.ttl()); err == nil && !stored {
		return false
	}
	s.local.Put(key, sealed, r.ttl())
	return true
}

// Claim asks for the right to exchange a legacy session, for the time of lease. After an
// error the claim may come into force all the same, also later.
func (s *Records) Claim(ctx context.Context, key, owner string, lease time.Duration) (claimed bool, err error) {
	return s.store.Claim(ctx, key, owner, lease)
}

// Release gives a claim back.
func (s *Records) Release(ctx context.Context, key, owner string) {
	s.store.Release(ctx, key, owner)
}

// Source is the legacy session that a record is of. A logout without the legacy cookie needs it for
// LegacyCookie.End: the browser does not have the legacy cookie any more.
type Source struct {
	Cookie    string            `json:"cookie"`
	Entry     int               `json:"entry"` // the index in Config.Legacy; two entries may have one name
	ID        redact.Secret     `json:"id"`
	Token     redact.Secret     `json:"token"`
	Identity  userinfo.Identity `json:"identity"`
	StartedAt time.Time         `json:"started_at"`
	ExpiresAt time.Time         `json:"expires_at"`

	UntilBrowserCloses bool `json:"until_browser_closes,omitzero"`
}

// storedSource is a Source as it is stored. It writes the secrets as plain strings, for
// a redact.Secret encodes as [redacted].
type storedSource struct {
	Source
	ID    string `json:"id"`
	Token string `json:"token"`
}

// PutSource keeps the legacy session of a record for a time.
func (s *Records) PutSource(ctx context.Context, key string, src Source, ttl time.Duration) {
	plain, err := json.Marshal(storedSource{src, string(src.ID), string(src.Token)})
	if err != nil {
		return
	}
	key += ".source"
	sealed := s.store.Seal(key, "", plain)
	s.local.Put(key, sealed, ttl)
	_, _ = s.store.Put(ctx, key, "", sealed, ttl)
}

// Source returns the legacy session of a record, if PutSource kept it. An error means
// that it can't be told.
func (s *Records) Source(ctx context.Context, key string) (src Source, found bool, err error) {
	key += ".source"
	sealed, ok := s.local.Get(key)
	if !ok {
		if sealed, _, err = s.store.Get(ctx, key); err != nil {
			return src, false, err
		}
	}
	if len(sealed) == 0 {
		return src, false, nil
	}
	plain, err := s.store.Open(key, "", sealed)
	if err == nil {
		err = json.Unmarshal(plain, &src)
	}
	if err != nil {
		s.store.ReportUnreadable()
		return Source{}, false, sealedstore.ErrUnreadable
	}
	return src, true, nil
}
