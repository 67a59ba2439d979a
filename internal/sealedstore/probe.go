package sealedstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"reflect"
	"time"
)

// probe is what Check does to a Store: once all that the records ask of it,
// under a key of its own, which is left to run out.
type probe struct {
	store Backend
	key   string
	value []byte
	ttl   time.Duration
}

// Probe says what is wrong with a Store, or "". It goes around the breaker of
// the Store in use, which must not open because of it. Each call has the time that
// it has there: a Store that is slower is as good as down.
func Probe(ctx context.Context, store Backend, timeout time.Duration) string {
	s := &guarded{backend: store, timeout: timeout / 10}
	p := probe{store, "stytchmigrate-check-" + rand.Text(), []byte(rand.Text()), timeout + time.Minute}
	ok := func(r reply) bool { return r.ok }
	not := func(r reply) bool { return !r.ok }
	for _, step := range []struct {
		op    string
		do    func(context.Context) (reply, error)
		good  func(reply) bool
		wrong string
	}{
		{"Get", p.get, not, "Get finds a value that nobody put"},
		{"Put", p.put, ok, "Put without an owner does not store"},
		{"Get", p.get, func(r reply) bool { return r.ok && bytes.Equal(r.value, p.value) }, "Get does not find what was put"},
		{"Claim", p.claim("a"), ok, "Claim refuses what nobody has"},
		{"Claim", p.claim("b"), not, "Claim gives two owners the same"},
		{"Release", p.release("a"), ok, ""},
		{"Claim", p.claim("b"), ok, "Release does not give a claim back"},
		{"Release", p.release("b"), ok, ""},
	} {
		switch r, err := s.withTimeout(ctx, step.do); {
		case err != nil:
			return fmt.Sprintf("%s %s%s", step.op, Reason(err), nilPointer(store))
		case !step.good(r):
			return step.wrong
		}
	}
	return ""
}

func (p *probe) get(ctx context.Context) (r reply, err error) {
	r.value, r.ok, err = p.store.Get(ctx, p.key)
	return r, err
}

func (p *probe) put(ctx context.Context) (r reply, err error) {
	r.ok, err = p.store.Put(ctx, p.key, "", p.value, p.ttl)
	return r, err
}

func (p *probe) claim(owner string) func(context.Context) (reply, error) {
	return func(ctx context.Context) (r reply, err error) {
		r.ok, err = p.store.Claim(ctx, p.key, owner, p.ttl)
		return r, err
	}
}

func (p *probe) release(owner string) func(context.Context) (reply, error) {
	return func(ctx context.Context) (reply, error) {
		return reply{ok: true}, p.store.Release(ctx, p.key, owner)
	}
}

// nilPointer tells of an interface that is not nil, though the Store in it is.
func nilPointer(store Backend) string {
	if v := reflect.ValueOf(store); v.Kind() == reflect.Pointer && v.IsNil() {
		return fmt.Sprintf(", for it is a nil %T", store)
	}
	return ""
}
