package stytchmigrate

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"example.com/stytchmigrate/userinfo"
)

const (
	recordFormat = 1                // the first byte of a sealed value
	recordFresh  = 10 * time.Second // a record of which Stytch need not be asked

	maxRecords = 20_000 // in this process, of a few KB each

	keepRecord = 30 * 24 * time.Hour  // at least; a session that lives longer is kept as long as that
	keepEnded  = 400 * 24 * time.Hour // what is over: no browser keeps a cookie longer, and some machine a record as long
)

// records remembers what became of legacy sessions: in the store that machines
// share, if there is one, and in this process, for when that is down.
//
// That a legacy session ended stands under a key of its own. A logout writes it
// before it looks for a session, and who makes a session looks for it
// afterwards: whatever the order, one of the two sees the other.
type records struct {
	key    Secret // Config.RecordKey
	lease  time.Duration
	local  memory
	ended  *lru.Cache[string, struct{}] // keys; apart from local, so that no session evicts them
	shared *sharedStore                 // nil without Config.Store
	loud   func(kind string, err error)
	told   atomic.Int64 // when it was loud last of what can't be read, in Unix seconds
}

// record is a legacy session's Stytch session.
type record struct {
	At     time.Time            `json:"at"` // when Stytch vouched for it last
	Answer AuthenticateResponse `json:"answer"`
}

// source is the legacy session that a record is of, kept where it has to be
// ended at its source: at a logout the browser has its cookie no more.
type source struct {
	Cookie    string            `json:"cookie"`
	Entry     int               `json:"entry"` // of Config.Legacy; two may have one name
	ID        string            `json:"id"`
	Token     string            `json:"token"`
	Identity  userinfo.Identity `json:"identity"`
	StartedAt time.Time         `json:"started_at"`
	ExpiresAt time.Time         `json:"expires_at"`
}

// find returns what became of a legacy session: its record, that it ended, or
// neither. id, the legacy session's, opens the record. Where there is none, the
// store is asked only at last whether it ended.
func (s *records) find(ctx context.Context, key string, id Secret, last bool) (r *record, ended bool) {
	if s.ended.Contains(key) {
		return nil, true
	}
	if r = s.load(ctx, key, id); r == nil && !last {
		return nil, false
	}
	return r, s.hasEnded(ctx, key)
}

func (s *records) load(ctx context.Context, key string, id Secret) *record {
	missed := false
	if s.shared != nil {
		sealed, _, err := s.shared.get(ctx, key)
		if r := s.read(key, id, sealed); r != nil {
			return r
		}
		missed = err == nil
	}
	sealed := s.local.get(key)
	r := s.read(key, id, sealed)
	if r != nil && missed { // the store was down when this was made, or has lost it
		_, _ = s.shared.put(ctx, key, "", sealed, r.ttl())
	}
	return r
}

// ttl is how long a record is of use.
func (r *record) ttl() time.Duration { return max(keepRecord, time.Until(r.Answer.Session.ExpiresAt)) }

// read returns the record of a sealed value, or nil: what can't be read is
// none, and worth a line in the log.
func (s *records) read(key string, id Secret, sealed []byte) *record {
	if len(sealed) == 0 {
		return nil
	}
	plain, err := s.open(key, id, sealed)
	r := new(record)
	if err == nil {
		from := json.NewDecoder(bytes.NewReader(plain))
		from.UseNumber()
		err = from.Decode(r)
	}
	a := &r.Answer
	if err == nil && !r.At.IsZero() && unusable(a.User.UserID, a.User.UserID, &a.Session, a.SessionToken, a.SessionJWT) == "" {
		return r
	}
	s.unreadable()
	return nil
}

// unreadable is loud once a minute: what can't be read may be met in each request.
func (s *records) unreadable() {
	now := time.Now().Unix()
	if before := s.told.Load(); now-before >= 60 && s.told.CompareAndSwap(before, now) {
		s.loud(kindStore, errRecord)
	}
}

var errRecord = errors.New("stytchmigrate: store: a record can't be read: it is forged, of another key, or of another version")

// hasEnded reports whether a legacy session was logged out, here or elsewhere.
func (s *records) hasEnded(ctx context.Context, key string) bool {
	if s.ended.Contains(key) {
		return true
	}
	ended := s.marked(ctx, key+".ended")
	if ended {
		s.ended.Add(key, struct{}{})
	}
	return ended
}

// put remembers a session. It returns false, and remembers nothing, if owner's
// claim was lost; owner "" needs none.
func (s *records) put(ctx context.Context, key string, id Secret, owner string, r *record) (stored bool) {
	plain, err := json.Marshal(r)
	if err != nil {
		return true // remembered by nobody, but no other's either
	}
	sealed := s.seal(key, id, plain)
	if s.shared != nil {
		if stored, err := s.shared.put(ctx, key, owner, sealed, r.ttl()); err == nil && !stored {
			return false
		}
	}
	s.local.put(key, sealed, r.ttl())
	return true
}

// putSource remembers the legacy session of a record, and source returns it.
func (s *records) putSource(ctx context.Context, key string, src source, ttl time.Duration) {
	plain, err := json.Marshal(src)
	if err != nil {
		return
	}
	key += ".source"
	sealed := s.seal(key, "", plain)
	s.local.put(key, sealed, ttl)
	if s.shared != nil {
		_, _ = s.shared.put(ctx, key, "", sealed, ttl)
	}
}

func (s *records) source(ctx context.Context, key string) (src source, found bool) {
	key += ".source"
	sealed := s.local.get(key)
	if sealed == nil && s.shared != nil {
		sealed, _, _ = s.shared.get(ctx, key)
	}
	if len(sealed) == 0 {
		return src, false
	}
	plain, err := s.open(key, "", sealed)
	if err == nil {
		err = json.Unmarshal(plain, &src)
	}
	if err != nil {
		s.unreadable()
	}
	return src, err == nil
}

// claim asks for the right to exchange a legacy session. An error means that
// the store can't tell, and may yet do it.
func (s *records) claim(ctx context.Context, key, owner string) (claimed bool, err error) {
	if s.shared == nil {
		return true, nil
	}
	return s.shared.claim(ctx, key, owner, s.lease)
}

func (s *records) release(ctx context.Context, key, owner string) {
	if s.shared != nil {
		s.shared.release(context.WithoutCancel(ctx), key, owner)
	}
}

// hold renews a claim until stop is called. A claim that can't be renewed is
// found out about by put. sure is false where a renewal got no answer: it may yet
// reach the store, and get a claim back that was lost.
func (s *records) hold(ctx context.Context, key, owner string) (stop func() (sure bool)) {
	if s.shared == nil {
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
				if _, err := s.shared.claim(context.WithoutCancel(ctx), key, owner, s.lease); err != nil {
					sure = false
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() bool { cancel(); <-over; return sure }
}

// end makes a legacy session refused from now on, on every machine. An error
// means that others may not know. endHere is for this process alone.
func (s *records) end(ctx context.Context, key string) error {
	s.endHere(key)
	return s.mark(ctx, key+".ended", keepEnded)
}

func (s *records) endHere(key string) { s.ended.Add(key, struct{}{}) }

// endSession keeps calls for a Stytch session that are under way on other
// machines from handing it out. sessionEnded is their question.
func (s *records) endSession(ctx context.Context, sessionID string) error {
	return s.mark(ctx, s.sessionKey(sessionID), keepEnded)
}

func (s *records) sessionEnded(ctx context.Context, sessionID string) bool {
	return s.marked(ctx, s.sessionKey(sessionID))
}

func (s *records) sessionKey(id string) string {
	return base64.RawURLEncoding.EncodeToString(s.mac("session", recordVersion, id)) + ".over"
}

// mark and marked are for facts that need no value but one that nobody else
// can write.
func (s *records) mark(ctx context.Context, key string, ttl time.Duration) error {
	if s.shared == nil {
		return nil
	}
	// Who logged out stays logged out, though the client has left: each call of the
	// store has a time of its own.
	_, err := s.shared.put(context.WithoutCancel(ctx), key, "", s.seal(key, "", nil), ttl)
	return err
}

func (s *records) marked(ctx context.Context, key string) bool {
	if s.shared == nil {
		return false
	}
	sealed, found, err := s.shared.get(ctx, key)
	if err != nil || !found {
		return false
	}
	if _, err := s.open(key, "", sealed); err != nil {
		s.unreadable()
		return false
	}
	return true
}

// seal encrypts a value for its key, so that who reads the store gets no
// session, and who writes it can neither make one up nor move one elsewhere.
func (s *records) seal(key string, id Secret, plain []byte) []byte {
	return s.aead(id).Seal([]byte{recordFormat}, nil, plain, aad(key))
}

func (s *records) open(key string, id Secret, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 || sealed[0] != recordFormat {
		return nil, errRecord
	}
	return s.aead(id).Open(nil, nil, sealed[1:], aad(key))
}

func aad(key string) []byte { return append([]byte{recordFormat}, key...) }

func (s *records) aead(id Secret) cipher.AEAD {
	key, err := hkdf.Key(sha256.New, []byte(s.key), []byte(id), "stytchmigrate record", 32)
	if err != nil {
		panic(err) // only for lengths that are not asked for here
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	sealer, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return sealer
}

// mac is the HMAC of parts, each with its length before it, so that no two
// lists of parts are one text.
func (s *records) mac(parts ...string) []byte {
	text := make([]byte, 0, 256)
	for _, p := range parts {
		text = append(binary.BigEndian.AppendUint64(text, uint64(len(p))), p...)
	}
	h := hmac.New(sha256.New, []byte(s.key))
	h.Write(text)
	return h.Sum(nil)
}
