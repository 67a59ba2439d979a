package gorilla_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/securecookie"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/internal/gorilla"
	"example.com/stytchmigrate/internal/redact"
)

// payload is what an application may keep in its cookie.
type payload struct {
	ID, User string
	Pending  bool
}

var errNoSession = errors.New("no session")

func key(c byte, n int) []byte { return bytes.Repeat([]byte{c}, n) }

func codecs(pairs ...[]byte) []securecookie.Codec { return securecookie.CodecsFromPairs(pairs...) }

func signed() *securecookie.SecureCookie    { return securecookie.New(key('h', 32), nil) }
func encrypted() *securecookie.SecureCookie { return securecookie.New(key('h', 32), key('b', 32)) }

func encode(t testing.TB, codec securecookie.Codec, payload any) string {
	t.Helper()
	if b, ok := payload.([]byte); ok {
		payload = bytes.Clone(b) // an encrypting codec works in place
	}
	v, err := codec.Encode("sid", payload)
	require.NoError(t, err)
	return v
}

// opener is Open for one type.
type opener func(value string, codecs ...securecookie.Codec) (any, error)

func open[T any](value string, codecs ...securecookie.Codec) (any, error) {
	return gorilla.Open[T]("sid", value, codecs, errNoSession)
}

// Each row is what an old application keeps in its cookie.
func TestOpen(t *testing.T) {
	for name, row := range map[string]struct {
		payload    any
		serializer securecookie.Serializer
		open       opener
	}{
		"a struct, by gob":            {payload{ID: "1", User: "ada"}, securecookie.GobEncoder{}, open[payload]},
		"a struct, by JSON":           {payload{ID: "1", User: "ada"}, securecookie.JSONEncoder{}, open[payload]},
		"an id of its store":          {"ada-1", securecookie.GobEncoder{}, open[string]},
		"an id, by JSON":              {"ada-1", securecookie.JSONEncoder{}, open[string]},
		"the values of a CookieStore": {map[any]any{"user": "ada", 7: true}, securecookie.GobEncoder{}, open[map[any]any]},
		"bytes as they are":           {[]byte("ada-1"), securecookie.NopEncoder{}, open[[]byte]},
	} {
		for kind, codec := range map[string]*securecookie.SecureCookie{"signed": signed(), "encrypted": encrypted()} {
			codec.SetSerializer(row.serializer)
			got, err := row.open(encode(t, codec, row.payload), codec)
			assert.NoError(t, err, "%s, %s", name, kind)
			assert.Equal(t, row.payload, got, "%s, %s", name, kind)
		}
	}
}

// A value with any bit changed, or cut off anywhere, is no session.
func TestForged(t *testing.T) {
	for _, codec := range []*securecookie.SecureCookie{signed(), securecookie.New(key('h', 32), key('b', 16))} {
		for _, id := range []string{"ada-1", "ada-22", "ada-333"} { // each length of base64's padding
			good := encode(t, codec, id)
			got, err := open[string](good, codec)
			require.NoError(t, err)
			require.Equal(t, id, got)
			for _, forged := range forgeries(good) {
				got, err := open[string](forged, codec)
				require.Equal(t, errNoSession, err, "%s for %s", forged, good)
				require.Empty(t, got)
			}
		}
	}
}

// forgeries are a value with each bit flipped in turn, and cut off at each byte.
func forgeries(good string) (out []string) {
	for i := range len(good) {
		out = append(out, good[:i], good[i+1:], good[:i]+"\n"+good[i:], good[:i]+"\r"+good[i:])
		for bit := range 8 {
			b := []byte(good)
			b[i] ^= 1 << bit
			out = append(out, string(b))
		}
	}
	return append(out, good+"A", good+"=", good+"AAAA", good+good, strings.TrimRight(good, "=")+".")
}

// Each row is a value that another setting wrote, or that has expired.
func TestNotOurs(t *testing.T) {
	old := func(age time.Duration) func(t *testing.T) string {
		return func(t *testing.T) string { v := encode(t, signed(), "ada-1"); time.Sleep(age); return v }
	}
	for name, row := range map[string]struct {
		write func(t *testing.T) string
		want  error
	}{
		"of another hash key":      {func(t *testing.T) string { return encode(t, securecookie.New(key('x', 32), nil), "ada-1") }, errNoSession},
		"of another cookie's name": {func(*testing.T) string { v, _ := signed().Encode("other", "ada-1"); return v }, errNoSession},
		"as old as MaxAge":         {old(720 * time.Hour), nil},
		"older than MaxAge":        {old(720*time.Hour + time.Second), errNoSession},
		"longer than MaxLength":    {func(t *testing.T) string { return encode(t, signed().MaxLength(0), "ada-"+strings.Repeat("1", 4000)) }, errNoSession},
		"empty":                    {func(*testing.T) string { return "" }, errNoSession},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, err := open[string](row.write(t), signed())
				assert.Equal(t, row.want, err)
			})
		})
	}
}

// Each row is an authentic value that does not open: the error names the type, and
// neither the value nor what is in it.
func TestWrongSetting(t *testing.T) {
	const authentic = `stytchmigrate: wrong setting: cookie "sid" is authentic, but does not decode into `
	serialized := func(s securecookie.Serializer) *securecookie.SecureCookie { return signed().SetSerializer(s) }
	// encoding/gob's form of one string, but for the count: 0x0fffffff of them.
	gobBomb := []byte{0xb, 0x7f, 0x2, 0x1, 0x2, 0xff, 0x80, 0x0, 0x1, 0xc, 0x0, 0x0, 0x8, 0xff, 0x80, 0x0, 0xfc, 0xf, 0xff, 0xff, 0xff}
	for name, row := range map[string]struct {
		written securecookie.Codec
		payload any
		open    opener
		codec   securecookie.Codec
		want    string
	}{
		"a payload of another type":         {signed(), map[any]any{"user": "canary"}, open[payload], signed(), authentic + "gorilla_test.payload"},
		"a type that knows no type":         {signed(), "canary", open[any], signed(), authentic + "interface {}"},
		"another serializer":                {signed(), "canary-1", open[string], serialized(securecookie.JSONEncoder{}), authentic + "string"},
		"bytes that count themselves huge":  {serialized(securecookie.NopEncoder{}), gobBomb, open[[]string], signed(), authentic + "[]string"},
		"a serializer that panics":          {signed(), "canary-1", open[string], serialized(badSerializer{}), authentic + "string"},
		"a serializer that speaks base64":   {signed(), "canary-1", open[string], serialized(badSerializer{base64.CorruptInputError(0)}), authentic + "string"},
		"a serializer's ErrNoSession":       {signed(), "canary-1", open[string], serialized(badSerializer{errNoSession}), authentic + "string"},
		"a block key that came later":       {signed(), map[any]any{"user": "canary, and more than sixteen bytes"}, open[string], encrypted(), authentic + "string"},
		"a block key, on a short value":     {serialized(securecookie.JSONEncoder{}), "canary", open[string], encrypted(), authentic + "string"},
		"a block key that went":             {encrypted(), "canary-1", open[string], signed(), authentic + "string"},
		"a codec's outage":                  {signed(), "canary-1", open[string], customCodec{errors.New("canary")}, `stytchmigrate: wrong setting: codec gorilla_test.customCodec of cookie "sid" failed (*errors.errorString) without saying that the value is no session`},
		"a codec that panics":               {signed(), "canary-1", open[string], customCodec{nil}, authentic + "string"},
		"a codec of several, without a key": {signed(), "canary-1", open[string], severalCodecs(codecs(nil)), authentic + "string"},
		"a codec of several":                {signed(), map[any]any{"user": "canary"}, open[string], severalCodecs{securecookie.New(key('x', 32), nil), signed()}, authentic + "string"},
	} {
		t.Run(name, func(t *testing.T) {
			value := encode(t, row.written, row.payload)
			got, err := row.open(value, row.codec)
			assert.Zero(t, got)
			var setting redact.Setting
			require.ErrorAs(t, err, &setting)
			assert.Equal(t, row.want, err.Error())
			_, err = row.open(value, row.codec, securecookie.New(key('x', 32), nil))
			assert.ErrorAs(t, err, &setting, "whatever a codec after it says")
		})
	}
}

type badSerializer struct{ err error }

func (badSerializer) Serialize(any) ([]byte, error) { panic("not to be called") }

func (b badSerializer) Deserialize([]byte, any) error {
	if b.err == nil {
		panic("canary")
	}
	return b.err
}

// customCodec fails with err, and panics where that is nil.
type customCodec struct{ err error }

func (customCodec) Encode(string, any) (string, error) { panic("not to be called") }

func (c customCodec) Decode(string, string, any) error {
	if c.err == nil {
		panic("canary")
	}
	return c.err
}

// severalCodecs is one codec made of several, as an application may write it.
type severalCodecs []securecookie.Codec

func (s severalCodecs) Encode(name string, v any) (string, error) {
	return securecookie.EncodeMulti(name, v, s...)
}

func (s severalCodecs) Decode(name, v string, dst any) error {
	return securecookie.DecodeMulti(name, v, dst, s...)
}

// Each row is a codec of the application's own that refuses a value.
func TestCustomCodecRefuses(t *testing.T) {
	other := securecookie.New(key('x', 32), nil)
	for name, row := range map[string]struct {
		codec securecookie.Codec
		value string
	}{
		"by ErrNoSession":           {customCodec{errors.Join(errors.New("canary"), errNoSession)}, ""},
		"by an error of gorilla's":  {customCodec{securecookie.ErrMacInvalid}, ""},
		"of several":                {severalCodecs(codecs(key('x', 32), nil, key('y', 32))), ""},
		"of several, as too new":    {severalCodecs{signed().MinAge(60)}, ""},
		"of several, as not base64": {severalCodecs{other}, "!"},
	} {
		value := row.value
		if value == "" {
			value = encode(t, signed(), "ada-1")
		}
		_, err := open[string](value, row.codec)
		assert.Equal(t, errNoSession, err, name)
	}
}

// A codec of the application's own may write what it likes.
func TestCustomCodecOpens(t *testing.T) {
	got, err := open[string]("b\r\n", plainCodec{})
	assert.NoError(t, err)
	assert.Equal(t, "b\r\n", got)
}

type plainCodec struct{ customCodec }

func (plainCodec) Decode(_, value string, dst any) error { *dst.(*string) = value; return nil }

// Each row is a list of key pairs with which a cookie of the second opens.
func TestRotation(t *testing.T) {
	hash, block := key('h', 32), key('b', 32)
	for name, row := range map[string]struct {
		block []byte // that it was written with
		pairs [][]byte
	}{
		"two pairs of their own":                  {block, [][]byte{key('n', 32), key('m', 32), hash, block}},
		"a block key is added under the hash key": {nil, [][]byte{hash, block, hash, nil}},
		"a block key is replaced":                 {block, [][]byte{hash, key('m', 32), hash, block}},
		"encryption is given up":                  {block, [][]byte{hash, nil, hash, block}},
	} {
		want := payload{ID: "1", User: "ada"}
		got, err := open[payload](encode(t, securecookie.New(hash, row.block), want), codecs(row.pairs...)...)
		assert.NoError(t, err, name)
		assert.Equal(t, want, got, name)
	}
}

// halfway fills in a payload and then fails, as a decoder does in mid-stream.
type halfway struct{ badSerializer }

func (halfway) Deserialize(_ []byte, dst any) error {
	dst.(*payload).Pending = true
	return errors.New("broke off")
}

func TestFailedCodecLeavesNothing(t *testing.T) {
	want := payload{ID: "1", User: "ada"}
	value := encode(t, signed(), want)
	got, err := open[payload](value, signed().SetSerializer(halfway{}), signed())
	assert.NoError(t, err)
	assert.Equal(t, want, got)
	got, err = open[payload](value, signed().SetSerializer(halfway{}))
	assert.Error(t, err)
	assert.Zero(t, got)
}

// Each row is a list of codecs, and what is wrong with them.
func TestProblems(t *testing.T) {
	const keyless = "SecureCookie: codec 0 has no hash key, or a block key that is not of 16, 24 or 32 bytes"
	for name, row := range map[string]struct {
		codecs []securecookie.Codec
		want   []string
	}{
		"right":              {[]securecookie.Codec{signed(), encrypted(), customCodec{}}, nil},
		"none":               {nil, []string{"SecureCookie: no codec"}},
		"a nil codec":        {[]securecookie.Codec{signed(), nil}, []string{"SecureCookie: codec 1 is nil"}},
		"a nil SecureCookie": {[]securecookie.Codec{(*securecookie.SecureCookie)(nil)}, []string{"SecureCookie: codec 0 is nil"}},
		"no hash key":        {codecs(nil), []string{keyless}},
		"an odd block key":   {codecs(key('h', 32), key('b', 17)), []string{keyless}},
		"two of them":        {append(codecs([]byte{}), nil), []string{keyless, "SecureCookie: codec 1 is nil"}},
	} {
		assert.Equal(t, row.want, gorilla.Problems(row.codecs), name)
	}
}

// No value makes the decoding panic, and only what a codec wrote opens.
func FuzzOpen(f *testing.F) {
	cs := append(codecs(key('h', 32), nil), codecs(key('i', 32), key('b', 16))...)
	for _, codec := range cs {
		codec.(*securecookie.SecureCookie).MaxAge(0)
	}
	// "ada-1" at the beginning of the year 2000: fuzzing takes several processes.
	good := []string{
		"OTQ2Njg0ODAwfENBd0FCV0ZrWVMweHyd07pG49JbKJktf9Dk71rrpdobBylyEL_dEw_7A0j4yg==",
		"OTQ2Njg0ODAwfEJlZ25rVm1qcnB2WlNyWjJ2VnNURlJORW5fOWJYQng2MFE9PXzni9-3TajeKAZduwkUV3pkhUih5m6Tjrpln2zjH95dBQ==",
	}
	for _, v := range good {
		got, err := open[string](v, cs...)
		require.NoError(f, err)
		require.Equal(f, "ada-1", got)
		f.Add(v)
		f.Add(v[:len(v)-4])
		f.Add(v[:40] + "\r\n" + v[40:])
	}
	for _, v := range []string{"", "=", "====", "a", "AAAA", "fHw=", "MXx8", "MXxBQXxB", "ada-1", "\x00", "\xff\xfe", "a|b|c", "fHx8fA=="} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if _, err := open[string](value, cs...); !slices.Contains(good, value) {
			assert.Equal(t, errNoSession, err)
		}
	})
}

// Each row is a value, and why no codec opens it.
func TestWhyNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		other := securecookie.New(key('x', 32), nil)
		young := signed().MaxAge(60)
		old := encode(t, signed(), "x")
		time.Sleep(2 * time.Minute)
		for name, row := range map[string]struct {
			value  string
			codecs []securecookie.Codec
			want   string
		}{
			"it opens":               {old, []securecookie.Codec{signed()}, ""},
			"the second opens it":    {old, []securecookie.Codec{other, signed()}, ""},
			"another's":              {old, []securecookie.Codec{other}, "none of 1 codec has its MAC: wrong keys or another cookie's name"},
			"nobody's":               {old, []securecookie.Codec{other, other}, "none of 2 codecs has its MAC: wrong keys or another cookie's name"},
			"too old":                {old, []securecookie.Codec{other, young}, "codec 1 has its MAC, but the value is older than the codec's MaxAge"},
			"too old, and encrypted": {old, []securecookie.Codec{encrypted()}, ""},
			"too long":               {old, []securecookie.Codec{signed().MaxLength(8)}, "codec 0 refuses it, as too long for example"},
			"a UUID":                 {"5f3c7a9e-1b", []securecookie.Codec{other, signed()}, "it is no base64 as securecookie writes it: another library wrote it"},
			"cut off":                {old[:len(old)-4], []securecookie.Codec{signed()}, "none of 1 codec has its MAC: wrong keys or another cookie's name"},
			"empty":                  {"", []securecookie.Codec{signed()}, "none of 1 codec has its MAC: wrong keys or another cookie's name"},
		} {
			assert.Equal(t, row.want, gorilla.WhyNot("sid", row.value, row.codecs), name)
		}
	})
}
