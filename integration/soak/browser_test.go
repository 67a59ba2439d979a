package soak

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"sync"
	"time"
)

var origin = &url.URL{Scheme: "https", Host: "app.example.com", Path: "/"}

// browser is one person's at a time. All but the pages that it loads at once
// happens in one goroutine, which draws the dice.
type browser struct {
	soak  *soak
	dice  *rand.Rand
	jar   *cookiejar.Jar
	owner string   // who is signed in; empty: nobody
	past  []string // who was before by a sign-in without Logout: the Stytch cookies may still be theirs

	old   []*http.Cookie // the old cookie of the sign-in, as a tab sends it that was open before the move; nil: none
	gone  *visit         // the last logout
	after []*http.Cookie // what was in the jar before that, and the old cookie
}

func (s *soak) newBrowser(seed uint64, i int) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		panic(err) // only for options
	}
	return &browser{soak: s, jar: jar, dice: rand.New(rand.NewPCG(seed, uint64(i)))}
}

// think is the time between two clicks. Where this machine can't keep up it is
// longer, or all of them would soon wait for the machine and not for the network.
func (b *browser) think(ctx context.Context) {
	rest(ctx, upTo(b.dice, 6*time.Second)+20*time.Duration(b.soak.lag.Load()))
}

// live does what the dice say until ctx ends.
func (b *browser) live(ctx context.Context) {
	for b.think(ctx); ctx.Err() == nil; b.think(ctx) {
		switch n := b.dice.IntN(100); {
		case b.owner == "":
			if b.soak.mayTurn() {
				b.signIn()
			}
		case n < 45:
			b.load(b.page())
		case n < 65:
			b.load(b.page(), b.page(), b.page(), b.page())
		case n < 75:
			b.load(b.page().without(jwtCookie), b.page())
		case n < 85:
			b.late()
		case b.soak.mayTurn() && n < 92:
			b.logOut()
		case b.soak.mayTurn():
			b.signIn()
		}
	}
}

// page is a request for one, to any machine.
func (b *browser) page() *visit {
	return &visit{by: b, path: "page", owner: b.owner, past: b.past, cookies: b.jar.Cookies(origin), machine: b.dice.IntN(len(b.soak.machines))}
}

// load sends requests at once and takes their cookies as they come.
func (b *browser) load(all ...*visit) {
	var wg sync.WaitGroup
	for _, v := range all {
		wg.Go(func() {
			b.soak.send(v)
			b.jar.SetCookies(origin, v.rec.Result().Cookies())
		})
	}
	wg.Wait()
}

// late sends a request of a tab that has only the old cookie.
func (b *browser) late() {
	if v := b.page(); b.old != nil {
		v.cookies = b.old
		b.load(v, b.page())
	}
}

// logOut is a logout, and tabs that had not heard of it.
func (b *browser) logOut() {
	v := b.page()
	v.path = "logout"
	b.load(v)
	b.left(v)
	b.ghost(b.dice.IntN(len(b.soak.machines)), b.dice.IntN(2) == 0)
}

// left is after a visit that called Logout. What comes back is of interest where
// that could tell whom it was to log out.
func (b *browser) left(v *visit) {
	b.gone, b.after = nil, append(b.old, v.cookies...)
	if b.old != nil && (v.session != nil || !v.has(tokenCookie) && !v.has(jwtCookie)) {
		b.gone = v
	}
	b.owner, b.past, b.old = "", nil, nil
}

// ghost sends what the last who logged out had, all of it or the old cookie. It
// takes nothing.
func (b *browser) ghost(machine int, all bool) {
	if b.gone == nil {
		return
	}
	v := &visit{by: b, path: "page", owner: b.gone.owner, past: b.gone.past, cookies: b.after, machine: machine, ended: b.gone}
	if !all {
		v.cookies = b.after[:1]
	}
	b.soak.send(v)
}

// leave is the last logout, and a ghost at every machine.
func (b *browser) leave() {
	if b.owner != "" {
		b.logOut()
	}
	for i := range b.soak.machines {
		b.ghost(i, false)
		b.ghost(i, true)
	}
}

// signIn is a sign-in by the old login, as somebody new or the same, over whoever
// is signed in. That calls Logout, or not.
func (b *browser) signIn() {
	v := b.page()
	v.path = "login"
	if b.dice.IntN(3) == 0 {
		v.path = "plain login"
	}
	name := b.soak.name(b.dice)
	if b.owner != "" && b.dice.IntN(4) == 0 {
		name = b.owner
	}
	v.newSID = fmt.Sprintf("%s.%016x%016x", name, b.dice.Uint64(), b.dice.Uint64())
	// The browser may still have a Stytch session of this person, also from before
	// somebody else signed in over it. Then the new old session is not exchanged, and a
	// logout does not learn of it.
	again := v.path == "plain login" && (name == b.owner || slices.Contains(b.past, name))
	b.load(v)
	if v.path == "login" && b.owner != "" {
		b.left(v)
	}
	if b.owner != "" {
		b.past = append(b.past, b.owner)
	}
	b.owner, b.old = name, []*http.Cookie{{Name: oldCookie, Value: v.newSID}}
	if again { // of two old sessions of one person one is not exchanged
		b.old = nil
	}
}

// settle waits until the browser is its owner's on every machine. It returns a
// visit where it was not, at last.
func (b *browser) settle() (stray *visit) {
	for until := time.Now().Add(mended); ; rest(context.Background(), time.Second) {
		if stray = b.stray(); stray == nil || time.Now().After(until) {
			return stray
		}
	}
}

func (b *browser) stray() *visit {
	for i := range b.soak.machines {
		v := b.page()
		v.machine = i
		if b.load(v); b.owner != "" && v.user == nil {
			return v
		}
	}
	return nil
}
