package cookies

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"time"
)

// plan turns a change into the lines of the response, deletions last, so that
// a proxy that keeps only the first Set-Cookie loses nobody, and into the
// Cookie header of the request that is passed on.
func (b *Policy) plan(r *http.Request, ch *Change) (lines []*http.Cookie, passedOn string) {
	gone := map[string]bool{}
	if ch.Set != nil || ch.Clear {
		gone[b.opts.SessionName], gone[b.opts.JWTName] = true, true
	}
	hidden := map[string]bool{}
	for _, i := range ch.Expire {
		for _, name := range b.legacy[i].Names() {
			hidden[name] = ch.hides(r)
		}
	}
	var set, deletions []*http.Cookie
	if ch.Clear && ch.Set == nil {
		deletions = b.clearStytch()
	}
	if ch.Set != nil {
		set = append(set, b.cookie(b.opts.SessionName, string(ch.Set.Session), ch.Set.Expires))
		deletions = append(deletions, b.clearOldScopes()...)
	}
	for _, i := range ch.Expire {
		deletions = append(deletions, b.clearOld(i)...)
	}
	if ch.Set != nil {
		jwt := b.cookie(b.opts.JWTName, string(ch.Set.JWT), ch.Set.Expires)
		if b.fits(r, ch, append(slices.Concat(set, deletions), jwt)) {
			set = append(set, jwt)
		} else if c := b.Read(r); len(c.JWTs) > 0 {
			deletions = append([]*http.Cookie{b.deletion(b.opts.JWTName, b.scope())}, deletions...)
		}
	}
	passedOn = editCookies(r, func(name string) bool { return gone[name] || hidden[name] }, set)
	return append(set, deletions...), passedOn
}

// fits says whether a response with these lines, the last of which is the
// JWT's, stays within every limit on its way to the browser and back.
func (b *Policy) fits(r *http.Request, ch *Change, lines []*http.Cookie) bool {
	jwt := lines[len(lines)-1]
	if len(jwt.Name)+len(jwt.Value) > maxCookie {
		return false
	}
	sum := 0
	var kept []*http.Cookie
	for _, l := range lines {
		sum += len(l.String())
		if l.MaxAge > 0 {
			kept = append(kept, l)
		}
	}
	toCome := editCookies(r, func(name string) bool {
		return b.isStytch(name) ||
			slices.ContainsFunc(ch.Expire, func(i int) bool { return slices.Contains(b.legacy[i].Names(), name) })
	}, kept)
	return sum <= maxLines && len(toCome) <= maxCookieHeader
}

// HasRoom reports whether a response that swaps an old cookie, or none (-1), leaves
// room for a JWT of that length.
func (b *Policy) HasRoom(old, token, jwt int, lifetime time.Duration) bool {
	until := time.Now().Add(lifetime)
	lines := append([]*http.Cookie{b.cookie(b.opts.SessionName, strings.Repeat("t", token), until)}, b.clearOldScopes()...)
	if old >= 0 {
		lines = append(lines, b.clearOld(old)...)
	}
	return b.fits(new(http.Request), new(Change), append(lines, b.cookie(b.opts.JWTName, strings.Repeat("j", jwt), until)))
}

// cookie is a Stytch cookie that lives as long as its session, by the clock
// of the browser: Max-Age is relative, so a wrong clock costs nobody a session.
func (b *Policy) cookie(name, value string, expires time.Time) *http.Cookie {
	left := min(time.Until(expires), maxCookieAge)
	return &http.Cookie{
		Name: name, Value: value, Domain: b.opts.Domain, Path: b.opts.Path,
		MaxAge:   max(1, int(left.Seconds())),
		Secure:   !b.opts.Insecure,
		HttpOnly: !b.opts.ReadableByScripts,
		SameSite: b.opts.SameSite,
	}
}

// deletion expires a cookie in a form that browsers obey: the Secure and
// SameSite of what is set beside it, so that a browser takes both or neither,
// and what the name prefixes demand (RFC 6265bis section 4.1.3).
func (b *Policy) deletion(name string, s Scope) *http.Cookie {
	s = s.Normal()
	d := &http.Cookie{
		Name: name, Domain: s.Domain, Path: s.Path, MaxAge: -1, Expires: time.Unix(0, 0),
		Secure: !b.opts.Insecure, HttpOnly: true, SameSite: b.opts.SameSite,
	}
	if HasPrefixFold(name, "__Host-") {
		d.Domain, d.Path, d.Secure = "", "/", true
	}
	if HasPrefixFold(name, "__Secure-") {
		d.Secure = true
	}
	return d
}

func (b *Policy) scope() Scope { return Scope{b.opts.Domain, b.opts.Path} }

func (b *Policy) clearStytch() []*http.Cookie {
	return append([]*http.Cookie{
		b.deletion(b.opts.SessionName, b.scope()),
		b.deletion(b.opts.JWTName, b.scope()),
	}, b.clearOldScopes()...)
}

// clearOldScopes leaves out names with the prefix __Host-: such a cookie was in
// no other scope than it is now, and the only deletion that browsers obey would
// hit the cookie set beside it.
func (b *Policy) clearOldScopes() (out []*http.Cookie) {
	for _, s := range b.opts.OldScopes {
		for _, name := range []string{b.opts.SessionName, b.opts.JWTName} {
			if !HasPrefixFold(name, "__Host-") {
				out = append(out, b.deletion(name, s))
			}
		}
	}
	return out
}

func (b *Policy) clearOld(i int) (out []*http.Cookie) {
	scopes := b.legacy[i].Scopes
	if len(scopes) == 0 {
		scopes = []Scope{{}}
	}
	for _, s := range scopes {
		for _, name := range b.legacy[i].Names() {
			out = append(out, b.deletion(name, s))
		}
	}
	return out
}

// clearAll expires every cookie of every session, Stytch's and old.
func (b *Policy) clearAll() []*http.Cookie {
	out := b.clearStytch()
	for i := range b.legacy {
		out = append(out, b.clearOld(i)...)
	}
	return out
}

// editCookies returns the Cookie header of r without the names that drop
// picks and with the cookies added. What stays, stays byte for byte.
func editCookies(r *http.Request, drop func(name string) bool, add []*http.Cookie) string {
	var pairs []string
	for _, line := range r.Header["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			pair = textproto.TrimString(pair) // as net/http does; other bytes that are space in Unicode are the value's
			name, _, _ := strings.Cut(pair, "=")
			if pair != "" && !drop(textproto.TrimString(name)) {
				pairs = append(pairs, pair)
			}
		}
	}
	for _, c := range add {
		pairs = append(pairs, c.Name+"="+c.Value)
	}
	return strings.Join(pairs, "; ")
}
