package stytchmigrate

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// decode fills dst, a pointer to a zero response type, from a body of Stytch's.
//
// It stands in for json.Unmarshal, which takes User_ID for user_id, leaves a
// missing member zero without a word, merges duplicate objects, and quotes the
// value in its errors. Here names are compared exactly, members tagged required
// must be there and not null, the last of duplicates counts, and an error names
// the path and what was expected: nothing in its text is from the body. Null is
// absence where a member is optional; members that no field is for are ignored.
//
// The cost is linear: a byte is scanned once for each level of the Go types, the
// nesting of anything else is left to encoding/json, which bounds it at 10,000.
func decode(data []byte, dst any) error {
	if !json.Valid(data) {
		return errors.New("body is not one JSON value")
	}
	return fill("", bytes.TrimSpace(data), reflect.ValueOf(dst).Elem())
}

// fill sets v from raw, which is valid JSON without space around it.
func fill(path string, raw json.RawMessage, v reflect.Value) error {
	if isNull(raw) {
		return wrong(path, "is null") // json.Unmarshal would leave v as it is
	}
	if t, ok := v.Addr().Interface().(*time.Time); ok {
		return fillTime(path, raw, t)
	}
	expected := "is not a string"
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return fill(path, raw, v.Elem())
	case reflect.Struct:
		return fillObject(path, raw, v)
	case reflect.Slice:
		return fillArray(path, raw, v)
	case reflect.Map:
		expected = "is not an object"
	case reflect.Bool:
		expected = "is not true or false"
	case reflect.Int:
		expected = "is not an integer"
	}
	from := json.NewDecoder(bytes.NewReader(raw))
	from.UseNumber() // an id of 19 digits in metadata would not survive a float64
	if from.Decode(v.Addr().Interface()) != nil {
		return wrong(path, expected)
	}
	return nil
}

func fillObject(path string, raw json.RawMessage, v reflect.Value) error {
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil {
		return wrong(path, "is not an object")
	}
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag
		name, _, _ := strings.Cut(tag.Get("json"), ",")
		at := name
		if path != "" {
			at = path + "." + name
		}
		member, found := members[name]
		required := tag.Get("required") == "true"
		switch {
		case name == "-" || !required && (!found || isNull(member)):
			continue
		case !found:
			return wrong(at, "is missing")
		}
		if err := fill(at, member, v.Field(i)); err != nil {
			return err
		}
	}
	return nil
}

func fillArray(path string, raw json.RawMessage, v reflect.Value) error {
	var elements []json.RawMessage
	if json.Unmarshal(raw, &elements) != nil {
		return wrong(path, "is not an array")
	}
	v.Set(reflect.MakeSlice(v.Type(), len(elements), len(elements)))
	for i, element := range elements {
		if err := fill(path+"["+strconv.Itoa(i)+"]", element, v.Index(i)); err != nil {
			return err
		}
	}
	return nil
}

// fillTime reads a timestamp into UTC, whatever its offset: package time would
// give the machine's own zone to a time that happens to have its offset. The
// string is decoded first, for Time.UnmarshalJSON knows no escapes ("\u002b").
func fillTime(path string, raw json.RawMessage, t *time.Time) error {
	var text string
	if json.Unmarshal(raw, &text) != nil || t.UnmarshalText([]byte(text)) != nil {
		return wrong(path, "is not a time of RFC 3339")
	}
	if *t = t.UTC(); t.Year() < 0 || t.Year() > 9999 { // could not be encoded again
		return wrong(path, "is not a time of RFC 3339")
	}
	return nil
}

func isNull(raw json.RawMessage) bool { return string(raw) == "null" }

// wrong has no prefix: the client names the call that the body answered.
func wrong(path, reason string) error {
	if path == "" {
		path = "body"
	}
	return errors.New(path + " " + reason)
}

// decodeError reads what can be read of an error's body. It may be a gateway's
// HTML, cut off or empty, so the status is the HTTP status, and members of the
// wrong type count as absent.
//
// What is printed of an Error is kept only where it looks as Stytch's does: an
// address or a name in their place would reach every log.
func decodeError(status int, body []byte) *Error {
	var members map[string]json.RawMessage
	_ = json.Unmarshal(body, &members) // nil where it is no object: all absent
	text := func(name string) (s string) {
		if json.Unmarshal(members[name], &s) != nil {
			return ""
		}
		return s
	}
	return &Error{
		StatusCode: status,
		RequestID:  identifier(text("request_id")),
		Type:       identifier(text("error_type")),
		Message:    text("error_message"),
		URL:        only(text("error_url"), "_-.:/#", 200), // no @, no query, no escapes
	}
}

// identifier returns s if it looks like an id or an error type of Stytch's,
// and else "".
func identifier(s string) string { return only(s, "_-.", 100) }

// only returns s if it has at most limit bytes, each an ASCII letter, a digit
// or one of marks, and else "".
func only(s, marks string, limit int) string {
	const alphanumeric = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	if len(s) > limit || strings.Trim(s, alphanumeric+marks) != "" {
		return ""
	}
	return s
}
