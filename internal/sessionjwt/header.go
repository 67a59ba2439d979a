package sessionjwt

import (
	"encoding/base64"
	"strings"
)

const (
	// MaxToken bounds a token before anything is made of it. A browser keeps no
	// cookie over 4096 bytes, and a header of 8 KiB is where servers give up.
	MaxToken = 8 << 10
	maxKeyID = 200
)

// segment decodes base64url as RFC 7515 wants it: no padding, and no two
// spellings of the same bytes.
var segment = base64.RawURLEncoding.Strict()

// jws is a token taken apart. Its header is one that we allow; its payload is
// not to be believed before its signature has been verified.
type jws struct {
	header    string // as sent
	keyID     string
	signed    string // what the signature is of: header and payload as sent
	payload   []byte
	signature []byte
}

// passed is a header that has passed, as it stands in a token. All tokens that
// Stytch signs with a key have the same, so that the last one is known again.
type passed struct{ segment, keyID string }

// parseJWS takes a token in compact serialization apart and judges its header.
// Nothing in a token chooses how, or with what kind of key, it is verified.
func parseJWS(token string, last *passed) (*jws, error) {
	if len(token) > MaxToken {
		return nil, refusal("longer than 8 KiB")
	}
	if strings.Count(token, ".") != 2 {
		return nil, refusal("not three parts")
	}
	// The decoder skips line ends even when it is strict.
	if strings.ContainsAny(token, "\r\n") {
		return nil, refusal("not base64url")
	}
	dot, end := strings.IndexByte(token, '.'), strings.LastIndexByte(token, '.')
	t := &jws{header: token[:dot], signed: token[:end]}
	var err error
	if last != nil && last.segment == t.header {
		t.keyID = last.keyID
	} else if t.keyID, err = readHeader(t.header); err != nil {
		return nil, err
	}
	if t.payload, err = segment.DecodeString(token[dot+1 : end]); err != nil {
		return nil, refusal("payload is not base64url")
	}
	if t.signature, err = segment.DecodeString(token[end+1:]); err != nil {
		return nil, refusal("signature is not base64url")
	}
	return t, nil
}

func readHeader(encoded string) (keyID string, err error) {
	header, err := segment.DecodeString(encoded)
	if err != nil {
		return "", refusal("header is not base64url")
	}
	return checkHeader(header)
}

// checkHeader is the allow-list that a header must pass before a JWT library
// gets to see the token: golang-jwt leaves crit, b64 and typ to its caller.
// It returns the key ID.
func checkHeader(doc []byte) (keyID string, err error) {
	var room [8]member
	header, err := parseObject(room[:0], doc)
	if err != nil {
		return "", err
	}
	var alg string
	for _, m := range header {
		switch string(m.name) {
		case "alg":
			alg, _ = text(m.value)
		case "kid":
			keyID, _ = text(m.value)
		case "typ":
			// RFC 7519, Section 5.1 recommends upper case, and Stytch writes it
			// so. at+jwt (RFC 9068) is an access token, signed by the same keys.
			if typ, _ := text(m.value); typ != "JWT" {
				return "", refusal("typ is not JWT")
			}
		case "crit", "b64", "cty", "zip":
			// crit asks for rules that we don't have, b64 (RFC 7797) changes what
			// is signed, cty announces a JWT within the JWT.
			return "", refusal("header asks for an extension")
		case "jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256":
			// The keys are the project's, wherever the token would have us look.
			// Stytch sends none of these: RFC 8725, Section 3.10.
			return "", refusal("header brings or names a key")
		}
		// RFC 7515, Section 4: others are to be ignored.
	}
	if alg != "RS256" {
		return "", refusal("alg is not RS256")
	}
	if keyID == "" || len(keyID) > maxKeyID {
		return "", refusal("kid is absent, empty or too long")
	}
	return keyID, nil
}
