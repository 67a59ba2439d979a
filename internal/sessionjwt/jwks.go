package sessionjwt

import (
	"crypto/rsa"
	"encoding/json"
	"errors"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

const (
	// Keys under 2048 bits are forbidden for RS256: RFC 7518, Section 3.3. Over
	// 4096, one verification costs more than a request should; go-jose stops
	// there as well, but by a variable that any package may set.
	minModulus, maxModulus = 2048, 4096

	// maxSet and maxSetKeys bound a key set. Stytch's has two keys at most, in
	// the month after a rotation.
	maxSet, maxSetKeys = 1 << 20, 100
)

// What may be wrong with a key set. None of these are for [errors.Is]: whoever
// gets one logs it.
var (
	errNoSet        = errors.New("sessionjwt: answer is not a key set")
	errNoUsableKey  = errors.New("sessionjwt: key set has no usable key")
	errOversizedSet = errors.New("sessionjwt: key set is too large")
)

// Parse returns the keys of a JSON Web Key Set that may verify session JWTs, by
// key ID. It returns an error if there are none, so that an answer that is not
// what it should be never passes for a set without keys.
//
// A key that is unusable, or can't be read, costs only itself. Where two keys
// that differ share an ID, neither is used: nobody can say which of them was
// meant, and the tokens of the other keys need not suffer for it. The same key
// twice is one key.
func Parse(body []byte) (map[string]*rsa.PublicKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if len(body) > maxSet {
		return nil, errOversizedSet
	}
	if json.Unmarshal(body, &set) != nil {
		return nil, errNoSet // not the cause, which would quote the body
	}
	if len(set.Keys) > maxSetKeys {
		return nil, errOversizedSet
	}
	keys := make(map[string]*rsa.PublicKey)
	ambiguous := make(map[string]bool)
	for _, raw := range set.Keys {
		kid, key := parseKey(raw)
		if key == nil {
			continue
		}
		if twin := keys[kid]; twin != nil && !twin.Equal(key) {
			ambiguous[kid] = true
		}
		keys[kid] = key
	}
	for kid := range ambiguous {
		delete(keys, kid)
	}
	if len(keys) == 0 {
		return nil, errNoUsableKey
	}
	return keys, nil
}

// parseKey returns the RSA key of a JWK that is for verifying RS256, or nil.
//
// key_ops has to be an array: a producer that writes it otherwise may mean
// anything by it. A JWK with a private exponent is refused: who has read that
// set can sign as well.
func parseKey(raw []byte) (kid string, key *rsa.PublicKey) {
	var is struct {
		Kty    string          `json:"kty"`
		Kid    string          `json:"kid"`
		Alg    *string         `json:"alg"`
		Use    *string         `json:"use"`
		KeyOps *[]string       `json:"key_ops"`
		N      string          `json:"n"`
		E      string          `json:"e"`
		D      json.RawMessage `json:"d"`
	}
	if json.Unmarshal(raw, &is) != nil || is.Kty != "RSA" || is.Kid == "" || is.D != nil {
		return "", nil
	}
	if is.Alg != nil && *is.Alg != "RS256" ||
		is.Use != nil && *is.Use != "sig" ||
		is.KeyOps != nil && !slices.Contains(*is.KeyOps, "verify") {
		return "", nil
	}
	// go-jose gets the two numbers and nothing else. It would refuse a key for
	// the certificate that comes with it in x5c, which we have no use for, and
	// Stytch's own example of which is no certificate.
	public, err := json.Marshal(map[string]string{"kty": "RSA", "n": is.N, "e": is.E})
	if err != nil {
		return "", nil
	}
	var jwk jose.JSONWebKey
	if jwk.UnmarshalJSON(public) != nil {
		return "", nil
	}
	key, ok := jwk.Key.(*rsa.PublicKey)
	if !ok || !sound(key) {
		return "", nil
	}
	return is.Kid, key
}

// sound refuses keys that are too short, too long, or no RSA keys at all. An
// exponent of 1, by which every message is its own signature, go-jose refuses;
// one over 31 bits crypto/rsa would, but only when a token is to be verified.
func sound(key *rsa.PublicKey) bool {
	bits := key.N.BitLen()
	return bits >= minModulus && bits <= maxModulus && key.N.Bit(0) == 1 &&
		key.E <= 1<<31-1 && key.E&1 == 1
}
