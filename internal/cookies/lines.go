package cookies

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"time"
)

const maxCookieAge = 400 * 24 * time.Hour // browsers cap Max-Age there (RFC 6265bis section 5.5)

// plan is the Set-Cookie lines of one response. The zero value has none.
type plan struct {
	lines   []*http.Cookie
	noJWT   []*http.Cookie // in place of lines where those have no room; nil if the JWT is left out anyway
	sets    bool           // the lines set Stytch cookies
	canWait bool           // a later response may write the lines: they are no logout, and clear no session
}

// plan turns a change into the Set-Cookie lines of the response, and into the Cookie
// header of the handler's request. The deletions are the last lines: behind a proxy
// that keeps only the first Set-Cookie, users stay signed in.
func (p *Policy) plan(r *http.Request, ch *Change) (pl plan, cookieHeader string) {
	var set, deletions []*http.Cookie
	switch {
	case ch.Set != nil:
		set = append(set, p.cookie(p.opts.SessionName, string(ch.Set.Session), ch.Set))
		deletions = p.clearOldScopes()
	case ch.Clear:
		deletions = p.clearStytch()
	}
	for _, i := range ch.Expire {
		deletions = append(deletions, p.clearLegacy(i)...)
	}
	pl = plan{lines: append(set, deletions...), sets: ch.Set != nil, canWait: ch.Set != nil || !ch.Clear}
	if ch.Set != nil {
		noJWT := pl.lines
		if c := p.Read(r); len(c.JWTs) > 0 { // the JWT of the browser is older
			noJWT = slices.Insert(slices.Clone(noJWT), 1, p.deletion(p.opts.JWTName, p.scope()))
		}
		jwt := p.cookie(p.opts.JWTName, string(ch.Set.JWT), ch.Set)
		if with := append(set[:1:1], jwt); p.fits(r, ch, with, deletions) {
			set = with
			pl.lines, pl.noJWT = slices.Concat(with, deletions), noJWT
		} else {
			pl.lines = noJWT
		}
	}
	cookieHeader = editCookieHeader(r, func(name string) bool {
		return (ch.Set != nil || ch.Clear) && p.isStytch(name) || ch.hides(r) && p.hasName(ch.Expire, name) || p.hasName(ch.Conceal, name)
	}, set)
	return pl, cookieHeader
}

// hasName reports whether name is that of one of some legacy cookies.
func (p *Policy) hasName(entries []int, name string) bool {
	return slices.ContainsFunc(entries, func(i int) bool { return p.legacy[i].hasName(name) })
}

// cookie is a Stytch cookie that lives as long as its session. Max-Age counts from
// now, so that a browser whose clock is wrong keeps the session. A cookie without
// Max-Age and Expires goes when the browser is closed (RFC 6265 section 5.3).
func (p *Policy) cookie(name, value string, of *Tokens) *http.Cookie {
	c := &http.Cookie{
		Name: name, Value: value, Domain: p.opts.Domain, Path: p.opts.Path,
		Secure:   !p.opts.Insecure,
		HttpOnly: !p.opts.ReadableByScripts,
		SameSite: p.opts.SameSite,
	}
	if !of.UntilBrowserCloses {
		left := min(time.Until(of.Expires), maxCookieAge)
		c.MaxAge = max(1, int(left.Seconds()))
	}
	return c
}

// deletion expires a cookie in a form that browsers obey. It has the Secure and the
// SameSite of the cookies that are set beside it, so that a browser takes both or
// neither, and the attributes that a name prefix demands.
func (p *Policy) deletion(name string, s Scope) *http.Cookie {
	s = s.Normal()
	d := &http.Cookie{
		Name: name, Domain: s.Domain, Path: s.Path, MaxAge: -1, Expires: time.Unix(0, 0),
		Secure: !p.opts.Insecure, HttpOnly: true, SameSite: p.opts.SameSite,
	}
	demands := DemandsOf(name)
	d.Secure = d.Secure || demands.Secure
	if demands.HostOnly {
		d.Domain, d.Path = "", "/"
	}
	return d
}

func (p *Policy) scope() Scope { return Scope{p.opts.Domain, p.opts.Path} }

// clearAll expires the cookies of all sessions, Stytch's and legacy.
func (p *Policy) clearAll() []*http.Cookie { return append(p.clearStytch(), p.clearLegacies()...) }

func (p *Policy) clearLegacies() (lines []*http.Cookie) {
	for i := range p.legacy {
		lines = append(lines, p.clearLegacy(i)...)
	}
	return lines
}

func (p *Policy) clearStytch() []*http.Cookie {
	return append([]*http.Cookie{
		p.deletion(p.opts.SessionName, p.scope()),
		p.deletion(p.opts.JWTName, p.scope()),
	}, p.clearOldScopes()...)
}

// clearOldScopes leaves out names with the prefix __Host-. Such a cookie can have been
// in no scope but its present one, and the only deletion that browsers obey would
// expire the cookie that is set beside it.
func (p *Policy) clearOldScopes() (lines []*http.Cookie) {
	for _, s := range p.opts.OldScopes {
		for _, name := range []string{p.opts.SessionName, p.opts.JWTName} {
			if !DemandsOf(name).HostOnly {
				lines = append(lines, p.deletion(name, s))
			}
		}
	}
	return lines
}

func (p *Policy) clearLegacy(i int) (lines []*http.Cookie) {
	scopes := p.legacy[i].Scopes
	if len(scopes) == 0 {
		scopes = []Scope{{}}
	}
	for _, s := range scopes {
		for _, name := range p.legacy[i].Names() {
			lines = append(lines, p.deletion(name, s))
		}
	}
	return lines
}

// editCookieHeader returns the Cookie header of r without the names that drop picks,
// and with the cookies of add. The other cookies stay byte for byte.
func editCookieHeader(r *http.Request, drop func(name string) bool, add []*http.Cookie) string {
	var pairs []string
	for _, line := range r.Header["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			pair = textproto.TrimString(pair) // as net/http does: other bytes that are space in Unicode belong to the value
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
