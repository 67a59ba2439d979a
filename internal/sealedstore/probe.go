package sealedstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"reflect"
	"time"
)

// Probe makes each kind of call that this module makes of a Backend once, under a key of
// its own that expires. It returns what is wrong with the Backend, or "".
//
// Probe does not use the circuit breaker of the Backend in use: that must not open because
// of it. Each call has the time that it has in use, a tenth of timeout: a slower Backend
// is as good as down.
func Probe(ctx context.Context, b Backend, timeout time.Duration) string {
	p := probe{b, "stytchmigrate-check-" + rand.Text(), []byte(rand.Text()), timeout + time.Minute}
	isOK := func(r reply) bool { return r.ok }
	isNotOK := func(r reply) bool { return !r.ok }
	for _, step := range []struct {
		op      string
		call    func(context.Context) (reply, error)
		isRight func(reply) bool
		problem string
	}{
		{"Get", p.get, isNotOK, "Get finds a value that nobody put"},
		{"Put", p.put, isOK, "Put without an owner does not store"},
		{"Get", p.get, func(r reply) bool { return r.ok && bytes.Equal(r.value, p.value) }, "Get does not find what was put"},
		{"Claim", p.claim("a"), isOK, "Claim refuses what nobody has"},
		{"Claim", p.claim("b"), isNotOK, "Claim gives two owners the same"},
		{"Release", p.release("a"), isOK, ""},
		{"Claim", p.claim("b"), isOK, "Release does not give a claim back"},
		{"Release", p.release("b"), isOK, ""},
	} {
		switch r, err := callWithin(ctx, timeout/10, step.call); {
		case err != nil:
			if f := (*failure)(nil); errors.As(err, &f) && f.isVouched {
				return fmt.Sprintf("%s failed: %s", step.op, f.text)
			}
			return fmt.Sprintf("%s %s%s", step.op, reason(err), nilPointer(b))
		case !step.isRight(r):
			return step.problem
		}
	}
	return ""
}

// probe holds the arguments of Probe's calls.
type probe struct {
	backend Backend
	key     string
	value   []byte
	ttl     time.Duration
}

func (p *probe) get(ctx context.Context) (r reply, err error) {
	r.value, r.ok, err = p.backend.Get(ctx, p.key)
	return r, err
}

func (p *probe) put(ctx context.Context) (r reply, err error) {
	r.ok, err = p.backend.Put(ctx, p.key, "", p.value, p.ttl)
	return r, err
}

func (p *probe) claim(owner string) func(context.Context) (reply, error) {
	return func(ctx context.Context) (r reply, err error) {
		r.ok, err = p.backend.Claim(ctx, p.key, owner, p.ttl)
		return r, err
	}
}

func (p *probe) release(owner string) func(context.Context) (reply, error) {
	return func(ctx context.Context) (reply, error) {
		return reply{ok: true}, p.backend.Release(ctx, p.key, owner)
	}
}

// nilPointer explains a panic of a Backend that holds a nil pointer: as an interface it
// is not nil, and so New took it.
func nilPointer(b Backend) string {
	if v := reflect.ValueOf(b); v.Kind() == reflect.Pointer && v.IsNil() {
		return fmt.Sprintf(", for it is a nil %T", b)
	}
	return ""
}
