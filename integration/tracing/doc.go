// Package tracing shows the calls to Stytch as spans of OpenTelemetry. It has no
// API: what an application writes is in its Example.
package tracing
