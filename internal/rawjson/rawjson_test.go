package rawjson_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/rawjson"
)

func TestMembers(t *testing.T) {
	for text, want := range map[string][]string{
		`{}`:                       nil,
		"{ \t\r\n}":                nil,
		`{"a":1}`:                  {"a", "1"},
		`{"a":1,"b":"x","a":null}`: {"a", "1", "b", `"x"`, "a", "null"},
		"{ \"a\" :\n[1, {}] , \"\":{\"b\":\"}\"} }": {"a", "[1, {}]", "", `{"b":"}"}`},
		`{"\u0061":"\\\"]","c":-1e9}`:               {"a", `"\\\"]"`, "c", "-1e9"},
		`[{"a":1}]`:                                 nil,
		`"{"`:                                       nil,
		`null`:                                      nil,
		"":                                          nil,
	} {
		var got []string
		for name, value := range rawjson.Members([]byte(text)) {
			got = append(got, string(name), string(value))
		}
		assert.Equal(t, want, got, text)
	}
}

func TestElements(t *testing.T) {
	for text, want := range map[string][]string{
		`[]`:                         nil,
		"[ \n]":                      nil,
		`[1]`:                        {"1"},
		"[ true,\"a,b\" , [2,3],{}]": {"true", `"a,b"`, "[2,3]", "{}"},
		`{"a":[1]}`:                  nil,
		``:                           nil,
	} {
		var got []string
		for e := range rawjson.Elements([]byte(text)) {
			got = append(got, string(e))
		}
		assert.Equal(t, want, got, text)
	}
}

func TestStopsEarly(t *testing.T) {
	for range rawjson.Members([]byte(`{"a":1,"b":2}`)) {
		break
	}
	for range rawjson.Elements([]byte(`[1,2]`)) {
		break
	}
}

func TestText(t *testing.T) {
	for text, want := range map[string]string{
		`""`: "", `"a"`: "a", `"é"`: "é", `"\u00e9\n\""`: "é\n\"", "\"a\xff\"": "a\ufffd", `"\ud800"`: "\ufffd",
	} {
		got, ok := rawjson.Text([]byte(text))
		assert.True(t, ok, text)
		assert.Equal(t, want, got, text)
	}
	for _, text := range []string{``, `1`, `null`, `{"a":"b"}`, `["a"]`} {
		_, ok := rawjson.Text([]byte(text))
		assert.False(t, ok, text)
	}
}

// FuzzValid walks whatever is valid JSON, and finds what encoding/json finds.
func FuzzValid(f *testing.F) {
	for _, seed := range []string{`{"a":[1,"x",{"b":null}],"c":"\""}`, "[ 1 ,\t2]", `"\\"`, `{"":{}}`, `[[],[[]]]`, "{\"\xff\":1}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if !json.Valid(text) {
			return
		}
		text = bytes.TrimSpace(text)
		var object map[string]json.RawMessage
		if json.Unmarshal(text, &object) == nil && object != nil {
			got := map[string]json.RawMessage{}
			for name, value := range rawjson.Members(text) {
				got[string(name)] = value
			}
			assert.Equal(t, object, got)
		}
		var array []json.RawMessage
		if json.Unmarshal(text, &array) == nil && array != nil {
			got := []json.RawMessage{}
			for e := range rawjson.Elements(text) {
				got = append(got, e)
			}
			assert.Equal(t, array, got)
		}
		var s string
		isText := json.Unmarshal(text, &s) == nil && text[0] == '"'
		got, ok := rawjson.Text(text)
		assert.Equal(t, isText, ok)
		assert.Equal(t, s, got)
	})
}
