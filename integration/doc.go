// Package integration tests the middleware with the session libraries that
// applications use, over real sockets. It is a module of its own so that the
// middleware's module needs none of them. It has no API.
package integration
