package integration

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing/synctest"
	"time"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
)

var people = []string{"ada", "bob"}

// load sends n requests at once, to any machines, and mostly waits for them.
func (w *world) load(b *browserOf, n int) {
	for range n {
		v := b.visit("page", w.machine())
		if v.sent.token != "" && !v.sent.planted && w.dice.IntN(6) == 0 {
			v.sent.jwt = "" // as where it is too long for the browser
		}
		v.thinks = w.little()
		go w.send(context.Background(), v, w.little(), true)
	}
	if w.dice.IntN(3) > 0 {
		b.pending.Wait()
	}
}

// leave sends a request whose client goes away.
func (w *world) leave(b *browserOf) {
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(w.little()+1, cancel)
	go w.send(ctx, b.visit("page", w.machine()), w.little(), true)
}

// late sends a request with the old cookie of the last sign-in, as one does that
// was on its way while she moved.
func (w *world) late(b *browserOf) {
	v := b.visit("page", w.machine())
	v.sent = b.last
	go w.send(context.Background(), v, w.little(), true)
}

// logOut sends a logout by POST, behind the middleware or not.
func (w *world) logOut(b *browserOf, behind bool) {
	v := b.visit("logout", w.machine())
	w.unlucky(b, w.endingOf(v))
	w.send(context.Background(), v, 0, behind)
	w.left(v)
	b.turned("", jar{}, w.endsAll(v))
	b.extra = false
}

// signInAgain is a legacy sign-in, as anybody, at a browser where somebody may
// still be signed in.
func (w *world) signInAgain(b *browserOf) {
	path := "login"
	if !w.blind && w.dice.IntN(3) == 0 {
		path = "plain login" // the old handler knows nothing of Stytch
		b.pending.Wait()     // what comes after it would be an older page's
	}
	w.signIn(b, people[w.dice.IntN(2)], path)
}

func (w *world) signIn(b *browserOf, name, path string) {
	time.Sleep(time.Millisecond)
	v := b.visit(path, w.machine())
	v.newSID = w.newSID(v.sent, name)
	if path == "login" {
		w.unlucky(b, w.endingOf(v))
	}
	w.send(context.Background(), v, 0, w.dice.IntN(3) > 0)
	before := v.sent
	if path == "login" {
		w.left(v)
	}
	b.turned(name, jar{owner: name, sid: v.newSID}, path != "login" || w.endsAll(v))
	b.mu.Lock()
	defer b.mu.Unlock()
	b.extra = path == "plain login" && (b.extra || before.owner == name)
	b.lucky = !w.gone[v.newSID] && !(before.planted && path == "plain login") // else it can't be told from the one that was logged out
	if path == "plain login" && b.jar.token != "" && (before.owner != name || before.mixed) {
		b.jar.mixed = true
		b.lucky = b.lucky && !strings.HasSuffix(v.newSID, ".-") // else nobody can say who of them counts
		b.mu.Unlock()
		w.unlucky(b, w.endingOf(&visit{sent: jar{token: before.token, jwt: before.jwt}}))
		b.mu.Lock()
	}
}

// newSID draws an old cookie: of a new id or, as some applications do, of the one
// that was there before, and with or without the time of the sign-in.
func (w *world) newSID(before jar, name string) string {
	w.logins++
	id := fmt.Sprint(w.logins)
	if old := strings.Split(before.sid, "."); len(old) == 3 && !w.blind && w.dice.IntN(3) == 0 {
		id = old[1]
	}
	start := "-"
	if w.dice.IntN(2) == 0 {
		start = strconv.FormatInt(time.Since(began).Milliseconds(), 10)
	}
	return name + "." + id + "." + start
}

// turned is after a sign-in or logout. Where Logout could not end everything,
// what was sent before is not waited for.
func (b *browserOf) turned(owner string, last jar, all bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn++
	b.since = time.Now()
	b.jar.owner, b.last, b.lucky = owner, last, true
	if !all {
		b.void = b.turn
	}
}

// race is a logout, at any machine, while a request of the same browser and one
// of another wait for Stytch at one machine.
func (w *world) race(b *browserOf) {
	v := w.byToken(b, w.machine())
	op, h := stytchtest.Authenticate, &stytchtest.Hold{}
	if v.sent.token == "" {
		op = stytchtest.Migrate
	}
	w.stytch.Fail(op, stytchtest.Fault{}.WithHold(h).AfterWork())
	v.thinks = w.little()
	go w.send(context.Background(), v, 0, true)
	synctest.Wait()
	other := w.byToken(w.browsers[w.dice.IntN(len(w.browsers))], v.machine)
	go w.send(context.Background(), other, 0, true)
	w.pass()
	w.logOut(b, false)
	w.pass()
	h.Release()
}

// byToken prepares a request for which Stytch has to be asked, if there is a token.
func (w *world) byToken(b *browserOf, machine int) *visit {
	v := b.visit("page", machine)
	if v.sent.token != "" && !v.sent.planted {
		v.sent.jwt = ""
	}
	return v
}

// endsAll says whether a logout ended whatever may be under way. It does not if
// it failed, if the store does so afterwards, if the cookies had gone, or if of
// two old sessions of one person one was not exchanged: nobody knows that one
// any more.
func (w *world) endsAll(v *visit) bool {
	return v.err == nil && !w.storeFailed && !v.by.extra && v.sent.sid+v.sent.token+v.sent.jwt != "" && w.knows(v)
}

// knows says whether the machine of a logout can tell whose it is. Past Handler,
// and without the key set, it revokes the token and knows no session by it.
func (w *world) knows(v *visit) bool { return w.plants || v.session != nil || v.sent.token == "" }

// left notes that Logout was called.
func (w *world) left(v *visit) {
	e := w.endingOf(v)
	w.unlucky(v.by, e)
	for _, sid := range e.legacies {
		w.gone[sid] = true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if v.err == nil && w.knows(v) {
		w.endings = append(w.endings, e)
	}
}

// unlucky are the other browsers with a session that ends.
func (w *world) unlucky(at *browserOf, e ending) {
	for _, b := range w.browsers {
		b.mu.Lock()
		if b != at && w.touches(e, b.jar) {
			b.lucky = false
		}
		b.mu.Unlock()
	}
}

// copyTo makes another browser of the same person hold the same cookies.
func (w *world) copyTo(b *browserOf) {
	from := w.browsers[w.dice.IntN(len(w.browsers))]
	from.mu.Lock()
	cookies, last, lucky := from.jar, from.last, from.lucky
	from.mu.Unlock()
	if from == b || cookies.mixed || cookies.planted {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn++
	b.void = b.turn
	b.jar, b.last, b.lucky, b.extra = cookies, last, lucky, from.extra
}

// plant puts the token of somebody else beside the JWT of whoever is signed in,
// as a neighbour of the domain can.
func (w *world) plant(b *browserOf) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !w.plants || w.lossy || b.jar.jwt == "" || b.jar.mixed || b.jar.owner == "" {
		return
	}
	other := w.ids["ada"]
	if b.jar.owner == "ada" {
		other = w.ids["bob"]
	}
	b.jar.token, b.jar.planted, b.lucky = w.stytch.NewSession(other, time.Hour).Token, true, false
}

// failStytch makes one of the next calls go wrong.
func (w *world) failStytch() {
	ops := []stytchtest.Op{stytchtest.Migrate, stytchtest.Authenticate, stytchtest.Revoke}
	if !w.plants {
		ops = append(ops, stytchtest.JWKS)
	}
	op := ops[w.dice.IntN(len(ops))]
	f := w.fault()
	if w.lossy && op == stytchtest.Authenticate && w.dice.IntN(3) == 0 {
		f = stytchtest.Error(404, "session_not_found")
	}
	if w.dice.IntN(2) == 0 {
		f = f.AfterWork()
	}
	w.note(func() string { return "a fault of " + string(op) })
	w.stytch.Fail(op, f)
}

func (w *world) fault() stytchtest.Fault {
	switch w.dice.IntN(6) {
	case 0:
		return stytchtest.Delay(time.Duration(w.dice.IntN(int(8 * time.Second))))
	case 1:
		return stytchtest.Reset()
	case 2:
		return stytchtest.Error(500, "internal_server_error")
	case 3:
		return stytchtest.Error(429, "too_many_requests")
	default:
		h := &stytchtest.Hold{}
		w.holds = append(w.holds, h)
		return stytchtest.Fault{}.WithHold(h)
	}
}

func (w *world) release() {
	for _, h := range w.holds {
		h.Release()
	}
	w.holds = nil
}

// failStore breaks the store, or mends it.
func (w *world) failStore() {
	if !w.storeFailed {
		return
	}
	w.store.Fail([]func(string, string) error{
		nil,
		func(string, string) error { return errStoreDown },
		func(string, string) error { time.Sleep(time.Minute); return errStoreDown },
		func(string, string) error { panic("store") },
	}[w.dice.IntN(4)])
}

// settle mends everything and, where nobody may have lost a session, sees
// whether everybody is who they are.
func (w *world) settle() {
	w.release()
	w.stytch.Heal(stytchtest.Any)
	w.store.Fail(nil)
	for _, b := range w.browsers {
		b.pending.Wait()
	}
	time.Sleep(3 * time.Minute)
	for _, b := range w.browsers {
		w.expect(b)
	}
	time.Sleep(time.Minute) // for calls that are held up
}

func (w *world) expect(b *browserOf) {
	v := b.visit("page", w.machine())
	w.send(context.Background(), v, 0, true)
	if v.outcome == stytchmigrate.OutcomeUnavailable { // several were logged out: is it Stytch that is wrong?
		time.Sleep(12 * time.Minute)
		v = b.visit("page", w.machine())
		w.send(context.Background(), v, 0, true)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if b.lucky && !v.sent.planted && !w.lossy && v.sent.owner != "" && v.user == nil {
		w.fail(v, "lost, though nothing happened")
	}
}
