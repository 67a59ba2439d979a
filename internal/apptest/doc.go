// Package apptest runs an application behind the middleware, for the tests that
// show what the module does as a whole.
//
// # The application
//
// An [App] is one page with the middleware in front of it. A stand-in for
// Stytch runs in the same process. The application has two users, ada and bob,
// and Stytch knows both. Their legacy sessions are in the cookie "sid", whose
// value is a name and a number: "sid=ada-1" and "sid=ada-2" are two legacy
// sessions of ada's. Any other value is no session.
//
// [InBubble] gives a test an App and a clock of its own ([testing/synctest]):
// a test that waits for 30 days takes no time. [InCluster] adds three machines
// that share a store.
//
//	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
//		got := a.Get("sid=ada-1")
//		assert.Equal(t, apptest.Moved, got.String())
//	})
//
// # How a row reads
//
// A request returns a [Reply]. Tests compare its String, which is all that the
// request led to:
//
//	"migrated ada | +stytch_session +stytch_session_jwt | no-store | migrate"
//
// Its parts are:
//
//  1. The outcome, and the user that the handler saw.
//  2. The cookies that the response sets (+) or expires (-), in their order.
//  3. The Cache-Control header.
//  4. The calls that Stytch got. Fetches of the key set are not counted.
//
// An empty part is "-". The rows that tests compare most have names: see
// [Moved] and [CookiesUntouched].
//
// # The files
//
//   - app.go: the App, its clock, and the events that it reports
//   - request.go: one request, in each way that tests send one
//   - reply.go, rows.go: the Reply, and the names of rows
//   - browserrules.go: what a browser would say of the cookies in a reply
//   - legacy.go: legacy sessions, and the application's old code
//   - session.go, jwt.go: Stytch sessions, their cookies and their JWTs
//   - stytch.go: what Stytch answers
//   - config.go: changes of the Config
//   - machines.go: several machines, and the store that they share
//   - visitors.go: many requests at once, and browsers that come back
//   - site.go: the application over a socket
//
// Package [example.com/stytchmigrate/internal/apptest/scale] has the flag -full.
package apptest
