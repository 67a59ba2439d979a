package stytchmigrate

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/felixge/httpsnoop"
)

// swap holds the Set-Cookie lines of one response until its final header goes
// out. Until then the handler may still change what they ought to be: by
// Logout, by a login of its own, by panicking.
type swap struct {
	browser *browser

	mu     sync.Mutex // ReverseProxy flushes from a goroutine of its own
	lines  []*http.Cookie
	logout bool
	done   bool
}

// swap prepares the change that a verdict asks for: of the response, and of
// the request that is passed on, whose cookies are what the next one's will be.
func (b *browser) swap(r *http.Request, c *requestCookies, ch change) (*swap, *http.Request) {
	lines, passedOn := b.plan(r, c, ch)
	next := *r
	next.Header = r.Header.Clone()
	next.Header.Del("Cookie")
	if passedOn != "" {
		next.Header.Set("Cookie", passedOn)
	}
	return &swap{browser: b, lines: lines}, &next
}

// wrap returns a ResponseWriter with every interface that w has, which writes
// the lines with the final header. Informational headers (1xx) go out as they
// are: cookies on them are lost by some clients and doubled by others.
func (s *swap) wrap(w http.ResponseWriter) http.ResponseWriter {
	commit := func() { s.commit(w.Header()) }
	return httpsnoop.Wrap(w, httpsnoop.Hooks{
		WriteHeader: func(next httpsnoop.WriteHeaderFunc) httpsnoop.WriteHeaderFunc {
			return func(code int) {
				if code >= 200 {
					commit()
				}
				next(code)
			}
		},
		Write: func(next httpsnoop.WriteFunc) httpsnoop.WriteFunc {
			return func(p []byte) (int, error) { commit(); return next(p) }
		},
		WriteString: func(next httpsnoop.WriteStringFunc) httpsnoop.WriteStringFunc {
			return func(p string) (int, error) { commit(); return next(p) }
		},
		ReadFrom: func(next httpsnoop.ReadFromFunc) httpsnoop.ReadFromFunc {
			return func(src io.Reader) (int64, error) { commit(); return next(src) }
		},
		Flush: func(next httpsnoop.FlushFunc) httpsnoop.FlushFunc {
			return func() { commit(); next() }
		},
	})
}

// commit writes the lines, once.
func (s *swap) commit(h http.Header) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		return
	}
	s.done = true
	writeCookies(h, s.browser.yield(h, s.lines, s.logout))
}

var errTooLate = errors.New("stytchmigrate: Logout after the response began: cookies were not cleared")

// replace puts the lines of a logout in place of what was pending.
func (s *swap) replace(lines []*http.Cookie) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		return errTooLate
	}
	s.lines, s.logout = lines, true
	return nil
}

// yield drops the lines that the handler's own cookies overrule. A handler
// that sets a legacy cookie has signed somebody in, and one that touches a
// Stytch cookie manages these itself: either withdraws the whole swap, and the
// next request is judged by what the browser then holds. After a logout only
// the deletion of what the handler set is dropped.
func (b *browser) yield(h http.Header, lines []*http.Cookie, logout bool) []*http.Cookie {
	for _, line := range h["Set-Cookie"] {
		name, deleted := setCookieName(line)
		stytch := name == b.opts.SessionName || name == b.opts.JWTName
		switch {
		case !stytch && (deleted || !b.isLegacy(name)):
			continue
		case !logout:
			return nil
		case !deleted:
			lines = slices.DeleteFunc(slices.Clone(lines), func(c *http.Cookie) bool { return c.Name == name })
		}
	}
	return lines
}

func (b *browser) isLegacy(name string) bool {
	return slices.ContainsFunc(b.legacy, func(l LegacyCookie) bool { return slices.Contains(l.names(), name) })
}

// dropStytch takes the Stytch cookies out of what was set on a response so
// far: a logout means those too.
func (b *browser) dropStytch(h http.Header) {
	kept := slices.DeleteFunc(slices.Clone(h["Set-Cookie"]), func(line string) bool {
		name, _ := setCookieName(line)
		return name == b.opts.SessionName || name == b.opts.JWTName
	})
	if len(kept) == 0 {
		h.Del("Set-Cookie")
		return
	}
	h["Set-Cookie"] = kept
}

// setCookieName returns the name that a Set-Cookie line is about, and whether
// the line expires it.
func setCookieName(line string) (name string, deleted bool) {
	c, err := http.ParseSetCookie(line)
	if err != nil {
		name, _, _ = strings.Cut(line, "=")
		return strings.TrimSpace(name), false
	}
	return c.Name, c.MaxAge < 0 || c.MaxAge == 0 && !c.Expires.IsZero() && c.Expires.Before(time.Now())
}

// writeCookies adds the lines, and keeps caches away from the response: its
// own header, and those that CDNs and proxies read in its place (RFC 9213).
func writeCookies(h http.Header, lines []*http.Cookie) {
	if len(lines) == 0 {
		return
	}
	for _, c := range lines {
		h.Add("Set-Cookie", c.String())
	}
	h.Set("Cache-Control", "no-store")
	for name := range h {
		if strings.HasSuffix(name, "-Cache-Control") || name == "Surrogate-Control" || name == "X-Accel-Expires" {
			h.Del(name)
		}
	}
}
