// Package names derives names from sessions and users. A name tells one from another and
// reveals nothing else: it is an HMAC under a key of the application. Machines with the
// same key derive the same names.
package names

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"math"
	"time"

	"example.com/stytchmigrate/internal/redact"
)

const version = "1"

// Names derives the names of one project. It is safe for concurrent use.
type Names struct {
	Key     redact.Secret
	Project string
}

// Record is the key of a legacy session's record, and the claim legacy_session of the
// Stytch session that it becomes. The same id of another user, cookie or project gives
// another name.
func (n *Names) Record(cookie, id, subject string, startedAt time.Time) string {
	started := ""
	if !startedAt.IsZero() {
		started = startedAt.UTC().Format(time.RFC3339Nano)
	}
	return base64.RawURLEncoding.EncodeToString(n.mac("record", version, n.Project, cookie, id, subject, started))
}

// Session is the key under which the store keeps that a Stytch session has ended.
func (n *Names) Session(id string) string {
	return base64.RawURLEncoding.EncodeToString(n.mac("session", version, id))
}

// OldCode is the key under which the store keeps that the application's old code still
// sets its cookie.
func (n *Names) OldCode() string {
	return base64.RawURLEncoding.EncodeToString(n.mac("old code", version, n.Project))
}

// Fingerprint identifies a legacy session in logs and events. It is short, and so it is
// the key of nothing.
func (n *Names) Fingerprint(cookie, id string) string {
	return hex.EncodeToString(n.mac("fingerprint", n.Project, cookie, id)[:8])
}

// Place is a number from 0 to 1, evenly distributed, by which a percentage of users is held
// back. It depends on the subject, so that all sessions of a user move together, or on the
// session's id where the subject is not known.
func (n *Names) Place(subject, id string) float64 {
	kind, value := "subject", subject
	if value == "" {
		kind, value = "id", id
	}
	return float64(binary.BigEndian.Uint64(n.mac("hold back", n.Project, kind, value))) / math.MaxUint64
}

// mac is the HMAC of parts, each preceded by its length: no two lists of parts give one
// input.
func (n *Names) mac(parts ...string) []byte {
	input := make([]byte, 0, 256)
	for _, p := range parts {
		input = append(binary.BigEndian.AppendUint64(input, uint64(len(p))), p...)
	}
	h := hmac.New(sha256.New, []byte(n.Key))
	h.Write(input)
	return h.Sum(nil)
}
