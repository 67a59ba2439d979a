package rawjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Decode fills dst, a pointer to a zero response type, from a body of Stytch's.
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
func Decode(data []byte, dst any) error {
	if !json.Valid(data) {
		return errors.New("body is not one JSON value")
	}
	if err := fill(bytes.TrimSpace(data), reflect.ValueOf(dst).Elem()); err != nil {
		return err
	}
	return nil
}

// fill sets v from raw, which is valid JSON without space around it.
func fill(raw []byte, v reflect.Value) *misfit {
	if IsNull(raw) {
		return misfitOf("is null") // json.Unmarshal would leave v as it is
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return fill(raw, v.Elem())
	case reflect.Struct:
		if t, ok := v.Addr().Interface().(*time.Time); ok {
			return fillTime(raw, t)
		}
		return fillObject(raw, v)
	case reflect.Slice:
		return fillArray(raw, v)
	case reflect.String:
		s, ok := Text(raw)
		if !ok {
			return misfitOf("is not a string")
		}
		v.SetString(s)
		return nil
	case reflect.Bool:
		if s := string(raw); s != "true" && s != "false" {
			return misfitOf("is not true or false")
		}
		v.SetBool(raw[0] == 't')
		return nil
	case reflect.Int:
		n, err := strconv.ParseInt(string(raw), 10, 0)
		if err != nil {
			return misfitOf("is not an integer")
		}
		v.SetInt(n)
		return nil
	}
	return fillMap(raw, v)
}

func fillMap(raw []byte, v reflect.Value) *misfit {
	from := json.NewDecoder(bytes.NewReader(raw))
	from.UseNumber() // an id of 19 digits in metadata would not survive a float64
	if !IsObject(raw) || from.Decode(v.Addr().Interface()) != nil {
		return misfitOf("is not an object")
	}
	return nil
}

func fillObject(raw []byte, v reflect.Value) *misfit {
	if !IsObject(raw) {
		return misfitOf("is not an object")
	}
	members := make([]namedValue, 0, v.NumField())
	for name, value := range Members(raw) {
		members = append(members, namedValue{name, value})
	}
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag
		name, _, _ := strings.Cut(tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		value := valueOf(members, name)
		switch required := tag.Get("required") == "true"; {
		case required && value == nil:
			return misfitOf("is missing").in(name)
		case !required && (value == nil || IsNull(value)):
			continue
		}
		if err := fill(value, v.Field(i)); err != nil {
			return err.in(name)
		}
	}
	return nil
}

// namedValue is a name of an object, and the text of its value.
type namedValue struct{ name, value []byte }

// valueOf returns the value of a name, the last one's of several, or nil.
func valueOf(members []namedValue, name string) []byte {
	for _, m := range slices.Backward(members) {
		if string(m.name) == name {
			return m.value
		}
	}
	return nil
}

func fillArray(raw []byte, v reflect.Value) *misfit {
	if !IsArray(raw) {
		return misfitOf("is not an array")
	}
	all := slices.Collect(Elements(raw))
	v.Set(reflect.MakeSlice(v.Type(), len(all), len(all)))
	for i, element := range all {
		if err := fill(element, v.Index(i)); err != nil {
			return err.in("[" + strconv.Itoa(i) + "]")
		}
	}
	return nil
}

// fillTime reads a timestamp into UTC, whatever its offset: package time would
// give the machine's own zone to a time that happens to have its offset. The
// string is decoded first, for Time.UnmarshalJSON knows no escapes ("\u002b").
func fillTime(raw []byte, t *time.Time) *misfit {
	text, ok := Text(raw)
	if !ok || t.UnmarshalText([]byte(text)) != nil {
		return misfitOf("is not a time of RFC 3339")
	}
	if *t = t.UTC(); t.Year() < 0 || t.Year() > 9999 { // could not be encoded again
		return misfitOf("is not a time of RFC 3339")
	}
	return nil
}

// misfit is what is wrong with a body, and where. It has no prefix: the client
// names the call that the body answered.
type misfit struct{ path, reason string }

func misfitOf(reason string) *misfit { return &misfit{reason: reason} }

// in is the misfit seen from around the member or element.
func (m *misfit) in(name string) *misfit {
	if m.path != "" && m.path[0] != '[' {
		name += "."
	}
	m.path = name + m.path
	return m
}

func (m *misfit) Error() string {
	if m.path == "" {
		return "body " + m.reason
	}
	return m.path + " " + m.reason
}
