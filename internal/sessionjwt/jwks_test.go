package sessionjwt_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/internal/sessionjwt"
)

var ecKey = object{
	"kty": "EC", "crv": "P-256", "kid": "ec", "use": "sig", "alg": "ES256",
	"x": "04N0xi21hshyvBp7I167sbE_bXqyqkAPfefdklMO7wY", "y": "UI8exy-C06a7DUnjIdENkxeFtHM4-l_41LqEw9nVgmw",
}

// modulus is a modulus of as many bits, which nobody knows the factors of.
func modulus(t *testing.T, bits int) string {
	t.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), uint(bits)-1))
	require.NoError(t, err)
	n.SetBit(n.SetBit(n, bits-1, 1), 0, 1)
	return base64.RawURLEncoding.EncodeToString(n.Bytes())
}

// keyRow is a set of one key, which differs from what Stytch serves by change.
type keyRow struct {
	name   string
	change object
	usable bool
}

func purposeRows() []keyRow {
	return []keyRow{
		{"nothing changed", object{}, true},
		{"alg is absent", object{"alg": nil}, true},
		{"alg is RS512", object{"alg": "RS512"}, false},
		{"alg is PS256", object{"alg": "PS256"}, false},
		{"alg is empty", object{"alg": ""}, false},
		{"alg is a number", object{"alg": 1}, false},
		{"use is absent", object{"use": nil}, true},
		{"use is enc", object{"use": "enc"}, false},
		{"use is empty", object{"use": ""}, false},
		{"key_ops is absent", object{"key_ops": nil}, true},
		{"key_ops has more", object{"key_ops": []string{"sign", "verify"}}, true},
		{"key_ops is empty", object{"key_ops": []string{}}, false},
		{"key_ops has no verify", object{"key_ops": []string{"encrypt", "decrypt"}}, false},
		{"key_ops is a string", object{"key_ops": "verify"}, false},
		{"kid is absent", object{"kid": nil}, false},
		{"kid is empty", object{"kid": ""}, false},
		{"kid is a number", object{"kid": 7}, false},
		{"kty is EC", object{"kty": "EC"}, false},
		{"kty is oct", object{"kty": "oct", "k": "AAAA"}, false},
	}
}

func numberRows(t *testing.T) []keyRow {
	t.Helper()
	even := new(big.Int).Add(projectKey().N, big.NewInt(1))
	return []keyRow{
		{"n is absent", object{"n": nil}, false},
		{"n is not base64url", object{"n": "+++="}, false},
		{"n is even", object{"n": base64.RawURLEncoding.EncodeToString(even.Bytes())}, false},
		{"n has 1024 bits", object{"n": modulus(t, 1024)}, false},
		{"n has 2047 bits", object{"n": modulus(t, 2047)}, false},
		{"n has 2048 bits", object{"n": modulus(t, 2048)}, true},
		{"n has 4096 bits", object{"n": modulus(t, 4096)}, true},
		{"n has 4097 bits", object{"n": modulus(t, 4097)}, false},
		{"e is absent", object{"e": nil}, false},
		{"e is 1", object{"e": "AQ"}, false},
		{"e is 3", object{"e": "Aw"}, true},
		{"e is even", object{"e": "BA"}, false},
		{"e has 31 bits", object{"e": "f____w"}, true},
		{"e has 32 bits", object{"e": "gAAAAQ"}, false},
		{"e has 9 bytes", object{"e": "AQAAAAAAAAAB"}, false},
		{"d is there", object{"d": "AQAB"}, false},
		{"x5c is no certificate", object{"x5c": []string{"x"}, "x5t#S256": "x"}, true},
	}
}

func TestParseTakesKeysThatVerifyRS256(t *testing.T) {
	defer func(bits int) { jose.MaxRSAModulusBits = bits }(jose.MaxRSAModulusBits)
	jose.MaxRSAModulusBits = 16384 // as an application may have
	for _, row := range slices.Concat(purposeRows(), numberRows(t)) {
		keys, err := sessionjwt.Parse(keySet(t, jwk(keyID, &projectKey().PublicKey, row.change)))
		assert.Equal(t, row.usable, err == nil, row.name)
		assert.Equal(t, row.usable, keys[keyID] != nil, row.name)
	}
}

func TestParseTakesKeysOneByOne(t *testing.T) {
	a, b := &projectKey().PublicKey, &otherKey().PublicKey
	padded := func(n int) []byte { return append(keySet(t, jwk("a", a)), strings.Repeat(" ", n)...)[:n] }
	for _, row := range []struct {
		name string
		body []byte
		want map[string]*rsa.PublicKey // nil: an error
	}{
		{"two keys", keySet(t, jwk("a", a), jwk("b", b)), map[string]*rsa.PublicKey{"a": a, "b": b}},
		{"an EC key beside", keySet(t, ecKey, jwk("a", a)), map[string]*rsa.PublicKey{"a": a}},
		{"odd keys beside", []byte(`{"keys":[null,1,"x",[],{},` + text(t, jwk("a", a)) + `]}`), map[string]*rsa.PublicKey{"a": a}},
		{"a key for encryption of the same kid", keySet(t, jwk("a", b, object{"use": "enc"}), jwk("a", a)), map[string]*rsa.PublicKey{"a": a}},
		{"the same key twice", keySet(t, jwk("a", a), jwk("a", a)), map[string]*rsa.PublicKey{"a": a}},
		{"two keys of one kid", keySet(t, jwk("a", a), jwk("a", b)), nil},
		{"two keys of one kid, and another", keySet(t, jwk("a", a), jwk("a", b), jwk("b", b)), map[string]*rsa.PublicKey{"b": b}},
		{"two keys of one kid, one of them twice", keySet(t, jwk("a", a), jwk("a", b), jwk("a", a)), nil},
		{"an EC key alone", keySet(t, ecKey), nil},
		{"no keys", keySet(t), nil},
		{"an empty object", []byte(`{}`), nil},
		{"null", []byte(`null`), nil},
		{"keys of another type", []byte(`{"keys":{}}`), nil},
		{"a bare array", []byte(`[` + text(t, jwk("a", a)) + `]`), nil},
		{"nothing", nil, nil},
		{"HTML", []byte(`<html><body>502 Bad Gateway</body></html>`), nil},
		{"half a set", keySet(t, jwk("a", a))[:200], nil},
		{"a set and 10 MiB", append(keySet(t, jwk("a", a)), strings.Repeat(" ", 10<<20)...), nil},
		{"a set of 1 MiB", padded(1 << 20), map[string]*rsa.PublicKey{"a": a}},
		{"a set of 1 MiB and a byte", padded(1<<20 + 1), nil},
		{"100 keys", keySet(t, slices.Repeat([]object{jwk("a", a)}, 100)...), map[string]*rsa.PublicKey{"a": a}},
		{"more than 100 keys", keySet(t, slices.Repeat([]object{jwk("a", a)}, 101)...), nil},
	} {
		got, err := sessionjwt.Parse(row.body)
		assert.Equal(t, row.want == nil, err != nil, row.name)
		assert.ElementsMatch(t, slices.Collect(maps.Keys(row.want)), slices.Collect(maps.Keys(got)), row.name)
		for kid, key := range row.want {
			assert.True(t, key.Equal(got[kid]), row.name)
		}
		if err != nil {
			assert.NotContains(t, err.Error(), "Bad Gateway", row.name)
		}
	}
}
