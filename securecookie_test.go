package stytchmigrate_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/securecookie"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
)

// oldSession is what an application may keep in its cookie.
type oldSession struct {
	ID, User string
	Pending  bool
}

func codecs(pairs ...[]byte) []securecookie.Codec { return securecookie.CodecsFromPairs(pairs...) }

func encode(t testing.TB, codec securecookie.Codec, payload any) string {
	t.Helper()
	if b, ok := payload.([]byte); ok {
		payload = bytes.Clone(b) // an encrypting codec works in place
	}
	v, err := codec.Encode("sid", payload)
	require.NoError(t, err)
	return v
}

func resolveUser(_ *http.Request, s oldSession) (stytchmigrate.LegacySession, error) {
	return apptest.LegacySession(s.User, s.ID), nil
}

func resolveID(_ *http.Request, id string) (stytchmigrate.LegacySession, error) {
	name, _, _ := strings.Cut(id, "-")
	return apptest.LegacySession(name, id), nil
}

// legacyCookie puts one legacy cookie in place of the usual.
func legacyCookie(l stytchmigrate.LegacyCookie) func(*stytchmigrate.Config) {
	return func(c *stytchmigrate.Config) { c.Legacy = []stytchmigrate.LegacyCookie{l} }
}

func secure[T any](cs []securecookie.Codec, resolve func(*http.Request, T) (stytchmigrate.LegacySession, error)) stytchmigrate.LegacyCookie {
	return stytchmigrate.SecureCookie(stytchmigrate.LegacyCookie{Name: "sid"}, cs, resolve)
}

// Each row is what an old application keeps in its cookie.
func TestSecureCookieOpens(t *testing.T) {
	for name, row := range map[string]struct {
		payload    any
		serializer securecookie.Serializer
		legacy     func([]securecookie.Codec) stytchmigrate.LegacyCookie
	}{
		"a struct, by gob":   {oldSession{ID: "1", User: "ada"}, securecookie.GobEncoder{}, func(cs []securecookie.Codec) stytchmigrate.LegacyCookie { return secure(cs, resolveUser) }},
		"a struct, by JSON":  {oldSession{ID: "1", User: "ada"}, securecookie.JSONEncoder{}, func(cs []securecookie.Codec) stytchmigrate.LegacyCookie { return secure(cs, resolveUser) }},
		"an id of its store": {"ada-1", securecookie.GobEncoder{}, func(cs []securecookie.Codec) stytchmigrate.LegacyCookie { return secure(cs, resolveID) }},
		"an id, by JSON":     {"ada-1", securecookie.JSONEncoder{}, func(cs []securecookie.Codec) stytchmigrate.LegacyCookie { return secure(cs, resolveID) }},
		"the values of a CookieStore": {map[any]any{"user": "ada", 7: true}, securecookie.GobEncoder{}, func(cs []securecookie.Codec) stytchmigrate.LegacyCookie {
			return secure(cs, func(_ *http.Request, values map[any]any) (stytchmigrate.LegacySession, error) {
				name, _ := values["user"].(string)
				return apptest.LegacySession(name, "1"), nil
			})
		}},
		"bytes as they are": {[]byte("ada-1"), securecookie.NopEncoder{}, func(cs []securecookie.Codec) stytchmigrate.LegacyCookie {
			return secure(cs, func(r *http.Request, b []byte) (stytchmigrate.LegacySession, error) { return resolveID(r, string(b)) })
		}},
	} {
		for kind, pair := range map[string][][]byte{"signed": {apptest.KeyOf('h', 32)}, "encrypted": {apptest.KeyOf('h', 64), apptest.KeyOf('b', 32)}} {
			t.Run(name+", "+kind, func(t *testing.T) {
				cs := codecs(pair...)
				cs[0].(*securecookie.SecureCookie).SetSerializer(row.serializer)
				apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
					assert.Equal(t, apptest.Swapped, a.Get("sid="+encode(t, cs[0], row.payload)).String())
					assert.Empty(t, a.Log.String())
				}, legacyCookie(row.legacy(cs)))
			})
		}
	}
}

// Whatever is wrong with a value that the old code did not write, it is
// nobody's, and costs no call.
func TestSecureCookieForged(t *testing.T) {
	for name, cs := range map[string][]securecookie.Codec{
		"signed": codecs(apptest.KeyOf('h', 32)), "encrypted": codecs(apptest.KeyOf('h', 32), apptest.KeyOf('b', 16)),
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				for _, id := range []string{"ada-1", "ada-22", "ada-333"} { // each length of base64's padding
					good := encode(t, cs[0], id)
					require.Equal(t, "migrated ada", a.Get("sid="+good).Saw)
					for _, forged := range forgeries(good) {
						require.Equal(t, "anonymous"+apptest.Untouched+"-", a.Get("sid="+forged).String(), "%s for %s", forged, good)
					}
				}
				assert.Empty(t, a.Log.String(), "whoever forges does not fill the log")
			}, legacyCookie(secure(cs, resolveID)))
		})
	}
}

// forgeries are a value with each bit flipped in turn, and cut off at each byte.
func forgeries(good string) (out []string) {
	for i := range len(good) {
		out = append(out, good[:i], good[i+1:])
		for bit := range 8 {
			b := []byte(good)
			b[i] ^= 1 << bit
			out = append(out, string(b))
		}
	}
	return append(out, good+"A", good+"=", good+"AAAA", good+good, strings.TrimRight(good, "=")+".")
}

// Each row is a value that some other setting wrote.
func TestSecureCookieNotOurs(t *testing.T) {
	other := func(hash, block []byte) securecookie.Codec { return securecookie.New(hash, block) }
	for name, row := range map[string]struct {
		write func(t *testing.T) string
		want  string
	}{
		"of another hash key": {func(t *testing.T) string { return encode(t, other(apptest.KeyOf('x', 32), nil), "ada-1") }, "anonymous" + apptest.Untouched + "-"},
		"of another cookie's name": {func(t *testing.T) string {
			v, _ := other(apptest.KeyOf('h', 32), nil).Encode("other", "ada-1")
			return v
		}, "anonymous" + apptest.Untouched + "-"},
		"older than MaxAge": {func(t *testing.T) string {
			v := encode(t, other(apptest.KeyOf('h', 32), nil), "ada-1")
			time.Sleep(721 * time.Hour)
			return v
		}, "anonymous" + apptest.Untouched + "-"},
		"as old as MaxAge": {func(t *testing.T) string {
			v := encode(t, other(apptest.KeyOf('h', 32), nil), "ada-1")
			time.Sleep(720 * time.Hour)
			return v
		}, apptest.Swapped},
		"longer than MaxLength": {func(t *testing.T) string {
			return encode(t, securecookie.New(apptest.KeyOf('h', 32), nil).MaxLength(0), "ada-"+strings.Repeat("1", 4000))
		}, "anonymous" + apptest.Untouched + "-"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				assert.Equal(t, row.want, a.Get("sid="+row.write(t)).String())
				assert.Empty(t, a.Log.String())
			}, legacyCookie(secure(codecs(apptest.KeyOf('h', 32)), resolveID)))
		})
	}
}

// Each row is an authentic value: the setting that does not fit it is named.
func TestSecureCookieWrongSetting(t *testing.T) {
	const authentic = `cookie \"sid\" is authentic, but does not decode into `
	signed, locked := codecs(apptest.KeyOf('h', 32)), codecs(apptest.KeyOf('h', 32), apptest.KeyOf('b', 32))
	serialized := func(s securecookie.Serializer) []securecookie.Codec {
		return []securecookie.Codec{securecookie.New(apptest.KeyOf('h', 32), nil).SetSerializer(s)}
	}
	resolveAny := func(*http.Request, any) (stytchmigrate.LegacySession, error) { panic("not to be called") }
	// encoding/gob's form of one string, but for the count: 0x0fffffff of them.
	gobBomb := []byte{0xb, 0x7f, 0x2, 0x1, 0x2, 0xff, 0x80, 0x0, 0x1, 0xc, 0x0, 0x0, 0x8, 0xff, 0x80, 0x0, 0xfc, 0xf, 0xff, 0xff, 0xff}
	for name, row := range map[string]struct {
		written securecookie.Codec
		payload any
		legacy  stytchmigrate.LegacyCookie
		want    string
	}{
		"a payload of another type":         {signed[0], map[any]any{"user": "canary"}, secure(signed, resolveUser), authentic + "stytchmigrate_test.oldSession"},
		"a type that knows no type":         {signed[0], "canary", secure(signed, resolveAny), authentic + "interface {}"},
		"another serializer":                {signed[0], "canary-1", secure(serialized(securecookie.JSONEncoder{}), resolveID), authentic + "string"},
		"bytes that count themselves huge":  {serialized(securecookie.NopEncoder{})[0], gobBomb, secure(signed, func(*http.Request, []string) (stytchmigrate.LegacySession, error) { panic("not to be called") }), authentic + "[]string"},
		"a serializer that panics":          {signed[0], "canary-1", secure(serialized(badSerializer{}), resolveID), authentic + "string"},
		"a serializer that speaks base64":   {signed[0], "canary-1", secure(serialized(badSerializer{base64.CorruptInputError(0)}), resolveID), authentic + "string"},
		"a serializer's ErrNoSession":       {signed[0], "canary-1", secure(serialized(badSerializer{stytchmigrate.ErrNoSession}), resolveID), authentic + "string"},
		"a block key that came later":       {signed[0], map[any]any{"user": "canary, and more than sixteen bytes"}, secure(locked, resolveID), authentic + "string"},
		"a block key, on a short value":     {serialized(securecookie.JSONEncoder{})[0], "canary", secure(locked, resolveID), authentic + "string"},
		"a block key that went":             {locked[0], "canary-1", secure(signed, resolveID), authentic + "string"},
		"a codec's outage":                  {signed[0], "canary-1", secure([]securecookie.Codec{customCodec{errors.New("canary")}}, resolveID), `codec stytchmigrate_test.customCodec of cookie \"sid\" failed (*errors.errorString)`},
		"a codec that panics":               {signed[0], "canary-1", secure([]securecookie.Codec{customCodec{nil}}, resolveID), authentic + "string"},
		"a codec of several, without a key": {signed[0], "canary-1", secure([]securecookie.Codec{severalCodecs(codecs(nil))}, resolveID), authentic + "string"},
		"a codec of several": {signed[0], map[any]any{"user": "canary"}, secure([]securecookie.Codec{severalCodecs(append(codecs(apptest.KeyOf('x', 32)), signed...))}, resolveID),
			authentic + "string"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				value := encode(t, row.written, row.payload)
				assert.Equal(t, "unavailable"+apptest.Untouched+"-", a.Get("sid="+value).String())
				assert.Contains(t, a.Log.String(), `"level":"ERROR"`)
				assert.Contains(t, a.Log.String(), row.want)
				assert.NotContains(t, a.Log.String(), "canary")
				assert.NotContains(t, a.Log.String(), value)
			}, legacyCookie(row.legacy))
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
	for name, codec := range map[string]securecookie.Codec{
		"by ErrNoSession":           customCodec{errors.Join(errors.New("canary"), stytchmigrate.ErrNoSession)},
		"by an error of the packet": customCodec{securecookie.ErrMacInvalid},
		"of several":                severalCodecs(codecs(apptest.KeyOf('x', 32), nil, apptest.KeyOf('y', 32))),
		"of several, as too new":    severalCodecs{securecookie.New(apptest.KeyOf('h', 32), nil).MinAge(60)},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				assert.Equal(t, "anonymous"+apptest.Untouched+"-", a.Get("sid="+encode(t, securecookie.New(apptest.KeyOf('h', 32), nil), "ada-1")).String())
				assert.Empty(t, a.Log.String())
			}, legacyCookie(secure([]securecookie.Codec{codec}, resolveID)))
		})
	}
}

// Each row is a list of key pairs with which a cookie of the second opens.
func TestSecureCookieRotation(t *testing.T) {
	hash, block := apptest.KeyOf('h', 32), apptest.KeyOf('b', 32)
	for name, row := range map[string]struct {
		written []byte // block key
		pairs   [][]byte
	}{
		"two pairs of their own":                  {block, [][]byte{apptest.KeyOf('n', 32), apptest.KeyOf('m', 32), hash, block}},
		"a block key is added under the hash key": {nil, [][]byte{hash, block, hash, nil}},
		"a block key is replaced":                 {block, [][]byte{hash, apptest.KeyOf('m', 32), hash, block}},
		"encryption is given up":                  {block, [][]byte{hash, nil, hash, block}},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				codec := securecookie.New(hash, row.written)
				assert.Equal(t, apptest.Swapped, a.Get("sid="+encode(t, codec, oldSession{ID: "1", User: "ada"})).String())
				assert.Empty(t, a.Log.String())
			}, legacyCookie(secure(codecs(row.pairs...), resolveUser)))
		})
	}
}

// halfway fills in a payload and then fails, as a decoder does in mid-stream.
type halfway struct{}

func (halfway) Serialize(any) ([]byte, error) { panic("not to be called") }

func (halfway) Deserialize(_ []byte, dst any) error {
	dst.(*oldSession).Pending = true
	return errors.New("broke off")
}

func TestFailedCodecLeavesNothing(t *testing.T) {
	cs := codecs(apptest.KeyOf('h', 32), nil, apptest.KeyOf('h', 32), nil)
	cs[0].(*securecookie.SecureCookie).SetSerializer(halfway{})
	var got []oldSession
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		assert.Equal(t, apptest.Swapped, a.Get("sid="+encode(t, cs[1], oldSession{ID: "1", User: "ada"})).String())
		assert.Equal(t, []oldSession{{ID: "1", User: "ada"}}, got)
	}, legacyCookie(secure(cs, func(r *http.Request, s oldSession) (stytchmigrate.LegacySession, error) {
		got = append(got, s)
		return resolveUser(r, s)
	})))
}

// The codecs of a cookie are those that SecureCookie was given.
func TestSecureCookieKeepsItsCodecs(t *testing.T) {
	cs := codecs(apptest.KeyOf('h', 32))
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		value := encode(t, cs[0], "ada-1")
		cs[0] = customCodec{}
		assert.Equal(t, apptest.Swapped, a.Get("sid="+value).String())
	}, legacyCookie(secure(cs, resolveID)))
}

// No value makes the decoding panic, and none that the codec did not write
// resolves to anybody.
func FuzzSecureCookie(f *testing.F) {
	cs := append(codecs(apptest.KeyOf('h', 32), nil), codecs(apptest.KeyOf('i', 32), apptest.KeyOf('b', 16))...)
	for _, codec := range cs {
		codec.(*securecookie.SecureCookie).MaxAge(0)
	}
	// "ada-1" at the beginning of the year 2000: fuzzing takes several processes.
	good := []string{
		"OTQ2Njg0ODAwfENBd0FCV0ZrWVMweHyd07pG49JbKJktf9Dk71rrpdobBylyEL_dEw_7A0j4yg==",
		"OTQ2Njg0ODAwfEJlZ25rVm1qcnB2WlNyWjJ2VnNURlJORW5fOWJYQng2MFE9PXzni9-3TajeKAZduwkUV3pkhUih5m6Tjrpln2zjH95dBQ==",
	}
	l := secure(cs, resolveID)
	for _, v := range good {
		s, err := l.Resolve(nil, v)
		require.NoError(f, err)
		require.Equal(f, "ada", s.Identity.Subject)
		f.Add(v)
		f.Add(v[:len(v)-4])
		f.Add(v[:40] + "\r\n" + v[40:])
	}
	for _, v := range []string{"", "=", "====", "a", "AAAA", "fHw=", "MXx8", "MXxBQXxB", "ada-1", "\x00", "\xff\xfe", "a|b|c", "fHx8fA=="} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if _, err := l.Resolve(nil, value); !slices.Contains(good, value) {
			assert.ErrorIs(t, err, stytchmigrate.ErrNoSession)
		}
	})
}
