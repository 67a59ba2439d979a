// Package records remembers what became of legacy sessions: in the store that
// machines share, if there is one, and in this process, for when that is down.
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
	keepRecord = 30 * 24 * time.Hour // at least; a session that lives longer is kept as long as that
)

// Records is made with [New]. It is safe for concurrent use.
type Records struct {
	store *sealedstore.Store
	codec Codec
	lease time.Duration
	local cache.TTL[string, []byte] // sealed
}

// Codec is how an answer of Stytch's is written down.
type Codec struct {
	Encode func(*stytch.Session) (json.RawMessage, error)
	Decode func(json.RawMessage) (*stytch.Session, error) // an error too where it is of no use
}

// Record is a legacy session's Stytch session.
type Record struct {
	VouchedAt time.Time // when Stytch vouched for it last
	Session   *stytch.Session
}

// written is a Record as it is stored.
type written struct {
	At     time.Time       `json:"at"`
	Answer json.RawMessage `json:"answer"`
}

// New returns Records in a store. lease is for how long a claim is one's own before
// it has to be renewed.
func New(v *sealedstore.Store, c Codec, lease time.Duration) *Records {
	return &Records{store: v, codec: c, lease: lease, local: cache.NewTTL[string, []byte](maxRecords)}
}

// ttl is how long a record is of use.
func (r *Record) ttl() time.Duration { return max(keepRecord, time.Until(r.Session.ExpiresAt)) }

// Load returns the record of a legacy session, nil if there is none. id, that
// session's, opens it.
func (s *Records) Load(ctx context.Context, key string, id redact.Secret) *Record {
	sealed, _, err := s.store.Get(ctx, key)
	if r := s.read(key, id, sealed); r != nil {
		return r
	}
	sealed, _ = s.local.Get(key)
	r := s.read(key, id, sealed)
	if r != nil && err == nil { // the store was down when this was made, or has lost it
		_, _ = s.store.Put(ctx, key, "", sealed, r.ttl())
	}
	return r
}

// read returns the record of a sealed value, or nil: what can't be read is
// none, and worth a line in the log.
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

// Put remembers a session. It returns false, and remembers nothing, if owner's
// claim was lost; owner "" needs none.
func (s *Records) Put(ctx context.Context, key string, id redact.Secret, owner string, r *Record) (stored bool) {
	answer, err := s.codec.Encode(r.Session)
	if err != nil {
		return true // remembered by nobody, but no other's either
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

// Claim asks for the right to exchange a legacy session. An error means that
// the store can't tell, and may yet do it.
func (s *Records) Claim(ctx context.Context, key, owner string) (claimed bool, err error) {
	return s.store.Claim(ctx, key, owner, s.lease)
}

// Release gives a claim back.
func (s *Records) Release(ctx context.Context, key, owner string) {
	s.store.Release(ctx, key, owner)
}

// Hold renews a claim until stop is called. A claim that can't be renewed is
// found out about by Put. sure is false where a renewal got no answer: it may yet
// reach the store, and get a claim back that was lost.
func (s *Records) Hold(ctx context.Context, key, owner string) (stop func() (sure bool)) {
	if !s.store.IsShared() {
		return func() bool { return true }
	}
	sure := true
	ctx, cancel := context.WithCancel(ctx)
	over := make(chan struct{})
	go func() {
		defer close(over)
		tick := time.NewTicker(max(s.lease/3, time.Millisecond))
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if _, err := s.store.Claim(context.WithoutCancel(ctx), key, owner, s.lease); err != nil {
					sure = false
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() bool { cancel(); <-over; return sure }
}

// Source is the legacy session that a record is of, kept where it has to be
// ended at its source: at a logout the browser has its cookie no more.
type Source struct {
	Cookie    string            `json:"cookie"`
	Entry     int               `json:"entry"` // of Config.Legacy; two may have one name
	ID        redact.Secret     `json:"id"`
	Token     redact.Secret     `json:"token"`
	Identity  userinfo.Identity `json:"identity"`
	StartedAt time.Time         `json:"started_at"`
	ExpiresAt time.Time         `json:"expires_at"`
}

// storedSource is a Source as it is stored: a redact.Secret encodes as [redacted].
type storedSource struct {
	Source
	ID    string `json:"id"`
	Token string `json:"token"`
}

// PutSource remembers the legacy session of a record, and Source returns it.
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

func (s *Records) Source(ctx context.Context, key string) (src Source, found bool) {
	key += ".source"
	sealed, ok := s.local.Get(key)
	if !ok {
		sealed, _, _ = s.store.Get(ctx, key)
	}
	if len(sealed) == 0 {
		return src, false
	}
	plain, err := s.store.Open(key, "", sealed)
	if err == nil {
		err = json.Unmarshal(plain, &src)
	}
	if err != nil {
		s.store.ReportUnreadable()
	}
	return src, err == nil
}
