// Package frameworks tests the middleware with the routers, proxies and session
// libraries that applications have, over real sockets. It has no API.
//
// frames_test.go says how each router is wrapped, and why so; behaviours_test.go is
// what has to hold with all of them. The Examples are what to paste.
package frameworks
