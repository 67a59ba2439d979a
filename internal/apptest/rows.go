package apptest

// Rows: what String says of the replies that tests compare most.
const (
	// Anonymous is a request without a session.
	Anonymous = "anonymous" + CookiesUntouched + "-"
	// Legacy is a request that the application's old code serves.
	Legacy = "legacy" + CookiesUntouched + "-"
	// Authenticated is ada's request with a Stytch session that is known.
	Authenticated = "authenticated ada" + CookiesUntouched + "-"
	// Refreshed is ada's request with an expired JWT, for which Stytch gave a new one.
	Refreshed = "authenticated ada | +stytch_session +stytch_session_jwt | no-store | authenticate"
	// Moved is ada's request with a legacy session that one exchange moved. The legacy
	// cookie stays.
	Moved = MovedAfter + "migrate"
	// Replaced is ada's request with a live Stytch session, and a legacy cookie beside it
	// that is expired.
	Replaced = "authenticated ada | -sid | no-store | -"
	// Refused is a legacy session that may not move.
	Refused = RefusedUntouched + "-"
	// SignedOut is a request whose Stytch session ended, as Stytch said when asked.
	SignedOut = SignedOutAfter + "authenticate"
	// JWTAccepted is, by WithKeySets, ada's first request with a JWT that verifies.
	JWTAccepted = AuthenticatedUntouched + "authenticate | key sets: 1"
)

// Beginnings of rows: a test appends the calls that Stytch got, "-" for none.
const (
	// AuthenticatedUntouched: ada has a Stytch session, and no cookie changes.
	AuthenticatedUntouched = "authenticated ada" + CookiesUntouched
	// RefusedUntouched: the legacy session may not move, and no cookie changes.
	RefusedUntouched = "refused" + CookiesUntouched
	// UnavailableUntouched: Stytch can't tell, and no cookie changes.
	UnavailableUntouched = "unavailable" + CookiesUntouched
	// MovedAfter: ada's legacy session became a Stytch session, and the Stytch cookies are
	// set. The legacy cookie stays.
	MovedAfter = "migrated ada | +stytch_session +stytch_session_jwt | no-store | "
	// SignedOutAfter: the Stytch session ended, and its cookies expire.
	SignedOutAfter = AnonymousCleared + " | no-store | "
)

// Parts of rows.
const (
	// CookiesUntouched follows an outcome: the response has neither Set-Cookie
	// nor Cache-Control. The calls come after it.
	CookiesUntouched = " | - | - | "
	// CookiesCleared follows an outcome: the response expires the cookies of both
	// sessions. The calls come after it.
	CookiesCleared = " | -stytch_session -stytch_session_jwt -sid | no-store | "
	// AnonymousCleared is what ParallelGets says of a Stytch session that ended.
	AnonymousCleared = "anonymous | -stytch_session -stytch_session_jwt"
)
