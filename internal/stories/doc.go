// Package stories tests what only the whole module can show: an application
// behind the middleware, Stytch, a store, and several machines. The tests of a
// package say what it decides. A story says what users, attackers and operators
// see of all decisions together.
//
// Each file is a story, and a comment at its top tells it:
//
//   - session, session_logout, session_outage: a Stytch session from its first
//     request to its last, how it ends, and what it goes through in an outage
//   - newer_jwt, fixed: a session whose JWT says more than before, and one that Stytch
//     does not extend
//   - odd_answers: answers of Stytch's in which a member is not as its API says
//   - place, header, resaved, wire: an old cookie, and where it may change
//   - two_people: sessions of two users at one browser
//   - old_logout, logout_races, logout_silence: a logout by the old code, beside
//     another request, and while Stytch is silent
//   - flight, races: requests at the same time, on one machine and on several
//   - machines, machines_logout, records, records_before: several machines, the store
//     that they share, and what the version before has stored
//   - create_users: users whom Stytch does not have yet
//   - rollout_fleet: a rollout that changes while requests come in
//   - load, flood, outage, between: too many users, made-up cookies, a Stytch that
//     is slow, throttles, refuses or is down, and a firewall that answers in its place
//   - attacks: an attacker with a copied cookie or made-up ones
//   - secrets, canaries: what the module must never say
//
// The name of a test says what holds. All tests use one harness: package
// apptest, whose documentation says how a row reads. Load tests send a fifth of
// their requests; go test -full sends all.
package stories
