package stytchtest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"math/big"
	"sync"
	"time"
)

// signingKey is a key of the project under the id it is published by.
type signingKey struct {
	id  string
	key *poolEntry
}

// poolEntry is a key pair, and the certificate that a key set shows with it.
type poolEntry struct {
	private *rsa.PrivateKey
	cert    []byte // DER
}

// Making an RSA key takes longer than most tests. All servers of a process
// therefore take their keys from one pool: the first key of each is the same,
// and so on. Their ids differ, so no server's JWT passes for another's.
var pool struct {
	sync.Mutex
	keys    []*poolEntry
	foreign *poolEntry
}

func poolKey(i int) *poolEntry {
	pool.Lock()
	defer pool.Unlock()
	for len(pool.keys) <= i {
		pool.keys = append(pool.keys, newKey())
	}
	return pool.keys[i]
}

// ForeignKey returns a key that no server publishes, the same one each time, for
// tests of forged JWTs.
func ForeignKey() *rsa.PrivateKey {
	pool.Lock()
	defer pool.Unlock()
	if pool.foreign == nil {
		pool.foreign = newKey()
	}
	return pool.foreign.private
}

func newKey() *poolEntry {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic("stytchtest: " + err.Error())
	}
	// The dates include those of the clock that testing/synctest starts with.
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "stytchtest"},
		NotBefore:    time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(2190, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic("stytchtest: " + err.Error())
	}
	return &poolEntry{private: key, cert: cert}
}

// SigningKey returns the key that signs JWTs now, and the id it is published by.
// It is for JWTs that [Server.SignJWT] cannot make, of other algorithms say.
func (s *Server) SigningKey() (kid string, key *rsa.PrivateKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.keys[len(s.keys)-1]
	return k.id, k.key.private
}

// RotateKey makes a new key sign from now on and returns its id. The keys before
// it are still published, until DropOldKeys. The first server of a process to
// rotate so often waits for an RSA key to be made, a fraction of a second.
func (s *Server) RotateKey() (kid string) {
	s.mu.Lock()
	n := s.rotations + 1
	s.rotations = n
	s.mu.Unlock()
	k := signingKey{id: s.newID("jwk"), key: poolKey(n)}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = append(s.keys, k)
	return k.id
}

// DropOldKeys publishes the key that signs now and no other. JWTs that an older
// key signed are refused from then on.
func (s *Server) DropOldKeys() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = s.keys[len(s.keys)-1:]
}

// publishedKeys returns the keys served, oldest first.
func (s *Server) publishedKeys() []signingKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]signingKey(nil), s.keys...)
}

// wire is k as a key set shows it. The thumbprint's member has no # in its name,
// unlike RFC 7517's: so it is in the API's description.
func (k signingKey) wire() object {
	public := k.key.private.PublicKey
	thumbprint := sha256.Sum256(k.key.cert)
	return object{
		"kty": "RSA", "use": "sig", "key_ops": []string{"verify"}, "alg": "RS256", "kid": k.id,
		"x5c":     []string{base64.StdEncoding.EncodeToString(k.key.cert)},
		"x5tS256": base64.URLEncoding.EncodeToString(thumbprint[:]),
		"n":       base64.RawURLEncoding.EncodeToString(public.N.Bytes()),
		"e":       base64.RawURLEncoding.EncodeToString(big.NewInt(int64(public.E)).Bytes()),
	}
}

// serveJWKS answers the key set, which is public.
func (s *Server) serveJWKS(c *Call, projectID string) answer {
	if projectID != s.ProjectID {
		return c.fail(&apiError{404, "project_not_found", "There is no such project."})
	}
	keys := []any{}
	for _, k := range s.publishedKeys() {
		keys = append(keys, k.wire())
	}
	return c.succeed(object{"keys": keys})
}
