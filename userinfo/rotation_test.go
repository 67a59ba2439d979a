package userinfo_test

import (
	"net/http/httptest"
	"net/http/httputil"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/userinfo"
)

// fleet is the machines of an application, and the tickets that are on their way.
type fleet struct {
	t        *testing.T
	machines []*userinfo.Tickets
	minted   []minted
	redeemed int
}

type minted struct {
	token  string
	at     time.Time
	oldKey bool
}

// deploy starts a machine anew with these keys, as its middleware does.
func (f *fleet) deploy(machine int, keyPairs [][]byte) {
	f.machines[machine] = newTickets(f.t, keyPairs...)
	f.machines[machine].Minter(project)
}

// mint has every machine mint a ticket, and returns whether that uses the old pair.
func (f *fleet) mint() {
	onlyOld := newTickets(f.t, oldHash, oldBlock)
	for _, m := range f.machines {
		token := mint(f.t, m, project)
		_, err := onlyOld.Redeem(f.t.Context(), token)
		f.minted = append(f.minted, minted{token, time.Now(), err == nil})
	}
}

// redeemAll takes every ticket within its minute to the endpoint of every machine.
func (f *fleet) redeemAll(msg ...any) {
	f.t.Helper()
	for _, m := range f.machines {
		for _, ticket := range f.minted {
			if time.Since(ticket.at) < time.Minute {
				assertRedeems(f.t, m, ticket.token, msg...)
				call(f.t, userinfo.Handler(m.Redeem), request("GET", "/", "", "Bearer "+ticket.token), yes)
				f.redeemed++
			}
		}
	}
}

// TestRotation rotates the keys of three machines as NewTickets says, each step
// one machine after the other, while all of them go on minting. Every ticket that
// is on its way, whoever minted it and in which step, is good at every machine.
func TestRotation(t *testing.T) {
	steps := [][][]byte{
		{oldHash, oldBlock},
		{oldHash, oldBlock, newHash, newBlock}, // the new pair last
		{newHash, newBlock, oldHash, oldBlock}, // then first
		{newHash, newBlock},                    // then, after two minutes, alone
	}
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{t: t, machines: make([]*userinfo.Tickets, 3)}
		for i := range f.machines {
			f.deploy(i, steps[0])
		}
		f.mint()
		for step, keys := range steps[1:] {
			if step+1 == len(steps)-1 {
				time.Sleep(2 * time.Minute)
				f.mint()
			}
			for i := range f.machines {
				f.deploy(i, keys)
				f.mint()
				time.Sleep(5 * time.Second) // tickets of one and two deployments ago are on their way
				f.redeemAll("step %d, machine %d", step+1, i)
			}
		}
		f.assertOldPairGone()
		assert.Greater(t, f.redeemed, 200)
	})
}

// assertOldPairGone takes the tickets of the old pair everywhere, and a new one too
// that a machine mints which missed all of this.
func (f *fleet) assertOldPairGone() {
	f.t.Helper()
	late := mint(f.t, newTickets(f.t, oldHash, oldBlock), project)
	tokens := []string{late}
	for _, ticket := range f.minted {
		if ticket.oldKey {
			require.Greater(f.t, time.Since(ticket.at), 90*time.Second, "dropped before its time")
			tokens = append(tokens, ticket.token)
		}
	}
	assert.Len(f.t, tokens, 1+3+3*3+2+1, "the first, those of the step that adds, and while it is put first")
	for _, m := range f.machines {
		for _, token := range tokens {
			call(f.t, userinfo.Handler(m.Redeem), request("GET", "/", "", "Bearer "+token), badToken)
		}
	}
}

// TestDroppedTooSoon shows why a rotation waits: without the old pair, its tickets
// are lost.
func TestDroppedTooSoon(t *testing.T) {
	token := mint(t, newTickets(t, oldHash, oldBlock, newHash, newBlock), project)
	call(t, userinfo.Handler(newTickets(t, newHash, newBlock).Redeem), request("GET", "/", "", "Bearer "+token), badToken)
}

// TestReplay: a ticket is good again and again, on any machine, for a minute and
// the leeway, and then nowhere.
func TestReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := newTickets(t, newHash, newBlock), newTickets(t, newHash, newBlock)
		r := func(token string) *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			userinfo.Handler(there.Redeem).ServeHTTP(w, formRequest("access_token="+token))
			return w
		}
		token := mint(t, here, project)
		for range 89 {
			assertRedeems(t, here, token)
			require.Equal(t, 200, r(token).Code)
			time.Sleep(time.Second)
		}
		time.Sleep(time.Second - time.Millisecond)
		assertRedeems(t, there, token)
		time.Sleep(time.Millisecond)
		assertRefuses(t, here, token)
		assertRefuses(t, there, token)
		require.Equal(t, 401, r(token).Code)
	})
}

// TestRefusalsAreTheSame, byte for byte on the wire but for the time, whatever is
// wrong with a ticket.
func TestRefusalsAreTheSame(t *testing.T) {
	var expired string
	synctest.Test(t, func(t *testing.T) { // in a bubble it is the year 2000
		expired = mint(t, newTickets(t, newHash, newBlock), project)
	})
	tickets := newTickets(t, newHash, newBlock)
	good := mint(t, tickets, project)
	srv := httptest.NewServer(userinfo.Handler(tickets.Redeem))
	defer srv.Close()
	answers := map[string][]string{}
	for name, token := range map[string]string{
		"expired": expired, "of other keys": mint(t, newTickets(t, oldHash, oldBlock), project),
		"of another project": mint(t, newTickets(t, newHash, newBlock), "project-live-22222222-2222-4222-8222-222222222222"),
		"forged":             "A" + good[1:], "cut off": good[:len(good)-4], "unknown": "good", "of 63 KB": strings.Repeat("a", 63<<10),
	} {
		for _, header := range []string{"Bearer " + token, ""} {
			r := formRequest("access_token=" + token)
			if header != "" {
				r = request("POST", "/", "", header)
			}
			r.RequestURI, r.URL.Scheme, r.URL.Host = "", "http", srv.Listener.Addr().String()
			resp, err := srv.Client().Do(r)
			require.NoError(t, err)
			resp.Header.Del("Date")
			answer, err := httputil.DumpResponse(resp, true)
			require.NoError(t, err)
			resp.Body.Close()
			answers[string(answer)] = append(answers[string(answer)], name)
		}
	}
	assert.Len(t, answers, 1)
	for answer := range answers {
		assert.True(t, slices.Contains(strings.Split(answer, "\r\n"), `Www-Authenticate: Bearer error="invalid_token"`), answer)
		assert.True(t, strings.HasPrefix(answer, "HTTP/1.1 401 "), answer)
	}
}
