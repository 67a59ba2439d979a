package rawjson_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/rawjson"
)

// body has a member of each kind that Stytch's answers have.
type body struct {
	ID     string            `json:"id" required:"true"`
	Count  int               `json:"count,omitempty"`
	Is     bool              `json:"is"`
	At     time.Time         `json:"at"`
	Inner  *inner            `json:"inner"`
	List   []inner           `json:"list"`
	Names  []string          `json:"names"`
	Meta   map[string]any    `json:"meta"`
	Tags   map[string]string `json:"tags"`
	Hidden string            `json:"-"`
}

type inner struct {
	Name string `json:"name" required:"true"`
}

// Each row is a body. No error holds anything that is written in it.
func TestDecode(t *testing.T) {
	nested := func(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }
	for _, tt := range []struct{ name, text, want, err string }{
		{"a member", ` {"id":"a"} `, `{"id":"a"}`, ""},
		{"an empty string is there", `{"id":""}`, `{"id":""}`, ""},
		{"all members", `{"id":"a","count":-7,"is":true,"at":"2031-05-04T03:02:01Z","inner":{"name":"b"},"list":[{"name":"c"},{"name":"d"}],"names":["e"],"meta":{"f":1},"tags":{"g":"h"}}`,
			`{"id":"a","count":-7,"is":true,"at":"2031-05-04T03:02:01Z","inner":{"name":"b"},"list":[{"name":"c"},{"name":"d"}],"names":["e"],"meta":{"f":1},"tags":{"g":"h"}}`, ""},
		{"empty lists", `{"id":"a","list":[],"names":[],"meta":{}}`, `{"id":"a","list":[],"names":[],"meta":{}}`, ""},
		{"null is absent", `{"id":"a","count":null,"is":null,"at":null,"inner":null,"list":null,"meta":null}`, `{"id":"a"}`, ""},
		{"false", `{"id":"a","is":false}`, `{"id":"a"}`, ""},
		{"unknown members", `{"id":"a","new":{"id":null}}`, `{"id":"a"}`, ""},
		{"a member of no name", `{"id":"a","-":"b","Hidden":"c"}`, `{"id":"a"}`, ""},
		{"an escaped name", `{"\u0069d":"a"}`, `{"id":"a"}`, ""},
		{"the last of duplicates", `{"id":7,"id":"a"}`, `{"id":"a"}`, ""},
		{"an id of 19 digits", `{"id":"a","meta":{"n":1234567890123456789}}`, `{"id":"a","meta":{"n":1234567890123456789}}`, ""},
		{"deep nesting elsewhere", `{"id":"a","new":` + nested(9_000) + `}`, `{"id":"a"}`, ""},

		{"nothing", ``, "", "body is not one JSON value"},
		{"HTML", `<p>canary`, "", "body is not one JSON value"},
		{"cut off", `{"id":"canary"`, "", "body is not one JSON value"},
		{"two values", `{"id":"a"}{}`, "", "body is not one JSON value"},
		{"nesting without end", `{"id":"a","new":` + nested(200_000) + `}`, "", "body is not one JSON value"},
		{"null", ` null`, "", "body is null"},
		{"an array", `["canary"]`, "", "body is not an object"},
		{"a string", `"canary"`, "", "body is not an object"},
		{"no id", `{}`, "", "id is missing"},
		{"an id in other case", `{"ID":"canary"}`, "", "id is missing"},
		{"an id that is null", `{"id":null}`, "", "id is null"},
		{"the last of duplicates is null", `{"id":"canary","id":null}`, "", "id is null"},
		{"a number for a string", `{"id":8675309}`, "", "id is not a string"},
		{"a fraction for an integer", `{"id":"a","count":1.5}`, "", "count is not an integer"},
		{"a string for an integer", `{"id":"a","count":"canary"}`, "", "count is not an integer"},
		{"beyond any integer", `{"id":"a","count":1e30}`, "", "count is not an integer"},
		{"a number for a bool", `{"id":"a","is":1}`, "", "is is not true or false"},
		{"a number for an object", `{"id":"a","inner":1}`, "", "inner is not an object"},
		{"an array for a map", `{"id":"a","meta":[]}`, "", "meta is not an object"},
		{"numbers in a map of strings", `{"id":"a","tags":{"canary":1}}`, "", "tags is not an object"},
		{"an object for an array", `{"id":"a","list":{}}`, "", "list is not an array"},
		{"inside an object", `{"id":"a","inner":{"name":7}}`, "", "inner.name is not a string"},
		{"inside an array", `{"id":"a","list":[{"name":"b"},{}]}`, "", "list[1].name is missing"},
		{"an element", `{"id":"a","names":["b",null]}`, "", "names[1] is null"},
		{"no merge of duplicate objects", `{"id":"a","inner":{"name":"canary"},"inner":{}}`, "", "inner.name is missing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got body
			err := rawjson.Decode([]byte(tt.text), &got)
			assert.Equal(t, cmp.Or(tt.err, "<nil>"), fmt.Sprint(err))
			if err == nil {
				assert.Equal(t, tt.want, encode(t, got))
			}
		})
	}
}

// answer has members of each kind that are needed, or are not.
type answer struct {
	ID     string    `json:"id" required:"true" need:"value"`
	Name   string    `json:"name" required:"true"`
	Nick   string    `json:"nick"`
	At     time.Time `json:"at" need:"type"`
	Made   time.Time `json:"made"`
	List   []element `json:"list" required:"true"`
	Needed []element `json:"needed" need:"type"`
	Inner  *struct {
		N int `json:"n"`
	} `json:"inner"`
	Deep *element       `json:"deep" required:"true"`
	Meta map[string]any `json:"meta"`
}

type element struct {
	Key  string `json:"key" need:"type"`
	Rest bool   `json:"rest" required:"true"`
}

// Each row is a body, what is odd about it, and what is wrong with it.
func TestDecodeNeeded(t *testing.T) {
	const good = `"name":"n","list":[],"deep":{"rest":true}`
	for text, row := range map[string]struct{ odd, err string }{
		`{"id":"a",` + good + `}`:                                  {"", ""},
		`{"id":"","nick":null,"at":null,"made":null,` + good + `}`: {"", ""},
		`{"id":"a"}`: {"name is missing; list is missing; deep is missing", ""},
		`{"id":"a","name":null,"list":null,"deep":null}`: {"name is null; list is null; deep is null", ""},
		`{"id":"a","name":7,"list":{},"deep":"x","nick":[],"made":7,"inner":[],"meta":7}`: {"name is not a string; nick is not a string; made is not a time of RFC 3339; " +
			"list is not an array; inner is not an object; deep is not an object; meta is not an object", ""},
		`{"id":"a","at":"","made":"",` + good + `}`:                           {"at is empty; made is empty", ""},
		`{"id":"a","inner":{"n":"x"},` + good + `}`:                           {"inner.n is not an integer", ""},
		`{"id":"a","name":"n","list":[{"rest":1},{}],"deep":{}}`:              {"list[0].rest is not true or false; list[1].rest is missing; deep.rest is missing", ""},
		`{"id":"a","name":"n","list":[{"rest":true},7],"deep":{"rest":true}}`: {"list[1] is not an object", ""},

		`{` + good + `}`:                                       {"", "id is missing"},
		`{"id":null,` + good + `}`:                             {"", "id is null"},
		`{"id":7,` + good + `}`:                                {"", "id is not a string"},
		`{"id":"a","at":"tomorrow",` + good + `}`:              {"", "at is not a time of RFC 3339"},
		`{"id":"a","needed":[7],` + good + `}`:                 {"", "needed[0] is not an object"},
		`{"id":"a","name":"n","list":[{"rest":true,"key":7}]}`: {"", "list[0].key is not a string"},
		`{"id":"a","name":"n","list":[],"deep":{"key":7}}`:     {"", "deep.key is not a string"},
		`{"id":"a"`: {"", "body is not one JSON value"},
		`[]`:        {"", "body is not an object"},
	} {
		var odd []string
		var got answer
		err := rawjson.DecodeNeeded([]byte(text), &got, func(path, reason string) { odd = append(odd, path+" "+reason) })
		assert.Equal(t, cmp.Or(row.err, "<nil>"), fmt.Sprint(err), text)
		assert.Equal(t, row.odd, strings.Join(odd, "; "), text)
	}
}

// What is odd is left zero, but for an object: something is there.
func TestDecodeNeededLeavesZero(t *testing.T) {
	var got answer
	text := `{"id":"a","name":7,"list":[{"key":"k"},7],"deep":"x","meta":7,"made":"x"}`
	assert.NoError(t, rawjson.DecodeNeeded([]byte(text), &got, func(string, string) {}))
	assert.Equal(t, answer{ID: "a", Deep: &element{}}, got)
	got = answer{}
	assert.NoError(t, rawjson.DecodeNeeded([]byte(`{"id":"a","list":[],"deep":null}`), &got, func(string, string) {}))
	assert.Equal(t, answer{ID: "a", List: []element{}}, got)
}

// encode leaves out what is zero.
func encode(t *testing.T, b body) string {
	t.Helper()
	text, err := json.Marshal(struct {
		ID    string            `json:"id"`
		Count int               `json:"count,omitzero"`
		Is    bool              `json:"is,omitzero"`
		At    time.Time         `json:"at,omitzero"`
		Inner *inner            `json:"inner,omitzero"`
		List  []inner           `json:"list,omitzero"`
		Names []string          `json:"names,omitzero"`
		Meta  map[string]any    `json:"meta,omitzero"`
		Tags  map[string]string `json:"tags,omitzero"`
	}{b.ID, b.Count, b.Is, b.At, b.Inner, b.List, b.Names, b.Meta, b.Tags})
	assert.NoError(t, err)
	assert.Empty(t, b.Hidden)
	return string(text)
}

// A time is in UTC, whatever its offset and the machine's own zone.
func TestDecodeTime(t *testing.T) {
	second := time.Date(2031, 5, 4, 3, 2, 1, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"2031-05-04T03:02:01Z": second, "2031-05-04T05:02:01+02:00": second, `2031-05-04T05:02:01\u002b02:00`: second,
		"2031-05-04T03:02:01+00:00": second, "2031-05-04T03:02:01.5Z": second.Add(time.Second / 2),
		"2031-05-04T03:02:01.123456789Z": second.Add(123456789), "0001-01-01T00:00:00Z": {}, "0000-01-01T00:00:00Z": time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC),
		"9999-12-31T23:59:59Z": time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	} {
		var got body
		assert.NoError(t, rawjson.Decode([]byte(`{"id":"a","at":"`+text+`"}`), &got), text)
		assert.Equal(t, want, got.At, text)
	}
	for _, text := range []string{
		`""`, `"canary"`, `"2031-05-04"`, `"2031-05-04 03:02:01Z"`, `"2031-05-04T03:02:01"`, `"2031-02-30T00:00:00Z"`, `"9999-12-31T23:59:59-01:00"`,
		`"0000-01-01T00:00:00+01:00"`, `1936000000`, `{}`,
	} {
		err := rawjson.Decode([]byte(`{"id":"a","at":`+text+`}`), new(body))
		assert.EqualError(t, err, "at is not a time of RFC 3339", text)
	}
}
