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

// Decode fills dst from a JSON object. dst points to a zero struct.
//
// It is stricter than json.Unmarshal:
//   - Names are compared exactly. json.Unmarshal reads User_ID as user_id.
//   - A member whose field has the tag `required:"true"` must be there and must not be
//     null. json.Unmarshal leaves the field zero.
//   - Of duplicate members the last counts. json.Unmarshal merges duplicate objects.
//   - An error names the path and what was expected. json.Unmarshal quotes the value,
//     which may be a secret.
//
// A null counts as absent if the member is optional. Members without a field are
// ignored.
//
// The cost is linear. Each byte is scanned once for each level of the Go types.
// Nesting below them is left to encoding/json, which allows 10,000 levels.
func Decode(data []byte, dst any) error {
	return decode(data, dst, &decoder{strict: true})
}

// DecodeNeeded is Decode for an answer of which only some members are needed. A field's
// tag says what its member must be:
//
//   - `need:"value"`: it is there, is not null and has the right type
//   - `need:"type"`: it has the right type, if it is there and not null
//
// Any other member may be anything. If it is not what the field and its tag required
// promise, odd is called with its path and with what is wrong. Its field stays zero. So
// does a list with one element of another type. But the pointer to an object that is
// something else points to a zero struct, because something is there. A time that is ""
// counts as absent.
func DecodeNeeded(data []byte, dst any, odd func(path, reason string)) error {
	return decode(data, dst, &decoder{odd: odd})
}

func decode(data []byte, dst any, d *decoder) error {
	if !json.Valid(data) {
		return errors.New("body is not one JSON value")
	}
	if err := d.fill(bytes.TrimSpace(data), reflect.ValueOf(dst).Elem()); err != nil {
		return err // not fill's result itself: a nil *mismatch is not a nil error
	}
	return nil
}

// decoder decodes one text.
type decoder struct {
	strict bool
	odd    func(path, reason string) // if not strict
	path   []string                  // of what is being filled
}

// need is what a member must be.
type need int

const (
	needNothing need = iota
	needType
	needValue
)

// needOf returns what the member of a field must be.
func (d *decoder) needOf(tag reflect.StructTag) need {
	switch {
	case d.strict && tag.Get("required") == "true", !d.strict && tag.Get("need") == "value":
		return needValue
	case d.strict, tag.Get("need") == "type":
		return needType
	}
	return needNothing
}

// note reports what is odd about the value at the path.
func (d *decoder) note(m *mismatch) {
	for _, step := range slices.Backward(d.path) {
		m = m.in(step)
	}
	d.odd(m.path, m.reason)
}

// fill sets v from raw, which is valid JSON with no space around it.
func (d *decoder) fill(raw []byte, v reflect.Value) *mismatch {
	if IsNull(raw) {
		return mismatchOf("is null") // json.Unmarshal would leave v as it is
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return d.fill(raw, v.Elem())
	case reflect.Struct:
		if t, ok := v.Addr().Interface().(*time.Time); ok {
			return fillTime(raw, t)
		}
		return d.fillObject(raw, v)
	case reflect.Slice:
		return d.fillArray(raw, v)
	case reflect.String:
		s, ok := Text(raw)
		if !ok {
			return mismatchOf("is not a string")
		}
		v.SetString(s)
		return nil
	case reflect.Bool:
		if s := string(raw); s != "true" && s != "false" {
			return mismatchOf("is not true or false")
		}
		v.SetBool(raw[0] == 't')
		return nil
	case reflect.Int:
		n, err := strconv.ParseInt(string(raw), 10, 0)
		if err != nil {
			return mismatchOf("is not an integer")
		}
		v.SetInt(n)
		return nil
	}
	return fillMap(raw, v)
}

func fillMap(raw []byte, v reflect.Value) *mismatch {
	from := json.NewDecoder(bytes.NewReader(raw))
	from.UseNumber() // a float64 would change an id of 19 digits in metadata
	if !IsObject(raw) || from.Decode(v.Addr().Interface()) != nil {
		return mismatchOf("is not an object")
	}
	return nil
}

func (d *decoder) fillObject(raw []byte, v reflect.Value) *mismatch {
	if !IsObject(raw) {
		return mismatchOf("is not an object")
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
		d.path = append(d.path, name)
		err := d.fillMember(valueOf(members, name), v.Field(i), tag)
		d.path = d.path[:len(d.path)-1]
		if err != nil {
			return err.in(name)
		}
	}
	return nil
}

// fillMember sets a field from its member, which may be absent.
func (d *decoder) fillMember(value []byte, field reflect.Value, tag reflect.StructTag) *mismatch {
	needed := d.needOf(tag)
	var absent *mismatch
	switch {
	case value == nil:
		absent = mismatchOf("is missing")
	case IsNull(value):
		absent = mismatchOf("is null")
	case !d.strict && needed != needValue && string(value) == `""` && field.Type() == reflect.TypeFor[time.Time]():
		d.note(mismatchOf("is empty"))
		return nil
	default:
		return d.fillNeeded(value, field, needed)
	}
	if needed == needValue {
		absent.needed = true
		return absent
	}
	if !d.strict && tag.Get("required") == "true" {
		d.note(absent)
	}
	return nil
}

// fillNeeded sets v from a value. It returns a mismatch only if that matters.
func (d *decoder) fillNeeded(value []byte, v reflect.Value, needed need) *mismatch {
	err := d.fill(value, v)
	switch {
	case err == nil:
		return nil
	case needed != needNothing || err.needed:
		err.needed = true
		return err
	}
	d.note(err)
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
	} else {
		v.SetZero()
	}
	return nil
}

// namedValue is a member of an object: its name, and the text of its value.
type namedValue struct{ name, value []byte }

// valueOf returns the value of the last member with a name, or nil.
func valueOf(members []namedValue, name string) []byte {
	for _, m := range slices.Backward(members) {
		if string(m.name) == name {
			return m.value
		}
	}
	return nil
}

func (d *decoder) fillArray(raw []byte, v reflect.Value) *mismatch {
	if !IsArray(raw) {
		return mismatchOf("is not an array")
	}
	all := slices.Collect(Elements(raw))
	v.Set(reflect.MakeSlice(v.Type(), len(all), len(all)))
	for i, element := range all {
		step := "[" + strconv.Itoa(i) + "]"
		d.path = append(d.path, step)
		err := d.fill(element, v.Index(i))
		d.path = d.path[:len(d.path)-1]
		if err != nil {
			return err.in(step)
		}
	}
	return nil
}

// fillTime reads a timestamp and converts it to UTC. Package time would give a
// timestamp the machine's own zone if it has the same offset. The string is decoded
// first, because Time.UnmarshalJSON does not know escapes such as "\u002b".
func fillTime(raw []byte, t *time.Time) *mismatch {
	text, ok := Text(raw)
	if !ok || t.UnmarshalText([]byte(text)) != nil {
		return mismatchOf("is not a time of RFC 3339")
	}
	if *t = t.UTC(); t.Year() < 0 || t.Year() > 9999 { // Time.MarshalJSON could not encode it again
		return mismatchOf("is not a time of RFC 3339")
	}
	return nil
}

// mismatch is an error about a body. It has no prefix, because the client names the
// call that the body answers.
type mismatch struct {
	path, reason string
	needed       bool // the member is needed, or it is in one that is
}

func mismatchOf(reason string) *mismatch { return &mismatch{reason: reason} }

// in adds the name of the member or element around it to the path.
func (m *mismatch) in(name string) *mismatch {
	if m.path != "" && m.path[0] != '[' {
		name += "."
	}
	m.path = name + m.path
	return m
}

func (m *mismatch) Error() string {
	if m.path == "" {
		return "body " + m.reason
	}
	return m.path + " " + m.reason
}
