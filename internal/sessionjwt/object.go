package sessionjwt

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf8"

	"example.com/stytchmigrate/internal/rawjson"
)

// maxDepth bounds how deep a header or payload may nest, itself included. What
// Stytch puts into a token nests three deep, custom claims rarely deeper.
const maxDepth = 64

const (
	// maxMembers bounds how many names an object may have, each of which is compared
	// with the others. Anybody can send an object, and Stytch's have a dozen.
	maxMembers = 129

	// MaxCustomClaims is how many custom claims a JWT may have, legacy_session and
	// until_browser_closes among them: beside them it has iss, aud, sub, iat, nbf, exp and the session. A session
	// with more, or with deeper ones, must not be asked for: see [AcceptsCustomClaims].
	MaxCustomClaims = maxMembers - 7
)

// AcceptsCustomClaims reports whether a JWT with these custom claims, encoded as an
// object, is accepted, as far as the claims decide.
func AcceptsCustomClaims(encoded []byte) bool {
	var room [16]member
	all, err := parseObject(room[:0], encoded)
	return err == nil && len(all) <= MaxCustomClaims
}

// member is one name of a JSON object and the text of its value.
type member struct {
	name, value []byte
}

// parseObject appends to room the members of a JSON text that is an object: UTF-8,
// no byte order mark, nothing after it, no name twice. Room is the caller's, so that
// it can be on the stack.
//
// Headers and claims don't go through the structs of encoding/json, because
// that matches names without regard to case and lets the last of two members
// win, so {"alg":"none","ALG":"RS256"} would read as RS256. RFC 7515, Section 4
// and RFC 7519, Section 4 let a verifier refuse duplicates; others that saw the
// same token may have believed the first.
func parseObject(room []member, doc []byte) ([]member, error) {
	if tooDeep(doc) {
		return nil, refusal("JSON nested too deep")
	}
	if !utf8.Valid(doc) || !json.Valid(doc) {
		return nil, refusal("not valid JSON")
	}
	return members(room, bytes.TrimSpace(doc))
}

// members is parseObject for a part of a text that is known to be valid JSON.
func members(room []member, doc []byte) ([]member, error) {
	if !rawjson.IsObject(doc) {
		return nil, refusal("not a JSON object")
	}
	all := room
	for name, value := range rawjson.Members(doc) {
		for _, m := range all {
			if bytes.Equal(m.name, name) {
				return nil, refusal("a name twice in one JSON object")
			}
		}
		if len(all) == maxMembers {
			return nil, refusal("too many names in one JSON object")
		}
		all = append(all, member{name, value})
	}
	return all, nil
}

// tooDeep says of any text if it nests deeper than maxDepth, were it JSON. It
// comes before [json.Valid], which keeps a stack of what it is in: 8 KiB of
// brackets would cost more than twice what the signature does.
func tooDeep(doc []byte) bool {
	depth, quoted := 0, false
	for i := 0; i < len(doc); i++ {
		switch c := doc[i]; {
		case c == '\\':
			i++ // outside of strings it is no JSON, whatever follows
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

// text returns the string that a JSON value is, and false if it is none.
func text(value []byte) (string, bool) { return rawjson.Text(value) }

// texts returns the strings of a JSON value that is an array of nothing else.
func texts(value []byte) ([]string, bool) {
	if !rawjson.IsArray(value) {
		return nil, false
	}
	all := []string{}
	for e := range rawjson.Elements(value) {
		s, ok := text(e)
		if !ok {
			return nil, false
		}
		all = append(all, s)
	}
	return all, true
}

// number returns the number that a JSON value is, and false if it is none or
// none that a float64 can hold.
func number(value []byte) (float64, bool) {
	if value[0] != '-' && (value[0] < '0' || value[0] > '9') {
		return 0, false
	}
	n, err := strconv.ParseFloat(string(value), 64)
	return n, err == nil
}

func isNull(value []byte) bool { return rawjson.IsNull(value) }
