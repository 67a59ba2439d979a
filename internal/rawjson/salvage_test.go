package rawjson_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/rawjson"
)

func TestSalvage(t *testing.T) {
	whole := map[string]string{"a": "1", "b.c": "2"}
	for text, want := range map[string]map[string]string{
		`{"a":"1","b":{"c":"2"}}`:   whole,
		` {"a":"1","b":{"c":"2"`:    whole,
		`{"a":"1","b":{"c":"2"}}}}`: whole,
		`{"a":"1","n":[{"c":"x"},["y"],"z"],"m":null,"k":7,"b":{"x":{},"c":"2"}}{}`: whole,
		`{"a":"1","b":{"c":"2"},"d":{"e":{"f":{"g":{"h":{"i":"7"}}}}},"z":"9"}`:     {"a": "1", "b.c": "2", "z": "9"},
		`{"a":"1","b":{"c":"2"},"d":"cut o`:                                         whole,
		`{"a":"1","b":{"c":"2"},"d":[`:                                              whole,
		`{"a":"1","b":{"c":"2"},"d":[{]"x`:                                          whole,
		`{"a":"1","b":{"c":"2"},7:"x"}`:                                             whole,
		`{"a":"0","a":"1","b":{"c":"2"}}`:                                           whole,
		`[{"a":"1"}]`:                                                               {},
		`<html>`:                                                                    {},
		``:                                                                          {},
		`"a"`:                                                                       {},
	} {
		assert.Equal(t, want, rawjson.Salvage([]byte(text)), text)
	}
	assert.Empty(t, rawjson.Salvage([]byte(strings.Repeat(`{"a":`, 1_000_000))))
	assert.Empty(t, rawjson.Salvage([]byte(`{"a":`+strings.Repeat(`[`, 1_000_000))))
}

// Of a valid object Salvage finds what encoding/json does.
func FuzzSalvage(f *testing.F) {
	f.Add([]byte(`{"a":"1","b":{"c":"2"},"d":[{"e":"f"}]}`))
	f.Add([]byte(`{"a`))
	f.Fuzz(func(t *testing.T, text []byte) {
		got := rawjson.Salvage(text)
		var want map[string]any
		if json.Unmarshal(text, &want) != nil {
			return
		}
		for name, value := range want {
			if s, ok := value.(string); ok && !strings.Contains(name, ".") {
				assert.Equal(t, s, got[name])
			}
		}
	})
}
