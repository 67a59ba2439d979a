package stytchmigrate_test

import (
	"bytes"
	"errors"
	"net/http"
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
type oldSession struct{ ID, User string }

func codecs(pairs ...[]byte) []securecookie.Codec { return securecookie.CodecsFromPairs(pairs...) }

func signed(hash byte) []securecookie.Codec { return codecs(apptest.KeyOf(hash, 32)) }

func encode(t testing.TB, codec securecookie.Codec, payload any) string {
	t.Helper()
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

func secure[T any](cs []securecookie.Codec, resolve func(*http.Request, T) (stytchmigrate.LegacySession, error)) stytchmigrate.LegacyCookie {
	return stytchmigrate.SecureCookie(stytchmigrate.LegacyCookie{Name: "sid"}, cs, resolve)
}

// withSecureCookie runs a test with one legacy cookie in place of the usual.
func withSecureCookie(t *testing.T, l stytchmigrate.LegacyCookie, f func(t *testing.T, a *apptest.App)) {
	t.Helper()
	apptest.InBubble(t, f, func(c *stytchmigrate.Config) { c.Legacy = []stytchmigrate.LegacyCookie{l} })
}

// Each row is a cookie of the old application, and the reply. Its user moves, or is
// anonymous without a call and without a line in the log: anyone can forge cookies.
func TestSecureCookie(t *testing.T) {
	const anonymous = "anonymous" + apptest.CookiesUntouched + "-"
	refusing := []securecookie.Codec{customCodec{errors.Join(errors.New("canary"), stytchmigrate.ErrNoSession)}}
	for name, row := range map[string]struct {
		legacy stytchmigrate.LegacyCookie
		write  func(t *testing.T, codec securecookie.Codec) string
		want   string
	}{
		"a payload": {secure(signed('h'), resolveUser), func(t *testing.T, c securecookie.Codec) string { return encode(t, c, oldSession{"1", "ada"}) }, apptest.Swapped},
		"an id":     {secure(signed('h'), resolveID), func(t *testing.T, c securecookie.Codec) string { return encode(t, c, "ada-1") }, apptest.Swapped},
		"under an older key pair": {secure(append(signed('n'), signed('h')...), resolveID),
			func(t *testing.T, c securecookie.Codec) string { return encode(t, c, "ada-1") }, apptest.Swapped},
		"forged": {secure(signed('h'), resolveID), func(t *testing.T, c securecookie.Codec) string {
			return strings.Replace(encode(t, c, "ada-1"), "M", "N", 1)
		}, anonymous},
		"of another hash key": {secure(signed('x'), resolveID), func(t *testing.T, c securecookie.Codec) string { return encode(t, c, "ada-1") }, anonymous},
		"older than MaxAge": {secure(signed('h'), resolveID), func(t *testing.T, c securecookie.Codec) string {
			v := encode(t, c, "ada-1")
			time.Sleep(721 * time.Hour)
			return v
		}, anonymous},
		"refused by a custom codec": {secure(refusing, resolveID), func(t *testing.T, c securecookie.Codec) string { return encode(t, c, "ada-1") }, anonymous},
	} {
		t.Run(name, func(t *testing.T) {
			withSecureCookie(t, row.legacy, func(t *testing.T, a *apptest.App) {
				assert.Equal(t, row.want, a.Get("sid="+row.write(t, signed('h')[0])).String())
				assert.Empty(t, a.Log.String())
			})
		})
	}
}

// Each row is an authentic value that does not open: the user is not signed out, and
// the log names the setting.
func TestSecureCookieWrongSetting(t *testing.T) {
	for name, row := range map[string]struct {
		legacy stytchmigrate.LegacyCookie
		want   string
	}{
		"a payload of another type": {secure(signed('h'), resolveUser), `cookie \"sid\" is authentic, but does not decode into stytchmigrate_test.oldSession`},
		"a custom codec's outage":   {secure([]securecookie.Codec{customCodec{errors.New("canary")}}, resolveID), `codec stytchmigrate_test.customCodec of cookie \"sid\" failed (*errors.errorString)`},
	} {
		t.Run(name, func(t *testing.T) {
			withSecureCookie(t, row.legacy, func(t *testing.T, a *apptest.App) {
				value := encode(t, signed('h')[0], map[any]any{"user": "canary"})
				assert.Equal(t, "unavailable"+apptest.CookiesUntouched+"-", a.Get("sid="+value).String())
				assert.Equal(t, 1, bytes.Count(a.Log.Bytes(), []byte(`"level":"ERROR"`)))
				assert.Contains(t, a.Log.String(), row.want)
				assert.NotContains(t, a.Log.String(), "canary")
				assert.NotContains(t, a.Log.String(), value)
			})
		})
	}
}

// customCodec is a codec that fails with err.
type customCodec struct{ err error }

func (customCodec) Encode(string, any) (string, error) { panic("not to be called") }

func (c customCodec) Decode(string, string, any) error { return c.err }

// SecureCookie copies the codecs: the caller may change its slice later.
func TestSecureCookieKeepsItsCodecs(t *testing.T) {
	cs := signed('h')
	withSecureCookie(t, secure(cs, resolveID), func(t *testing.T, a *apptest.App) {
		value := encode(t, cs[0], "ada-1")
		cs[0] = customCodec{errors.New("canary")}
		assert.Equal(t, apptest.Swapped, a.Get("sid="+value).String())
	})
}
