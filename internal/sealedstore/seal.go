package sealedstore

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"

	"example.com/stytchmigrate/internal/redact"
)

// version is the first byte of a sealed value.
const version = 1

// Seal encrypts a value for the key that it is stored under. A value that has an id opens
// only with that id. The record of a legacy session can't be read without the session's
// own id, which is in no store, even with the sealing key.
func (s *Store) Seal(key string, id redact.Secret, plain []byte) []byte {
	return s.aead(id).Seal([]byte{version}, nil, plain, additionalData(key))
}

// Open decrypts a sealed value. It returns an error if the value is of another version,
// was sealed for another key, id or sealing key, or was changed.
func (s *Store) Open(key string, id redact.Secret, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 || sealed[0] != version {
		return nil, ErrUnreadable
	}
	return s.aead(id).Open(nil, nil, sealed[1:], additionalData(key))
}

// additionalData binds a value to its version and its key.
func additionalData(key string) []byte { return append([]byte{version}, key...) }

// aead panics for lengths only that are not asked for here.
func (s *Store) aead(id redact.Secret) cipher.AEAD {
	key, err := hkdf.Key(sha256.New, []byte(s.key), []byte(id), "stytchmigrate record", 32)
	if err != nil {
		panic(err)
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
