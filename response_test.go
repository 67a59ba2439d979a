package stytchmigrate_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/rawjson"
)

const canary = "Canary-9f2c@example.net" // must be in no printed text

// schema is testdata/schema.json. For each type and member it has "required" or
// "optional", and the member's type.
type schema map[string]map[string]string

func readSchema(t testing.TB) (s schema) {
	t.Helper()
	data, err := os.ReadFile("testdata/schema.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &s))
	return s
}

// responses are the types of Stytch's answers. All other types are in one of them.
var responses = []reflect.Type{reflect.TypeFor[stytchmigrate.MigrateResponse](), reflect.TypeFor[stytchmigrate.AuthenticateResponse](), reflect.TypeFor[stytchmigrate.RevokeResponse]()}

// compare compares a Go type with the schema's type of that name. Neither may have a
// member that the other lacks. Several types of the schema may be one Go type.
func (s schema) compare(t *testing.T, name string, typ reflect.Type, seen map[string]reflect.Type) {
	t.Helper()
	seen[name] = typ
	got := map[string]string{}
	for i := range typ.NumField() {
		f := typ.Field(i)
		member, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if typ == reflect.TypeFor[stytchmigrate.User]() && f.Name == "Partial" && member == "-" {
			continue
		}
		assert.True(t, strings.EqualFold(f.Name, strings.ReplaceAll(member, "_", "")), "%s.%s is %q in JSON", name, f.Name, member)
		presence, kind, of := describe(f)
		if ref := s[name][member]; kind == "struct" && strings.HasPrefix(ref, presence) && s[ref[len(presence):]] != nil {
			kind = ref[len(presence):]
			s.compare(t, kind, of, seen)
		}
		got[member] = presence + kind
	}
	assert.Equal(t, s[name], got, name)
}

// describe returns a field in the schema's words, and the Go type of the field or of its
// elements. An optional field is left out of JSON when it is zero, unless it is a
// string.
func describe(f reflect.StructField) (presence, kind string, of reflect.Type) {
	required := f.Tag.Get("required") == "true"
	presence, of = map[bool]string{true: "required ", false: "optional "}[required], f.Type
	names := map[reflect.Type]string{reflect.TypeFor[time.Time](): "time", reflect.TypeFor[stytchmigrate.Secret](): "secret", reflect.TypeFor[map[string]any](): "object"}
	switch of.Kind() {
	case reflect.Slice:
		presence, of = presence+"[]", of.Elem()
	case reflect.Pointer:
		if of = of.Elem(); required {
			presence += "pointer "
		}
	case reflect.Struct:
		if !required && names[of] == "" {
			presence += "by value "
		}
	}
	if omitted := strings.HasSuffix(f.Tag.Get("json"), ",omitzero"); omitted != (!required && of.Kind() != reflect.String) {
		presence += "with a wrong json option "
	}
	return presence, cmp.Or(names[of], of.Kind().String()), of
}

type member struct {
	path, kind string
	required   bool
}

// full returns a body with every member of a type, and adds these members, and the
// elements of arrays, to all. Each string in it is different.
func (s schema) full(name, path string, all *[]member) map[string]any {
	body := map[string]any{}
	for name, kind := range s[name] {
		presence, kind, _ := strings.Cut(kind, " ")
		at := strings.TrimPrefix(path+"."+name, ".")
		*all = append(*all, member{at, kind, presence == "required"})
		if element, isArray := strings.CutPrefix(kind, "[]"); isArray {
			*all = append(*all, member{at + "[0]", element, true})
			body[name] = []any{s.value(element, at+"[0]", all)}
			continue
		}
		body[name] = s.value(kind, at, all)
	}
	return body
}

func (s schema) value(kind, path string, all *[]member) any {
	if s[kind] != nil {
		return s.full(kind, path, all)
	}
	return map[string]any{
		"string": "of " + path, "secret": "of " + path, "bool": true, "int": json.Number("200"),
		"time":   "2031-05-04T03:02:01.234567891Z",
		"object": map[string]any{"big": json.Number("9007199254740993"), "list": []any{json.Number("1.50"), nil, "<&>"}, "none": map[string]any{}},
	}[kind]
}

// with returns at with value at a path. The value absent removes what is there.
func with(at any, path string, value any) any {
	step, rest, _ := strings.Cut(strings.NewReplacer("[", ".", "]", "").Replace(path), ".")
	if step == "" {
		return value
	}
	switch in := at.(type) {
	case map[string]any:
		if in[step] = with(in[step], rest, value); in[step] == absent {
			delete(in, step)
		}
	case []any:
		i, _ := strconv.Atoi(step)
		in[i] = with(in[i], rest, value)
	}
	return at
}

var absent any = struct{}{}

func toJSON(t testing.TB, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	require.NoError(t, err)
	return data
}

func TestTypesMatchTheSchema(t *testing.T) {
	s, seen := readSchema(t), map[string]reflect.Type{}
	for _, typ := range responses {
		s.compare(t, typ.Name(), typ, seen)
	}
	for name := range s {
		assert.NotNil(t, seen[name], "no Go type is the schema's type %s", name)
	}
}

func TestDecodeChecksEveryMember(t *testing.T) {
	t.Parallel()
	s, types := readSchema(t), map[string]reflect.Type{}
	for _, typ := range responses {
		s.compare(t, typ.Name(), typ, types)
	}
	for name, typ := range types {
		var members []member
		s.full(name, "", &members)
		for _, m := range members {
			if strings.Contains(m.path, ".") && m.path != "user.emails[0].email_id" {
				continue // a member of another type, which has its own turn
			}
			decodeWith := func(value any) error {
				return rawjson.Decode(toJSON(t, with(s.full(name, "", new([]member)), m.path, value)), reflect.New(typ).Interface())
			}
			assert.Regexp(t, "^"+regexp.QuoteMeta(m.path)+" is not [a-zA-Z ]+( 3339)?$", decodeWith(json.Number("8675309.5")))
			switch {
			case !m.required:
				assert.NoError(t, decodeWith(absent), m.path)
				assert.NoError(t, decodeWith(nil), m.path)
			case !strings.HasSuffix(m.path, "]"): // an element can't be missing
				assert.EqualError(t, decodeWith(absent), m.path+" is missing")
				fallthrough
			default:
				assert.EqualError(t, decodeWith(nil), m.path+" is null")
			}
		}
	}
}

func TestDecode(t *testing.T) {
	rows := []struct{ name, body, want, err string }{
		{"a whole answer", ` {"request_id":"r","status_code":200} `, "r", ""},
		{"an empty string is there", `{"request_id":"","status_code":200}`, "", ""},
		{"unknown members", `{"request_id":"r","status_code":200,"new":{"request_id":null}}`, "r", ""},
		{"an escaped name", `{"request\u005fid":"r","status_code":200}`, "r", ""},
		{"the last of duplicates", `{"request_id":7,"request_id":"r","status_code":200}`, "r", ""},
		{"a name in other case is another name", `{"request_id":"r","REQUEST_ID":"x","status_code":200}`, "r", ""},
		{"a name in other case is no name", `{"Request_ID":"r","status_code":200}`, "", "request_id is missing"},
		{"deep nesting elsewhere", `{"request_id":"r","status_code":200,"a":` + nested(9_000) + `}`, "r", ""},
		{"nesting without end", `{"request_id":"r","status_code":200,"a":` + nested(200_000) + `}`, "", "body is not one JSON value"},
		{"no body", ``, "", "body is not one JSON value"},
		{"HTML", `<p>` + canary, "", "body is not one JSON value"},
		{"cut off", `{"request_id":"` + canary + `"`, "", "body is not one JSON value"},
		{"something after the answer", `{"request_id":"r","status_code":200}{}`, "", "body is not one JSON value"},
		{"null", ` null`, "", "body is null"},
		{"an array", `["` + canary + `"]`, "", "body is not an object"},
		{"a status beyond any integer", `{"request_id":"r","status_code":1e30}`, "r", "status_code is not an integer"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			var got stytchmigrate.RevokeResponse
			assert.Equal(t, cmp.Or(row.err, "<nil>"), fmt.Sprint(rawjson.Decode([]byte(row.body), &got)))
			assert.Equal(t, row.want, got.RequestID)
		})
	}
}

func nested(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }

func TestDecodeReplacesDuplicateObjects(t *testing.T) { // encoding/json merges them
	body := `{"visitor_id":"v","ip_address_details":{"is_new":true},"ip_address_details":{}}`
	assert.EqualError(t, rawjson.Decode([]byte(body), new(stytchmigrate.DeviceInfo)), "ip_address_details.is_new is missing")
}

func TestDecodeTimes(t *testing.T) {
	second := time.Date(2031, 5, 4, 3, 2, 1, 0, time.UTC)
	rows := map[string]time.Time{
		"2031-05-04T03:02:01Z": second, "2031-05-04T05:02:01+02:00": second, `2031-05-04T05:02:01\u002b02:00`: second,
		"2031-05-04T03:02:01+00:00": second, "0001-01-01T00:00:00Z": {},
	}
	for digits := 1; digits <= 9; digits++ {
		nanos, _ := strconv.Atoi("123456789"[:digits] + "000000000"[digits:])
		rows["2031-05-04T03:02:01."+"123456789"[:digits]+"Z"] = second.Add(time.Duration(nanos))
	}
	for text, want := range rows {
		var got stytchmigrate.DeviceAttributeDetails
		require.NoError(t, rawjson.Decode([]byte(`{"is_new":true,"last_seen_at":"`+text+`"}`), &got), text)
		assert.Equal(t, want, got.LastSeenAt, text)
	}
	for _, text := range []string{"", canary, "2031-05-04", "2031-05-04 03:02:01Z", "2031-05-04T03:02:01", "2031-02-30T00:00:00Z", "9999-12-31T23:59:59-01:00"} {
		err := rawjson.Decode([]byte(`{"is_new":true,"last_seen_at":"`+text+`"}`), new(stytchmigrate.DeviceAttributeDetails))
		assert.EqualError(t, err, "last_seen_at is not a time of RFC 3339", text)
	}
}

func TestDecodeAndEncodeLoseNothing(t *testing.T) {
	s := readSchema(t)
	for _, typ := range responses {
		fresh := func() any { return reflect.New(typ).Interface() }
		var members []member
		body := s.full(typ.Name(), "", &members)
		first, again := fresh(), map[string]any{}
		require.NoError(t, rawjson.Decode(toJSON(t, body), first))
		require.NoError(t, rawjson.Decode(toJSON(t, first), &again))
		assert.Equal(t, body, again, "every member is there again")

		for _, m := range members { // a missing object comes back as null, with its members
			if !m.required {
				with(body, m.path, absent)
			}
		}
		first, second := fresh(), fresh()
		require.NoError(t, rawjson.Decode(toJSON(t, body), first))
		require.NoError(t, rawjson.Decode(toJSON(t, first), second))
		assert.Equal(t, first, second, "without what is optional")
	}
}

func TestNothingPrintsASecret(t *testing.T) {
	user, session := stytchmigrate.User{UserID: "user-1", Emails: []stytchmigrate.Email{{Email: canary}}}, stytchmigrate.Session{SessionID: "session-1"}
	migrate := stytchmigrate.MigrateResponse{"req-1", "user-1", canary, canary, user, 200, &session, nil}
	authenticate := stytchmigrate.AuthenticateResponse{"req-1", session, canary, canary, user, 200, nil}
	secret, apiError := stytchmigrate.Secret(canary), stytchmigrate.Error{StatusCode: 404, RequestID: "req-1", Type: "session_not_found", Message: canary}
	const failure = "stytchmigrate: stytch answered 404 session_not_found (request_id req-1)"
	rows := []struct {
		text, logged string
		values       []any
	}{
		{"[redacted]", `"[redacted]"`, []any{secret, &secret, stytchmigrate.Secret("")}},
		{failure, `{"status_code":404,"error_type":"session_not_found","request_id":"req-1"}`, []any{apiError, &apiError}},
		{"[request_id=req-1 user_id=user-1 session_id=session-1 status_code=200]", `{"request_id":"req-1","user_id":"user-1","session_id":"session-1","status_code":200}`,
			[]any{migrate, &migrate, authenticate, &authenticate}},
	}
	for _, row := range rows {
		for _, value := range row.values {
			for _, verb := range strings.Fields("%v %+v %#v %s %q %d %x %X %#x %t %10.3f %U %c %b %o %e %z") {
				assert.Equal(t, row.text, fmt.Sprintf(verb, value), "%T by %s", value, verb)
				assert.Contains(t, fmt.Sprintf(verb, []any{value}), row.text, "%T in a slice by %s", value, verb)
			}
			var text, asJSON bytes.Buffer
			slog.New(slog.NewTextHandler(&text, nil)).Info("m", "v", value, "in", []any{secret, &apiError})
			slog.New(slog.NewJSONHandler(&asJSON, nil)).Info("m", "v", value, "in", []any{secret, &apiError})
			assert.NotContains(t, text.String()+asJSON.String(), canary, "%T", value)
			assert.Contains(t, asJSON.String(), `"v":`+row.logged, "%T", value)
		}
	}
	assert.NotContains(t, fmt.Sprint(stytchmigrate.MigrateResponse{RequestID: canary, UserID: canary, Session: &stytchmigrate.Session{SessionID: canary}}), canary, "in place of ids")
	assert.Equal(t, "[redacted]", slog.AnyValue(secret).Resolve().Any(), "for handlers that are not slog's")
	held := struct{ S stytchmigrate.Secret }{canary}
	assert.Equal(t, `{"S":"[redacted]"}`, string(toJSON(t, held)))
	assert.JSONEq(t, `{"status_code":404,"error_type":"session_not_found","request_id":"req-1","error_url":""}`, string(toJSON(t, apiError)))
	assert.EqualError(t, fmt.Errorf("%w, %[1]v", &apiError), failure+", "+failure)
	require.NoError(t, json.Unmarshal([]byte(`{"S":"decoded"}`), &held))
	assert.Equal(t, stytchmigrate.Secret("decoded"), held.S)
}

func FuzzDecode(f *testing.F) {
	for _, typ := range responses { // without factors: go test would spend its time on shortening a long seed
		f.Add(toJSON(f, with(readSchema(f).full(typ.Name(), "", new([]member)), "session.authentication_factors", []any{})))
	}
	for _, seed := range []string{``, `null`, `{"user":[]}`, `{"error_type":"` + canary + `"}`, `{"session":{"expires_at":"9999-12-31T23:59:59-01:00"}}`, nested(50)} {
		f.Add([]byte(seed))
	}
	errorText := regexp.MustCompile(`^[a-z_0-9.\[\]]+ is (missing|null|not (one JSON value|an? (object|array|string|integer|time of RFC 3339)|true or false))$`)
	f.Fuzz(func(t *testing.T, data []byte) {
		assert.Regexp(t, `^stytchmigrate: stytch answered 400[\w. ()-]*$`, errorOf(t, 400, data).Error())
		for _, typ := range responses {
			first, second := reflect.New(typ).Interface(), reflect.New(typ).Interface()
			if err := rawjson.Decode(data, first); err != nil {
				assert.Regexp(t, errorText, err.Error())
				continue
			}
			require.NoError(t, rawjson.Decode(toJSON(t, first), second))
			assert.True(t, reflect.DeepEqual(first, second), "decoded, encoded and decoded again is equal")
		}
	})
}
