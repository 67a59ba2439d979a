package storetest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/stytchmigrate"
)

// model keeps the contract in the plainest way, but for the one sentence that
// broken names. Its clock is its own.
type model struct {
	broken string

	mu     sync.Mutex // guards what follows
	now    time.Duration
	values map[string]entry
	claims map[string]entry // the value is the owner
}

type entry struct {
	value []byte
	until time.Duration
}

func newModel(broken string) *model {
	return &model{broken: broken, values: map[string]entry{}, claims: map[string]entry{}}
}

func (m *model) Sleep(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now += d
}

// key is what a key is kept under.
func (m *model) key(key string) string {
	switch m.broken {
	case "keys are cut":
		return key[:min(len(key), 99)]
	case "keys fold case":
		return strings.ToLower(key)
	case "braces are dropped":
		return strings.NewReplacer("{", "", "}", "").Replace(key)
	}
	return key
}

func (m *model) live(entries map[string]entry, key string, forever bool) (entry, bool) {
	e, ok := entries[key]
	return e, ok && (forever || m.now < e.until)
}

// failed is the answer to a context that is done.
func (m *model) failed(ctx context.Context, call string) (bool, error) {
	if ctx.Err() == nil {
		return false, nil
	}
	if m.broken == "done context reads as no: "+call {
		return true, nil
	}
	return true, ctx.Err()
}

func (m *model) Get(ctx context.Context, key string) ([]byte, bool, error) {
	if done, err := m.failed(ctx, "Get"); done {
		return nil, false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	key = m.key(key)
	e, ok := m.live(m.values, key, m.broken == "values never end")
	claim, claimed := m.live(m.claims, key, false)
	switch {
	case m.broken == "Get fails":
		return nil, false, errors.New("broken")
	case m.broken == "Get finds what isn't there":
		return nil, true, nil
	case m.broken == "a claim reads as a value" && !ok && claimed:
		return claim.value, true, nil
	case m.broken == "a claim hides the value" && claimed:
		return nil, false, nil
	case m.broken == "a late claim hides the value" && len(claim.value) > 0 && !claimed:
		return nil, false, nil
	case m.broken == "empty reads as none" && len(e.value) == 0:
		return nil, false, nil
	case m.broken == "values end at NUL":
		e.value, _, _ = bytes.Cut(e.value, []byte{0})
	case m.broken == "values end at 32 KB":
		e.value = e.value[:min(len(e.value), 32<<10)]
	case m.broken == "Get returns its own":
		return e.value, ok, nil
	}
	if !ok {
		return nil, false, nil
	}
	return bytes.Clone(e.value), true, nil
}

func (m *model) Claim(ctx context.Context, key, owner string, lease time.Duration) (bool, error) {
	if done, err := m.failed(ctx, "Claim"); done {
		return false, err
	}
	if m.broken == "Claim looks, then acts" {
		m.mu.Lock()
		e, ok := m.live(m.claims, m.key(key), false)
		m.mu.Unlock()
		if ok && string(e.value) != owner {
			return false, nil
		}
		time.Sleep(time.Millisecond) // a round trip
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	key = m.key(key)
	e, ok := m.live(m.claims, key, m.broken == "claims never end")
	_, valued := m.live(m.values, key, false)
	switch {
	case m.broken == "Claim fails":
		return false, errors.New("broken")
	case m.broken == "Claim is for keys without a value" && valued:
		return false, nil
	case m.broken == "Claim gives to everybody", m.broken == "Claim looks, then acts":
	case ok && string(e.value) != owner:
		if m.broken == "a Claim in vain prolongs" {
			m.claims[key] = entry{e.value, m.now + lease}
		}
		return false, nil
	case ok && m.broken == "nothing renews":
		return true, nil
	case ok && m.broken == "renewing is refused":
		return false, nil
	}
	if m.broken == "a Claim resets the value" {
		delete(m.values, key)
	}
	m.claims[key] = entry{[]byte(owner), m.end(lease)}
	return true, nil
}

// end rounds down to milliseconds, where 0 has come to mean forever.
func (m *model) end(d time.Duration) time.Duration {
	if m.broken == "short is forever" && d < time.Millisecond {
		d = 1000 * time.Hour
	}
	return m.now + d
}

func (m *model) Put(ctx context.Context, key, owner string, value []byte, ttl time.Duration) (bool, error) {
	if done, err := m.failed(ctx, "Put"); done {
		return false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	key = m.key(key)
	e, ok := m.live(m.claims, key, m.broken == "Put takes an old lease")
	mine := ok && string(e.value) == owner
	old, had := m.values[key]
	switch {
	case m.broken == "Put fails":
		return false, errors.New("broken")
	case m.broken == "Put needs no claim":
		mine = true
	case m.broken == "Put takes anybody's claim":
		mine = ok
	case m.broken == "Put takes what nobody has":
		mine = mine || !ok
	case m.broken == "Put by nobody minds the claim" && ok && owner == "":
		return false, nil
	case m.broken == "a Put in vain takes the claim away" && !mine:
		delete(m.claims, key)
	case m.broken == "a Put in vain stores" && !mine && owner != "":
		m.values[key] = entry{bytes.Clone(value), m.now + ttl}
		return false, nil
	case m.broken == "a Put in vain prolongs" && !mine && had:
		m.values[key] = entry{old.value, m.now + ttl}
	}
	if owner != "" && !mine {
		return false, nil
	}
	if m.broken != "Put leaves the claim" && (m.broken != "Put by nobody leaves the claim" || owner != "") {
		delete(m.claims, key)
	}
	m.values[key] = m.entry(old, had, value, ttl)
	return true, nil
}

// entry is what Put stores in place of old.
func (m *model) entry(old entry, had bool, value []byte, ttl time.Duration) entry {
	e := entry{bytes.Clone(value), m.end(ttl)}
	switch {
	case had && m.broken == "the first value stays":
		e.value = old.value
	case had && m.broken == "the ttl can't grow":
		e.until = min(e.until, old.until)
	case had && m.broken == "the ttl can't shrink":
		e.until = max(e.until, old.until)
	case m.broken == "Put keeps the caller's":
		e.value = value
	}
	return e
}

func (m *model) Release(ctx context.Context, key, owner string) error {
	if done, err := m.failed(ctx, "Release"); done {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	key = m.key(key)
	e, ok := m.claims[key]
	switch {
	case m.broken == "Release does nothing":
		return nil
	case m.broken == "Release fails where there is none" && !ok:
		return errors.New("broken")
	case m.broken == "Release takes anybody's" && ok, ok && string(e.value) == owner:
		delete(m.claims, key)
	}
	if m.broken == "Release takes the value" {
		delete(m.values, key)
	}
	return nil
}

// Each way to break the contract, and a rule that notices it.
var breakages = map[string]string{
	"Get finds what isn't there":         "Get of a key that has no value finds nothing",
	"Get fails":                          "Get of a key that has no value finds nothing",
	"Get returns its own":                "Get returns a copy of the value",
	"values never end":                   "A value whose time is over is found no more",
	"values end at NUL":                  "Get finds what was put, byte for byte",
	"values end at 32 KB":                "Get finds what was put, byte for byte",
	"empty reads as none":                "An empty value is a value",
	"the first value stays":              "A Put replaces the value",
	"the ttl can't grow":                 "A Put replaces the ttl, by a longer one",
	"the ttl can't shrink":               "A Put replaces the ttl, by a shorter one",
	"keys are cut":                       "Keys are kept apart, whatever printable ASCII they have",
	"keys fold case":                     "Keys are kept apart, whatever printable ASCII they have",
	"braces are dropped":                 "Keys are kept apart, whatever printable ASCII they have",
	"Put keeps the caller's":             "Put keeps a copy of the value",
	"Put fails":                          "An empty value is a value",
	"short is forever":                   "A ttl shorter than any clock's tick is no ttl without end",
	"claims never end":                   "A claim whose lease is over is nobody's",
	"a claim reads as a value":           "A claim is no value",
	"a claim hides the value":            "A claim hides no value",
	"a late claim hides the value":       "A claim that ends takes no value with it",
	"a Claim resets the value":           "A claim hides no value",
	"a Claim in vain prolongs":           "A Claim that is turned down does not prolong the claim of the other",
	"nothing renews":                     "Claim by the one that has it renews it",
	"renewing is refused":                "Claim by the one that has it renews it",
	"Claim fails":                        "A claim that nobody has is given",
	"Claim gives to everybody":           "A claim that somebody has is given to nobody else",
	"Claim looks, then acts":             "Of many that claim at the same time one gets it",
	"Claim is for keys without a value":  "A claim hides no value",
	"Release does nothing":               "Release by the one that has the claim gives it back",
	"Release takes anybody's":            "Release by anybody else does nothing",
	"Release takes the value":            "Release by the one that has the claim touches no value",
	"Release fails where there is none":  "Release of what nobody has claimed does nothing, and is no error",
	"Put needs no claim":                 "Put by one that never had a claim stores nothing",
	"Put takes an old lease":             "Put by one whose lease is over stores nothing",
	"Put takes anybody's claim":          "Put by one whose claim another has got since stores nothing, and leaves the other's claim",
	"Put takes what nobody has":          "Put by one that has released its claim stores nothing",
	"Put leaves the claim":               "Put by the one that has the claim takes it away",
	"Put by nobody leaves the claim":     "Put by nobody takes the claim away, whoever has it",
	"Put by nobody minds the claim":      "Put by nobody stores, whoever has the claim",
	"a Put in vain takes the claim away": "Put by one whose claim another has got since stores nothing, and leaves the other's claim",
	"a Put in vain stores":               "Put by one that never had a claim stores nothing",
	"a Put in vain prolongs":             "Put that stores nothing does not prolong the value",
	"done context reads as no: Get":      "With a context that is done no answer is a wrong no",
	"done context reads as no: Claim":    "With a context that is done no answer is a wrong no",
	"done context reads as no: Put":      "With a context that is done no answer is a wrong no",
	"done context reads as no: Release":  "With a context that is done no answer is a wrong no",
}

var _ stytchmigrate.Store = (*model)(nil)

func TestKept(t *testing.T) {
	t.Parallel()
	Run(t, func(*testing.T) stytchmigrate.Store { return newModel("") })
}

// Every breakage is noticed by the rule that names it.
func TestBroken(t *testing.T) {
	t.Parallel()
	for broken, name := range breakages {
		t.Run(broken, func(t *testing.T) {
			t.Parallel()
			for _, r := range rules {
				if r.name == name {
					if r.check(newModel(broken), time.Second) == nil {
						t.Errorf("%q is not noticed by: %s", broken, name)
					}
					return
				}
			}
			t.Errorf("there is no rule %q", name)
		})
	}
}

// No rule is there for nothing: each notices some breakage.
func TestEveryRuleCanFail(t *testing.T) {
	t.Parallel()
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			for broken := range breakages {
				if r.check(newModel(broken), time.Second) != nil {
					return
				}
			}
			t.Error("no breakage fails it")
		})
	}
}
