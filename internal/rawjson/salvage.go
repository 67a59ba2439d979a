package rawjson

import (
	"bytes"
	"encoding/json"
)

// Salvage returns the strings in a JSON object that may be broken, as far as it can be
// read. Their names are paths, such as "session.session_id". Strings in arrays are left
// out.
func Salvage(text []byte) map[string]string {
	found := map[string]string{}
	from := json.NewDecoder(bytes.NewReader(text))
	if first, err := from.Token(); err != nil || first != json.Delim('{') {
		return found
	}
	salvage(from, "", 0, found)
	return found
}

// maxSalvage is how deep Salvage looks. What it is for is two levels deep.
const maxSalvage = 4

// salvage reads the members of an object, up to its end or the first error. It reports
// whether it came to the end.
func salvage(from *json.Decoder, prefix string, depth int, found map[string]string) bool {
	for from.More() {
		name, err := from.Token()
		path, _ := name.(string)
		if err != nil {
			return false
		}
		value, err := from.Token()
		switch v := value.(type) {
		case string:
			found[prefix+path] = v
		case json.Delim:
			if v == '{' && depth < maxSalvage && salvage(from, prefix+path+".", depth+1, found) {
				continue
			}
			if v == '{' && depth < maxSalvage || !skip(from) {
				return false
			}
		}
		if err != nil {
			return false
		}
	}
	_, err := from.Token() // the closing brace
	return err == nil
}

// skip reads to the end of the object or array that has just begun.
func skip(from *json.Decoder) bool {
	for depth := 1; depth > 0; {
		token, err := from.Token()
		if err != nil {
			return false
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
	return true
}
