// Package sealedstore keeps what machines share: sealed, so that who reads the store gets
// no session, and who writes it can neither make one up nor move one elsewhere; and
// kept to its time, for the store may be anybody's.
package sealedstore

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"time"

	"example.com/stytchmigrate/internal/latch"
	"example.com/stytchmigrate/internal/redact"
)

// Store is a memory that several machines share. stytchmigrate.Store says what its
// methods have to do.
type Backend interface {
	Get(ctx context.Context, key string) (value []byte, found bool, err error)
	Claim(ctx context.Context, key, owner string, lease time.Duration) (claimed bool, err error)
	Put(ctx context.Context, key, owner string, value []byte, ttl time.Duration) (stored bool, err error)
	Release(ctx context.Context, key, owner string) error
}

// format is the first byte of a sealed value.
const format = 1

// Vault seals values, and keeps them in a Store, if there is one. Make it with [New].
type Store struct {
	key        redact.Secret
	backend    *guarded // nil: nothing is shared
	report     func(error)
	unreadable latch.Latch
}

// New returns a Vault that seals with key. store may be nil; each call of it has the
// time of wait. tell hears of each that failed, in words of ours, of what can't be
// read, once a minute, and, with nil, that the store works again.
func New(key redact.Secret, store Backend, wait time.Duration, tell func(error)) *Store {
	v := &Store{key: key, report: tell}
	if store != nil {
		v.backend = newGuarded(store, wait, tell)
	}
	return v
}

// IsShared reports whether there is a Store.
func (v *Store) IsShared() bool { return v.backend != nil }

// Get returns a sealed value, or none where there is none, or no Store.
func (v *Store) Get(ctx context.Context, key string) (sealed []byte, found bool, err error) {
	if v.backend == nil {
		return nil, false, nil
	}
	return v.backend.get(ctx, key)
}

// Put is Store.Put. Without a Store it is done.
func (v *Store) Put(ctx context.Context, key, owner string, sealed []byte, ttl time.Duration) (stored bool, err error) {
	if v.backend == nil {
		return true, nil
	}
	return v.backend.put(ctx, key, owner, sealed, ttl)
}

// Claim is Store.Claim. Without a Store nobody else asks. An error means that the
// store can't tell, and may yet do it.
func (v *Store) Claim(ctx context.Context, key, owner string, lease time.Duration) (claimed bool, err error) {
	if v.backend == nil {
		return true, nil
	}
	return v.backend.claim(ctx, key, owner, lease)
}

// Release is Store.Release. It is made though ctx is over.
func (v *Store) Release(ctx context.Context, key, owner string) {
	if v.backend != nil {
		v.backend.release(context.WithoutCancel(ctx), key, owner)
	}
}

// Mark and Marked are for facts that need no value but one that nobody else
// can write.
func (v *Store) Mark(ctx context.Context, key string, ttl time.Duration) error {
	if v.backend == nil {
		return nil
	}
	// Who logged out stays logged out, though the client has left: each call of the
	// store has a time of its own.
	_, err := v.backend.put(context.WithoutCancel(ctx), key, "", v.Seal(key, "", nil), ttl)
	return err
}

func (v *Store) HasMark(ctx context.Context, key string) bool {
	sealed, found, err := v.Get(ctx, key)
	if err != nil || !found {
		return false
	}
	if _, err := v.Open(key, "", sealed); err != nil {
		v.ReportUnreadable()
		return false
	}
	return true
}

// ErrUnreadable is what is told of a value that is forged, of another key, or of
// another version.
var ErrUnreadable = errors.New("stytchmigrate: store: a record can't be read: it is forged, of another key, or of another version")

// Unreadable tells of a value that can't be read, once a minute: it may be met in
// each request.
func (v *Store) ReportUnreadable() {
	if v.unreadable.SetEvery(time.Minute) {
		v.report(ErrUnreadable)
	}
}

// Seal encrypts a value for its key. What has an id opens with it alone.
func (v *Store) Seal(key string, id redact.Secret, plain []byte) []byte {
	return v.aead(id).Seal([]byte{format}, nil, plain, aad(key))
}

// Open undoes Seal.
func (v *Store) Open(key string, id redact.Secret, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 || sealed[0] != format {
		return nil, ErrUnreadable
	}
	return v.aead(id).Open(nil, nil, sealed[1:], aad(key))
}

func aad(key string) []byte { return append([]byte{format}, key...) }

func (v *Store) aead(id redact.Secret) cipher.AEAD {
	key, err := hkdf.Key(sha256.New, []byte(v.key), []byte(id), "stytchmigrate record", 32)
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
