package sessionjwt_test

import (
	"strconv"
	"strings"
	"time"

	"example.com/stytchmigrate/internal/sessionjwt"
)

// The verdicts, as the rows name them.
var (
	accepted   error
	refused    = sessionjwt.ErrRefused
	notCurrent = sessionjwt.ErrNotCurrent
	foreign    = sessionjwt.ErrForeign
	noKeys     = sessionjwt.ErrNoKeys
)

func audRows() []row {
	return []row{
		{"nothing changed", asIs, accepted},
		{"aud is the project", with("aud", project), accepted},
		{"aud has the project and another", with("aud", []string{"other", project}), accepted},
		{"aud is another project", with("aud", "project-test-2"), refused},
		{"aud has another project alone", with("aud", []string{"project-test-2"}), refused},
		{"aud begins with the project", with("aud", project+"0"), refused},
		{"aud is an empty string", with("aud", ""), refused},
		{"aud is an empty array", with("aud", []string{}), refused},
		{"aud is a number", with("aud", 1), refused},
		{"aud is null", with("aud", nil), refused},
		{"aud is absent", without("aud"), refused},
		{"aud is an object", with("aud", object{project: project}), refused},
		{"aud has the project and a number", with("aud", []any{project, 1}), refused},
		{"aud has the project and null", with("aud", []any{project, nil}), refused},
		{"aud has the project nested", with("aud", []any{[]string{project}}), refused},
	}
}

func issRows() []row {
	return []row{
		{"iss is the custom domain", with("iss", domain), accepted},
		{"iss is the custom domain with a slash", with("iss", domain+"/"), refused},
		{"iss is a domain not configured", with("iss", "https://login.example.org"), refused},
		{"iss is another project", with("iss", "stytch.com/project-test-2"), refused},
		{"iss is the live project of the same id", with("iss", strings.Replace(issuer, "-test-", "-live-", 1)), refused},
		{"iss is a prefix", with("iss", issuer[:len(issuer)-1]), refused},
		{"iss begins with ours", with("iss", issuer+"1"), refused},
		{"iss is of another case", with("iss", strings.ToUpper(issuer)), refused},
		{"iss is empty", with("iss", ""), refused},
		{"iss is an array", with("iss", []string{issuer}), refused},
		{"iss is null", with("iss", nil), refused},
		{"iss is absent", without("iss"), refused},
		{"iss and aud are of another project", both(with("iss", "stytch.com/project-live-2"), with("aud", []string{"project-live-2"})), foreign},
		{"another project's, and expired", both(with("exp", in(-time.Hour)), both(with("iss", "x"), with("aud", "y"))), foreign},
		{"another project's, without session", both(without(session), both(with("iss", "x"), with("aud", "y"))), refused},
		{"another project's, without iss", both(without("iss"), with("aud", "y")), refused},
		{"another project's, with an empty aud", both(with("iss", "x"), with("aud", "")), refused},
		{"another project's, without aud", both(with("iss", "x"), without("aud")), refused},
	}
}

// The leeway is 30 seconds, and a token five minutes ahead is the last that
// may be right.
func dateRows() []row {
	const s = time.Second
	return []row{
		{"exp is absent", without("exp"), refused},
		{"exp is a string", with("exp", "1700000300"), refused},
		{"exp is null", with("exp", nil), refused},
		{"exp is negative", with("exp", -1), refused},
		{"exp is zero", with("exp", 0), refused},
		{"exp is 1e308", with("exp", fragment("1e308")), refused},
		{"exp is 1e999", with("exp", fragment("1e999")), refused},
		{"exp is half a second", with("exp", 0.5), notCurrent},
		{"exp is the end of year 9999", with("exp", int64(253402300799)), accepted},
		{"exp is in year 10000", with("exp", int64(253402300800)), refused},
		{"exp is true", with("exp", true), refused},
		{"exp has a fraction", with("exp", float64(in(60*s))+0.5), accepted},
		{"exp passed within leeway", with("exp", in(-29*s)), accepted},
		{"exp passed by leeway", with("exp", in(-30*s)), notCurrent},
		{"exp passed long ago", with("exp", in(-9000*time.Hour)), notCurrent},
		{"iat is absent", without("iat"), refused},
		{"iat is a string", with("iat", "1"), refused},
		{"iat is ahead within leeway", with("iat", in(30*s)), accepted},
		{"iat is ahead beyond leeway", with("iat", in(31*s)), notCurrent},
		{"iat is five minutes ahead", with("iat", in(300*s)), notCurrent},
		{"iat is further ahead", with("iat", in(301*s)), refused},
		{"iat is far ahead and exp passed", both(with("iat", in(301*s)), with("exp", in(-60*s))), refused},
		{"nbf is absent", without("nbf"), accepted},
		{"nbf is a string", with("nbf", "1"), refused},
		{"nbf is null", with("nbf", nil), refused},
		{"nbf is 10 s ahead", with("nbf", in(10*s)), accepted},
		{"nbf is ahead within leeway", with("nbf", in(30*s)), accepted},
		{"nbf is ahead beyond leeway", with("nbf", in(31*s)), notCurrent},
		{"nbf is five minutes ahead", with("nbf", in(300*s)), notCurrent},
		{"nbf is 10 min ahead", with("nbf", in(600*s)), refused},
		{"this clock is 2 min slow", both(both(with("iat", in(120*s)), with("nbf", in(120*s))), with("exp", in(420*s))), notCurrent},
	}
}

func sessionRows() []row {
	return []row{
		{"sub is absent", without("sub"), refused},
		{"sub is empty", with("sub", ""), refused},
		{"sub is a number", with("sub", 1), refused},
		{"sub is a client", with("sub", "m2m-client-test-1"), refused},
		{"sub is a member", with("sub", "member-test-1"), refused},
		{"sub is nobody", with("sub", "user-"), refused},
		{"sub is in capitals", with("sub", "USER-test-1"), refused},
		{"sub begins with a space", with("sub", " user-test-1"), refused},
		{"session is absent", without(session), refused},
		{"session is null", with(session, nil), refused},
		{"session is a string", with(session, "session-test-1"), refused},
		{"session is an array", with(session, []string{"session-test-1"}), refused},
		{"session is empty", with(session, object{}), refused},
		{"session id is absent", inSession(without("id")), refused},
		{"session id is empty", inSession(with("id", "")), refused},
		{"session id is null", inSession(with("id", nil)), refused},
		{"session id is a number", inSession(with("id", 1)), refused},
		{"session id is in capitals", inSession(both(without("id"), with("ID", "session-test-1"))), refused},
	}
}

func sessionDateRows() []row {
	const s = time.Second
	return []row{
		{"session ended", inSession(with("expires_at", stamp(-60*s))), refused},
		{"session ended within leeway", inSession(with("expires_at", stamp(-29*s))), accepted},
		{"session ended by leeway", inSession(with("expires_at", stamp(-30*s))), refused},
		{"session ended and exp passed", both(with("exp", in(-60*s)), inSession(with("expires_at", stamp(-60*s)))), notCurrent},
		{"session end is absent", inSession(without("expires_at")), accepted},
		{"session end is empty", inSession(with("expires_at", "")), accepted},
		{"session end is null", inSession(with("expires_at", nil)), accepted},
		{"session end has 1 digit of fraction", inSession(with("expires_at", "2000-01-02T00:00:00.1Z")), accepted},
		{"session end has 9 digits of fraction", inSession(with("expires_at", "2000-01-02T00:00:00.123456789Z")), accepted},
		{"session end has an offset", inSession(with("expires_at", "2000-01-02T00:00:00+01:00")), accepted},
		{"session end has a space for T", inSession(with("expires_at", "2000-01-02 00:00:00Z")), refused},
		{"session end is a number", inSession(with("expires_at", in(time.Hour))), refused},
		{"session end is a date", inSession(with("expires_at", "2000-01-02")), refused},
		{"session start is absent", inSession(without("started_at")), accepted},
		{"session start is malformed", inSession(with("started_at", "yesterday")), refused},
		{"session has factors of another type", inSession(with("authentication_factors", "x")), accepted},
		{"session has attributes of another type", inSession(with("attributes", 1)), accepted},
	}
}

func otherRows() []row {
	return []row{
		{"machine-to-machine token", both(with("sub", "m2m-client-test-1"), both(without(session), with("scope", "read"))), refused},
		{"third-party application's token", both(without(session), both(with("client_id", "connected-app-test-1"), with("scope", "openid"))), refused},
		{"as many claims as may be", claims(122), accepted},
		{"one claim more", claims(123), refused},
		{"custom claim that no float holds", with("big", fragment("1e999")), accepted},
		{"claims nested 64 deep", with("deep", fragment(strings.Repeat("[", 63)+strings.Repeat("]", 63))), accepted},
		{"claims nested 64 deep in braces", with("deep", fragment(strings.Repeat(`{"\"":`, 63)+"1"+strings.Repeat("}", 63))), accepted},
		{"claims nested twice, 64 deep each", both(with("d1", fragment(strings.Repeat("[", 63)+strings.Repeat("]", 63))), with("d2", fragment(strings.Repeat("[", 63)+strings.Repeat("]", 63)))), accepted},
		{"custom claim with brackets in a string", with("text", strings.Repeat(`\"[{`, 100)), accepted},
		{"claims nested 65 deep", with("deep", fragment(strings.Repeat("[", 64)+strings.Repeat("]", 64))), refused},
		{"legacy_session is a number", with("legacy_session", 1), accepted},
		{"jti is there", with("jti", "1"), accepted},
	}
}

// claims adds custom claims to the seven that a good token has.
func claims(n int) edit {
	return func(o object) {
		for i := range n {
			o["c"+strconv.Itoa(i)] = i
		}
	}
}
