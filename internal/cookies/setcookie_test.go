package cookies_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/cookies"
)

// expires tells whether a browser deletes a cookie that has these attributes: the
// handler has then logged the user out.
func expires(attributes string) bool {
	h := cookies.Handler{Shown: 0, Classify: classify}
	_, pending := answer(cookies.New(defaults(), sid), request("sid=ada-1", method("POST")), swap(), h, "sid=ada-1"+attributes)
	return pending.Action() == cookies.LoggedOut
}

// Each row is the attributes of a cookie in the form of some server, and whether a
// browser then deletes it. It is 1 January 2000 in the bubble.
func TestExpiredCookies(t *testing.T) {
	const past, future = "Expires=Thu, 01 Jan 1970 00:00:01 GMT", "Expires=Sat, 01 Jan 2000 00:00:01 GMT"
	for attributes, expired := range map[string]bool{
		"":            false,
		"; Max-Age=0": true, "; Max-Age=-1": true, "; Max-Age=1": false,
		"; " + past: true, "; " + future: false, "; Expires=long ago": false, "; Expires": false,
		"; Max-Age=60; " + past: false, "; " + past + "; Max-Age=60": false,
		"; Max-Age=0; " + future: true, "; " + future + ";MAX-AGE = 0 ": true,
		"; " + past + "; " + future: false, "; " + future + "; EXPIRES =\tThu, 01 Jan 1970 00:00:01 GMT": true,
		"; " + past + "; Expires=long ago": true, // what is no date is not looked at
		"; Max-Age=60; Max-Age=0":          true, "; Max-Age=0; Max-Age=60": false,

		// A Max-Age that is no number is not looked at (RFC 6265 section 5.2.2).
		"; Max-Age=; " + past: true, "; Max-Age=-; " + past: true, "; Max-Age=+60; " + past: true, "; Max-Age=1h; " + past: true,
		`; Max-Age="0"`: false, "; Max-Age=0s": false, "; Max-Age=0.5": false, "; Max-Age=--1": false,
		"; Max-Age=007; " + past: false, "; Max-Age=000": true, "; Max-Age=-0": true,
		"; Max-Age=99999999999999999999; " + past: false, "; Max-Age=-99999999999999999999": true,
	} {
		inBubble(t, attributes, func(t *testing.T) { assert.Equal(t, expired, expires(attributes)) })
	}
}

// Each row is a date in the form of some server or language, and whether a browser
// takes it for one in the past. It is 1 January 2000 in the bubble.
func TestDatesOfCookies(t *testing.T) {
	for date, past := range map[string]bool{
		"Thu, 01 Jan 1970 00:00:00 GMT": true, "Thu, 1 Jan 1970 00:00:00 GMT": true, "Thu, 1-Jan-1970 00:00:00 GMT": true,
		"Thu, 01-Jan-1970 00:00:01 GMT": true, "Thu, 01-Jan-70 00:00:00 GMT": true, "Thursday, 01-Jan-70 00:00:01 GMT": true,
		"Thu Jan  1 00:00:01 1970": true, "Thu Jan 01 1970 00:00:00 GMT+0000 (UTC)": true, "Thu Jan 01 1970 00:00:00 GMT+0100": true,
		"01 Jan 1970 00:00:00 GMT": true, "Thu, 01 Jan 1970 00:00:00": true, "1 Jan 1970 0:0:0": true, "Jan 1 1970 00:00:00": true,
		"00:00:00 1970 January 1": true, "1970 01 JAN 00:00:00": true, "Thu,01/Jan/1970/00:00:00": true, "\t~1@jan_70 {0:00:00}": true,
		"Mon, 01-January-1990 00:00:00 GMT": true, "1st Jan 1970 00:00:00": true, "1 Jan 1970AD 00:00:00.000Z": true,
		"Fri, 31 Dec 1999 23:59:59 GMT": true, "Sat, 01 Jan 2000 00:00:00 GMT": true, "Sat, 01 Jan 2000 00:00:01 GMT": false,
		"Fri, 31 Dec 1999 23:59:59 PST": true, // the zone does not count
		"Mon, 01 Jan 1601 00:00:00 GMT": true, "29 Feb 1996 00:00:00": true, "31 Dec 99 23:59:59": true,

		"Wed, 01-Jan-69 00:00:00 GMT": false, "01 Jan 00 00:00:01": false, "Fri, 01 Jan 2100 00:00:00 GMT": false,

		// None of these is a date to a browser, and the cookie lives on.
		"": false, "0": false, "-1": false, "never": false, "1970-01-01T00:00:00Z": false, "1970-01-01 00:00:00": false,
		"Thu, 01 Jan 1970": false, "01 Jan 00:00:00": false, "Jan 1970 00:00:00": false, "1 1970 00:00:00": false, "01 Ja 1970 00:00:00": false,
		"Sun, 31 Dec 1600 23:59:59 GMT": false, "00 Jan 1970 00:00:00": false, "32 Jan 1970 00:00:00": false, "30 Feb 1970 00:00:00": false, "29 Feb 1970 00:00:00": false,
		"01 Jan 1970 24:00:00": false, "01 Jan 1970 00:60:00": false, "01 Jan 1970 00:00:60": false, "01 Jan 1970 000:00:00": false,
		"01 Jan 1970 00:00": false, "01 Jan 1970 00:000:00": false, "01 Jan 1970 00:00:000": false, "001 Jan 1970 00:00:00": false, "01 Jan 01970 00:00:00": false, "01 Jan 7 00:00:00": false,
	} {
		inBubble(t, date, func(t *testing.T) { assert.Equal(t, past, expires("; Expires="+date)) })
	}
}

// Each row is a line in a form that browsers read, and what the handler did by it.
func TestFormsOfSetCookie(t *testing.T) {
	for line, want := range map[string]cookies.Action{
		" sid = ada-1 ":                         cookies.NoAction,
		"sid=\"ada-1\"":                         cookies.NoAction,
		"sid\t=\t; max-age=0":                   cookies.LoggedOut,
		"sid=deleted;expires=1 jan 70 0:0:0":    cookies.LoggedOut,
		"sid=;Path=/;;Max-Age=0;":               cookies.LoggedOut,
		"sid=a\x7fb":                            cookies.LoggedOut, // which no request brings back
		"sid=bob-1; Path=x; Domain=; Max-Age=x": cookies.Overruled,
		"sid":                                   cookies.NoAction, // a cookie without a name
		"sid; Max-Age=0":                        cookies.NoAction,
		"=sid; Max-Age=0":                       cookies.NoAction,
		"SID=; Max-Age=0":                       cookies.NoAction, // the case of names counts
	} {
		h := cookies.Handler{Shown: 0, Classify: classify}
		_, pending := answer(cookies.New(defaults(), sid), request("sid=ada-1", method("POST")), swap(), h, line)
		assert.Equal(t, want, pending.Action(), line)
	}
}
