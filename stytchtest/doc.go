// Package stytchtest serves a stand-in for Stytch's consumer API, so that a
// program that migrates sessions to Stytch can be tested without an account,
// without a network and without waiting.
//
// Most tests want [NewServer]: configure the client under test with the
// server's URL, ProjectID and Secret, add the people with [Server.AddUser], say
// which legacy tokens are theirs with [Server.Accept] (or give the URL of a real
// UserInfo endpoint with [Server.SetUserInfoURL]), and look afterwards at
// [Server.Calls] and [Server.Sessions]. What can go wrong between a program and
// Stytch is scripted with [Server.Fail] and [Server.FailAll]. A program that is
// no test uses [Start].
//
// The stand-in was built from the public description of the API. Nothing of it
// ever talked to Stytch: where that description is silent the doc comments say
// what this package chose, and a test that passes here shows that a program
// follows the description, not that Stytch does. It is for tests and for
// examples. It keeps everything in memory, and whoever can reach it can use it.
//
// # What is served
//
//   - POST /v1/sessions/migrate, authenticate and revoke
//   - GET /v1/sessions/jwks/{project_id}
//   - GET /v1/sessions?user_id={user_id or external_id}
//   - POST /v1/users and GET /v1/users/{user_id or external_id}
//   - POST /v1/otps/email/login_or_create and /v1/otps/authenticate; [Server.LastCode]
//     is the inbox
//
// Everything else is answered 404 route_not_found. Every answer, errors
// included, carries a request_id of its own; every call but the one for the
// key set needs the project's id and secret as HTTP Basic credentials.
//
// # What is chosen
//
// The description leaves open, and this package decided:
//
//   - Errors of a migrate call that come of the UserInfo endpoint have status 400,
//     an email that no user has 404, and a locked user 429. Nothing else looks at
//     locks.
//   - The endpoint is asked by GET, is given five seconds, and must say
//     email_verified true. Emails are compared without regard to ASCII case.
//   - A reserved custom claim is an error and is not ignored.
//   - A session_duration_minutes that ends a session sooner does so.
//   - authorization_check and telemetry_id are accepted and have no effect.
//   - A code has six digits and is good for ten minutes, once. A wrong one has status 401
//     and does not use up the right one. No session is extended by it.
//   - The error_type of a request that is malformed, and all messages.
//
// # Without sockets
//
// A [Server] is an [http.Handler], and [Server.RoundTripper] and
// [Server.Client] call it in the caller's own process. Time in a bubble of
// testing/synctest only moves while nothing waits for the network, so a test in
// a bubble sets Config.InProcess, creates the server inside the bubble, and
// hands [Server.Client] to the client under test.
//
// A server for TLS, with a certificate of the test's choice, is
// httptest.NewUnstartedServer(s) with s a Server.
package stytchtest
