package tombstones_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/names"
	"example.com/stytchmigrate/internal/sealedstore"
	"example.com/stytchmigrate/internal/tombstones"
	"example.com/stytchmigrate/storetest"
)

// machine returns the tombstones of one machine. backend may be nil.
func machine(backend sealedstore.Backend) *tombstones.Tombstones {
	store := sealedstore.New("a key of 32 bytes, or of even more", backend, time.Second, func(error) {})
	return tombstones.New(store, &names.Names{Key: "key", Project: "project"})
}

// What was marked has ended, and nothing else has: not the same text as another kind.
func TestMarks(t *testing.T) {
	token, jwt := tombstones.HashCookie('t', "x"), tombstones.HashCookie('j', "x")
	for name, mark := range map[string]func(*tombstones.Tombstones){
		"nothing":                 func(*tombstones.Tombstones) {},
		"legacy":                  func(m *tombstones.Tombstones) { assert.NoError(t, m.MarkLegacy(t.Context(), "x")) },
		"legacy, locally":         func(m *tombstones.Tombstones) { m.MarkLegacyLocal("x") },
		"session":                 func(m *tombstones.Tombstones) { assert.False(t, m.MarkSessionLocal("x")) },
		"session, in the store":   func(m *tombstones.Tombstones) { assert.NoError(t, m.MarkSessionShared(t.Context(), "x")) },
		"token":                   func(m *tombstones.Tombstones) { m.MarkCookie(token) },
		"JWT":                     func(m *tombstones.Tombstones) { m.MarkCookie(jwt) },
		"legacy, another":         func(m *tombstones.Tombstones) { m.MarkLegacyLocal("y") },
		"session, another":        func(m *tombstones.Tombstones) { m.MarkSessionLocal("y") },
		"session, another, store": func(m *tombstones.Tombstones) { assert.NoError(t, m.MarkSessionShared(t.Context(), "y")) },
		"token, another":          func(m *tombstones.Tombstones) { m.MarkCookie(tombstones.HashCookie('t', "y")) },
	} {
		t.Run(name, func(t *testing.T) {
			m := machine(new(storetest.Memory))
			mark(m)
			assert.Equal(t, name == "legacy" || name == "legacy, locally", m.LegacyEndedLocal("x"))
			assert.Equal(t, name == "legacy" || name == "legacy, locally", m.LegacyEnded(t.Context(), "x"))
			assert.Equal(t, name == "session", m.SessionEndedLocal("x"))
			assert.Equal(t, name == "session, in the store", m.SessionEndedShared(t.Context(), "x"))
			assert.Equal(t, name == "token", m.CookieEnded(token))
			assert.Equal(t, name == "JWT", m.CookieEnded(jwt))
			assert.Equal(t, name == "token" || name == "JWT" || name == "token, another", m.HasCookies())
		})
	}
}

// Only the first to mark a session is told so: it is the one that revokes it.
func TestMarkedAlready(t *testing.T) {
	m := machine(nil)
	assert.False(t, m.MarkSessionLocal("x"))
	assert.True(t, m.MarkSessionLocal("x"))
}

// What one machine marks in the store has ended on the others, and on none of a machine
// that shares no store.
func TestMarksOfAnotherMachine(t *testing.T) {
	store := new(storetest.Memory)
	one, other, apart := machine(store), machine(store), machine(nil)
	assert.NoError(t, one.MarkLegacy(t.Context(), "x"))
	assert.NoError(t, one.MarkSessionShared(t.Context(), "x"))

	assert.False(t, other.LegacyEndedLocal("x"), "not before it has looked")
	assert.True(t, other.LegacyEnded(t.Context(), "x"))
	assert.True(t, other.LegacyEndedLocal("x"), "remembered: the store is asked once")
	assert.False(t, other.LegacyEnded(t.Context(), "y"))
	assert.False(t, other.LegacyEndedLocal("y"))
	assert.True(t, other.SessionEndedShared(t.Context(), "x"))
	assert.False(t, other.SessionEndedLocal("x"))

	assert.False(t, apart.LegacyEnded(t.Context(), "x"))
	assert.False(t, apart.SessionEndedShared(t.Context(), "x"))
}

// A local mark stays in its process.
func TestLocalMarks(t *testing.T) {
	store := new(storetest.Memory)
	one, other := machine(store), machine(store)
	one.MarkLegacyLocal("x")
	one.MarkSessionLocal("x")
	assert.False(t, other.LegacyEnded(t.Context(), "x"))
	assert.False(t, other.SessionEndedShared(t.Context(), "x"))
	assert.Empty(t, store.Values())
}

// While the store is down, this process still refuses what it has marked itself, and
// the logout is told that other machines may not.
func TestStoreIsDown(t *testing.T) {
	store := new(storetest.Memory)
	store.Fail(func(string, string) error { return errors.New("down") })
	m := machine(store)
	assert.Error(t, m.MarkLegacy(t.Context(), "x"))
	assert.True(t, m.LegacyEnded(t.Context(), "x"))
	assert.False(t, m.LegacyEnded(t.Context(), "y"), "an outage ends nothing")
	assert.Error(t, m.MarkSessionShared(t.Context(), "x"))
	assert.False(t, m.SessionEndedShared(t.Context(), "x"))
}

// A logout counts though the client has left: its request's context is over.
func TestClientHasLeft(t *testing.T) {
	store := new(storetest.Memory)
	left, leave := context.WithCancel(t.Context())
	leave()
	assert.NoError(t, machine(store).MarkLegacy(left, "x"))
	assert.True(t, machine(store).LegacyEnded(t.Context(), "x"))
}

// A mark in the store lives as long as a browser keeps a cookie.
func TestHowLongMarksLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const day = 24 * time.Hour
		store := new(storetest.Memory)
		m := machine(store)
		assert.NoError(t, m.MarkLegacy(t.Context(), "x"))
		assert.NoError(t, m.MarkSessionShared(t.Context(), "x"))
		time.Sleep(400*day - time.Nanosecond)
		assert.Len(t, store.Values(), 2)
		time.Sleep(time.Nanosecond)
		assert.Empty(t, store.Values())
	})
}

// Memory is bounded, the marks that were made last stay, and a flood of one kind evicts
// no other.
func TestMemoryIsBounded(t *testing.T) {
	const limit = 100_000
	m := machine(nil)
	m.MarkLegacyLocal("kept")
	m.MarkSessionLocal("kept")
	for i := range limit + 1 {
		m.MarkCookie(tombstones.HashCookie('t', fmt.Sprint(i)))
	}
	assert.False(t, m.CookieEnded(tombstones.HashCookie('t', "0")))
	assert.True(t, m.CookieEnded(tombstones.HashCookie('t', "1")))
	assert.True(t, m.CookieEnded(tombstones.HashCookie('t', fmt.Sprint(limit))))
	assert.True(t, m.LegacyEndedLocal("kept"))
	assert.True(t, m.SessionEndedLocal("kept"))
	for i := range limit {
		m.MarkLegacyLocal(fmt.Sprint(i))
		m.MarkSessionLocal(fmt.Sprint(i))
	}
	assert.False(t, m.LegacyEndedLocal("kept"))
	assert.False(t, m.SessionEndedLocal("kept"))
	assert.True(t, m.LegacyEndedLocal("0"))
	assert.True(t, m.SessionEndedLocal("0"))
}

// Names in the store differ between marks and between kinds: neither is the other's, and
// a session's id is not in them.
func TestNamesInTheStore(t *testing.T) {
	store := new(storetest.Memory)
	m := machine(store)
	assert.NoError(t, m.MarkLegacy(t.Context(), "key-1"))
	assert.NoError(t, m.MarkSessionShared(t.Context(), "session-1"))
	var keys []string
	for key := range store.Values() {
		keys = append(keys, key)
	}
	want := (&names.Names{Key: "key", Project: "project"}).Session("session-1") + ".over"
	assert.ElementsMatch(t, []string{"key-1.ended", want}, keys)
}

// What holds for a time only holds on all machines, and for that time.
func TestMarksForATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(storetest.Memory)
		one, two, apart := machine(store), machine(store), machine(nil)
		cookie := tombstones.HashCookie('t', "x")
		assert.NoError(t, one.MarkReplaced(t.Context(), cookie))
		assert.NoError(t, one.MarkUser(t.Context(), "x", 5*time.Minute))
		for _, holds := range []bool{true, false} {
			for _, m := range []*tombstones.Tombstones{one, two} {
				assert.Equal(t, holds, m.IsReplaced(t.Context(), cookie))
				assert.Equal(t, holds, m.UserEnded(t.Context(), "x"))
				assert.False(t, m.IsReplaced(t.Context(), tombstones.HashCookie('j', "x")))
				assert.False(t, m.UserEnded(t.Context(), "y"))
				assert.False(t, m.SessionEndedShared(t.Context(), "x"), "a user is no session")
				assert.False(t, apart.IsReplaced(t.Context(), cookie))
			}
			time.Sleep(5 * time.Minute)
		}
	})
}
