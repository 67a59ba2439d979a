package stytchtest

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"regexp"
)

// newUUID returns a random UUID (RFC 9562, version 4), the part of every id that
// follows the prefix.
func newUUID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// newID returns an id of the given kind, such as user-test-<uuid>. A project
// whose id starts project-live- has ids with -live- in them.
func (s *Server) newID(kind string) string {
	return kind + "-" + s.env + "-" + newUUID()
}

// newToken returns an opaque session token: 33 random bytes, which base64url
// writes as 44 characters without padding.
func newToken() string {
	var b [33]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// tokenShape is what a session token must look like to be looked up at all;
// anything else is "malformed", an answer of its own.
var tokenShape = regexp.MustCompile(`^[A-Za-z0-9_-]{44}$`)
