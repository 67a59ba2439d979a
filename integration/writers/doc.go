// Package writers tests that the middleware can be dropped into any net/http
// application, whatever its handlers do with their ResponseWriter: WebSockets,
// event streams, files, trailers, early hints, a connection taken over, on each
// version of HTTP. It has no API.
package writers
