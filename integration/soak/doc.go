// Package soak is a test alone: hundreds of browsers at several machines, with a
// network between these and Stytch's stand-in that fails in every way it can. It
// has no API.
//
// go test takes ten seconds of it; -soak=10m takes ten minutes, and -v prints what
// happened.
package soak
