// Package integration tests the middleware with the session libraries that
// applications use, over real sockets. It is a module of its own so that the
// middleware's module needs none of them. It has no API.
//
// What to write for the session that an application has is in a file for each
// kind: a LegacyCookie to copy, and an Example of it. roads_test.go is what all of
// them have to go through.
package integration
