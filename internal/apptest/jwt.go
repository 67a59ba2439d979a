package apptest

import (
	"encoding/base64"
	"maps"
)

const JWTAccepted = "authenticated ada | - | - | authenticate | key sets: 1"

// Object is a JSON object.
type Object = map[string]any

func Changed(o, changes Object) Object {
	o = maps.Clone(o)
	for name, v := range changes {
		if o[name] = v; v == nil {
			delete(o, name)
		}
	}
	return o
}

func EncodeSegment(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
