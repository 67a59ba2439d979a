package integration

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Shoppers go the whole road of RUNBOOK.md, by the calls that stand in it, up to the day
// when the old sign-in is out of the code. A third of them are visitors. At no step does
// a user lose their session or a form, not even where a step is taken too early. Until
// stage Replace, in which the old session's contents go with its cookie, they keep their
// cart, too.
func TestWholeRoad(t *testing.T) {
	for name, sessions := range map[string]func() shopSessions{"scs": newSCSShop, "a table": newTableShop} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { goTheWholeRoad(t, sessions()) })
		})
	}
}

const shoppers = 500

func goTheWholeRoad(t *testing.T, sessions shopSessions) {
	m := &mall{shop: newShop(t, shoppers, sessions)}
	for i := range shoppers {
		b := m.shopper(fmt.Sprint("shopper ", i))
		b.visits()
		b.posts("/add", "item", "pen")
		if i%3 != 0 { // the others are visitors
			m.signsIn(b, i)
		}
		m.all = append(m.all, b)
	}
	m.shopping("before", true)
	retired := "auth.SetRollout(stytchmigrate.Rollout{Stage: stytchmigrate.StageRetired})"
	for _, call := range callsIn(t, "Before", "One percent", "One hundred percent") {
		m.turn(call)
		m.shopping(call, !strings.Contains(call, "StageReplace"))
		if strings.Contains(call, "StageKeep}") {
			m.turn(retired) // too early: the old sign-in is in use
			m.shopping("retired too early", true)
			m.turn(call)
			m.shopping("and back", true)
		}
	}
	m.turn(retired) // too early again, and now in Replace
	m.shopping("retired too early", false)
	m.turn("auth.SetRollout(stytchmigrate.Rollout{Stage: stytchmigrate.StageReplace})")

	m.newSignIn = true
	m.shopping("sign-in moves", false)
	m.oldSignIn = false
	m.shopping("the old sign-in is gone", false)
	time.Sleep(14 * 24 * time.Hour)
	m.shopping("two weeks later", false)
	for _, call := range callsIn(t, "Finishing") {
		m.turn(call)
		m.shopping(call, false)
	}
	m.deploy()
	m.shopping("taken out", false)
}

// callsIn returns the calls of SetRollout in chapters of RUNBOOK.md, in their order.
func callsIn(t *testing.T, chapters ...string) (calls []string) {
	text, err := os.ReadFile("../RUNBOOK.md")
	require.NoError(t, err)
	for _, s := range readRunbook(string(text)) {
		for _, quote := range s.quotes {
			if strings.HasPrefix(quote, "auth.SetRollout(") && contains(chapters, s.chapter) {
				calls = append(calls, quote)
			}
		}
	}
	require.NotEmpty(t, calls)
	return calls
}

func contains(list []string, s string) bool { return strings.Contains(strings.Join(list, "\n"), s) }

// mall is a shop with all its shoppers.
type mall struct {
	*shop
	all       []*shopper
	newSignIn bool // sign-in is by Stytch
	turns     int
}

// turn puts the rollout of a call in force.
func (m *mall) turn(call string) {
	m.Helper()
	w := &walk{T: m.T}
	require.NoError(m, m.auth.SetRollout(w.rolloutIn(call)))
}

// shopping is a day of all shoppers: a page, a form, and another page. Some sign in, and
// some sign out and in again, by the sign-in that there is.
func (m *mall) shopping(step string, cartsStay bool) {
	m.Helper()
	m.turns++
	for i, b := range m.all {
		b.name = fmt.Sprintf("%s, shopper %d", step, i)
		b.visits()
		if cartsStay {
			assert.Contains(m, b.cart, "pen", b.name)
		}
		assert.Equal(m, b.user, b.posts("/add", "item", "pen"), b.name)
		b.visits()
		switch (i + m.turns) % 25 {
		case 0:
			m.signsIn(b, i)
		case 1:
			if b.user != "" {
				b.posts("/logout")
				b.user = ""
				b.visits()
				b.posts("/add", "item", "pen")
				b.visits()
			}
		}
	}
	synctest.Wait()
	time.Sleep(time.Hour)
}

// signsIn is a sign-in as user i.
func (m *mall) signsIn(b *shopper, i int) {
	m.Helper()
	b.user = fmt.Sprint("user-", i)
	if m.newSignIn {
		b.posts("/signin", "user", b.user)
	} else {
		b.posts("/login", "user", b.user)
	}
	b.visits()
}
