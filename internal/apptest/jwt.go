package apptest

import (
	"encoding/base64"
	"maps"
)

// Object is a JSON object.
type Object = map[string]any

// Changed is a copy of o with changes. A change to nil removes the member.
func Changed(o, changes Object) Object {
	o = maps.Clone(o)
	for name, v := range changes {
		if o[name] = v; v == nil {
			delete(o, name)
		}
	}
	return o
}

// EncodeSegment is a part of a JWT (RFC 7515 section 2: base64url without padding).
func EncodeSegment(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
