package sessionjwt

import "context"

// VerifySignature is Verify without the rules for claims: header, key and
// signature, for test vectors whose payloads are no claims.
func VerifySignature(ctx context.Context, keys *Keys, token string) (payload []byte, err error) {
	t, err := parseJWS(token, nil)
	if err != nil {
		return nil, err
	}
	return t.payload, keys.checkSignature(ctx, t)
}

// ParseObject shows what the package's own reading of JSON objects yields.
func ParseObject(doc []byte) (names []string, values map[string]string, err error) {
	all, err := parseObject(nil, doc)
	values = make(map[string]string)
	for _, m := range all {
		names = append(names, string(m.name))
		values[string(m.name)] = string(m.value)
	}
	return names, values, err
}
