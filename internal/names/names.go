// Package names names sessions to those who must not learn what is in them: by
// HMACs of what tells one from another. Every machine with the same key gives the
// same names.
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

// Names names the sessions of one project.
type Names struct {
	Key     redact.Secret
	Project string
}

// Record is the name of a legacy session's record, and the claim legacy_session of
// the Stytch session that it became. The same id under another user, cookie or
// project is another record.
func (n *Names) Record(cookie, id, subject string, startedAt time.Time) string {
	started := ""
	if !startedAt.IsZero() {
		started = startedAt.UTC().Format(time.RFC3339Nano)
	}
	return base64.RawURLEncoding.EncodeToString(n.mac("record", version, n.Project, cookie, id, subject, started))
}

// Session is the name under which it is noted that a Stytch session is over.
func (n *Names) Session(id string) string {
	return base64.RawURLEncoding.EncodeToString(n.mac("session", version, id))
}

// Fingerprint tells legacy sessions apart in logs and events, and no more.
func (n *Names) Fingerprint(cookie, id string) string {
	return hex.EncodeToString(n.mac("fingerprint", n.Project, cookie, id)[:8])
}

// Place is a person's between 0 and 1, by which some move before others: by the
// subject where that is known, else by the session's id.
func (n *Names) Place(subject, id string) float64 {
	kind, who := "subject", subject
	if who == "" {
		kind, who = "id", id
	}
	return float64(binary.BigEndian.Uint64(n.mac("hold back", n.Project, kind, who))) / math.MaxUint64
}

// mac is the HMAC of parts, each with its length before it, so that no two
// lists of parts are one text.
func (n *Names) mac(parts ...string) []byte {
	text := make([]byte, 0, 256)
	for _, p := range parts {
		text = append(binary.BigEndian.AppendUint64(text, uint64(len(p))), p...)
	}
	h := hmac.New(sha256.New, []byte(n.Key))
	h.Write(text)
	return h.Sum(nil)
}
