package stytchtest

import (
	"compress/gzip"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Fault is what becomes of one call. The zero Fault is a call that is answered
// as usual. A Fault is a value: its With methods return a changed copy, and one
// may be given to any number of servers and calls at the same time.
//
// What a fault consists of takes place in this order: the work, if AfterWork;
// the hold; the delay; the answer. A client that leaves meanwhile ends it.
type Fault struct {
	act       http.HandlerFunc // nil: the usual answer
	mutate    func(map[string]any)
	header    http.Header
	hold      *Hold
	delay     time.Duration
	drip      time.Duration
	cut       int // one more than the bytes let through; zero: all of them
	padding   int // bytes added to the usual answer
	afterWork bool
	chance    *float64 // nil: always
}

// Respond answers with the status and body, whatever they are, in place of the
// usual answer. The content type is application/json if body begins like an
// object and text/html if not; WithHeader says otherwise.
func Respond(status int, body string) Fault {
	return Fault{act: func(w http.ResponseWriter, _ *http.Request) {
		contentType := "text/html; charset=utf-8"
		if strings.HasPrefix(body, "{") {
			contentType = "application/json"
		}
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(status)
		io.WriteString(w, body)
	}}
}

// Error answers with an error of the API's shape, of the status and error_type.
func Error(status int, errorType string) Fault {
	return Fault{act: func(w http.ResponseWriter, _ *http.Request) {
		c := w.(*reply).call // each act is given a reply
		c.fail(&apiError{status, errorType, "Scripted: " + errorType + "."}).write(w)
	}}
}

// Redirect answers 307 to the URL.
func Redirect(url string) Fault {
	return Respond(http.StatusTemporaryRedirect, "").WithHeader("Location", url)
}

// Handle answers by h in place of the usual answer. The request's body has been
// read, see Calls. The request's context ends with the server as well. If h
// panics with [http.ErrAbortHandler] the connection is dropped.
func Handle(h http.HandlerFunc) Fault {
	return Fault{act: h}
}

// Mutate changes the usual answer: f is given its JSON object, as
// encoding/json decodes it, and may change it to its depths. Calls may be
// running f at the same time. Errors are usual answers too. The HTTP status
// stays what it was.
func Mutate(f func(body map[string]any)) Fault {
	return Fault{mutate: f}
}

// Huge is the usual answer with a member "padding" of n bytes added.
func Huge(n int) Fault {
	return Fault{padding: n}
}

// Delay is the usual answer, after d. The work is done after d as well, and not
// at all if the client has left by then; see AfterWork.
func Delay(d time.Duration) Fault {
	return Fault{delay: d}
}

// Silence accepts the call and says nothing until the client leaves, or the
// server is closed.
func Silence() Fault {
	return Fault{act: func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	}}
}

// Reset resets the connection before anything is answered. In process the error
// is a *net.OpError for ECONNRESET.
func Reset() Fault {
	return Fault{act: func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(http.ErrAbortHandler) // in process, or HTTP/2
		}
		w.(*reply).finish() // before the client can know
		if t, ok := conn.(interface{ NetConn() net.Conn }); ok {
			conn = t.NetConn() // no closing handshake of TLS
		}
		if t, ok := conn.(*net.TCPConn); ok {
			t.SetLinger(0) // makes Close send RST and not FIN
		}
		conn.Close()
	}}
}

// Endless answers 200 with a JSON object that never ends.
func Endless() Fault {
	return Fault{act: func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		pad(w, r, "{", -1)
	}}
}

// GzipBomb answers 200 with a JSON object of n bytes, compressed to about a
// thousandth of that.
func GzipBomb(n int64) Fault {
	return Fault{act: func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "gzip")
		z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) // fails for an unknown level only
		pad(z, r, "{", n)
		z.Close()
	}}
}

// pad writes start, a member of n bytes, endless if n is negative, and the end of
// a JSON object, as far as there is someone who reads it.
func pad(w io.Writer, r *http.Request, start string, n int64) {
	const chunk = 32 << 10
	piece := strings.Repeat("a", chunk)
	_, err := io.WriteString(w, start+`"padding":"`)
	for left := n; left != 0 && err == nil; {
		if r.Context().Err() != nil {
			panic(http.ErrAbortHandler) // not an end that looks like one
		}
		part := int64(chunk)
		if n >= 0 {
			part = min(part, left)
			left -= part
		}
		_, err = io.WriteString(w, piece[:part])
	}
	if err == nil {
		io.WriteString(w, `"}`)
	}
}

// WithHeader adds a header field to the answer, whichever that is; one of the
// same name is replaced.
func (f Fault) WithHeader(name, value string) Fault {
	f.header = f.header.Clone()
	if f.header == nil {
		f.header = make(http.Header)
	}
	f.header.Set(name, value)
	return f
}

// WithDelay waits for d before the answer.
func (f Fault) WithDelay(d time.Duration) Fault {
	f.delay = d
	return f
}

// WithHold waits until h is released before the answer.
func (f Fault) WithHold(h *Hold) Fault {
	f.hold = h
	return f
}

// WithDrip sends the body byte by byte, and waits for d before each.
func (f Fault) WithDrip(d time.Duration) Fault {
	f.drip = d
	return f
}

// WithCut drops the connection after n bytes of the body.
func (f Fault) WithCut(n int) Fault {
	f.cut = n + 1
	return f
}

// WithChance makes the fault befall a call with the probability p; the others
// are answered as usual. The dice are seeded by Config.Seed, but which of the
// calls that run at the same time rolls first is not.
func (f Fault) WithChance(p float64) Fault {
	f.chance = &p
	return f
}

// AfterWork does first, at once and even if the client leaves, what the call
// asks for: sessions are made, extended and revoked, and only the answer suffers
// the fault. Reset().AfterWork() is the outcome that a client can't know.
func (f Fault) AfterWork() Fault {
	f.afterWork = true
	return f
}
