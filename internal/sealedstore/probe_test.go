package sealedstore_test

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/sealedstore"
)

// amnesic keeps no value.
type amnesic struct{ *backend }

func (amnesic) Get(context.Context, string) ([]byte, bool, error) { return nil, false, nil }

// garbling keeps another value than it was given.
type garbling struct{ *backend }

func (g garbling) Put(ctx context.Context, key, owner string, v []byte, ttl time.Duration) (bool, error) {
	return g.backend.Put(ctx, key, owner, append(v, 0), ttl)
}

// haunted finds a value under every key.
type haunted struct{ *backend }

func (haunted) Get(context.Context, string) ([]byte, bool, error) { return []byte("canary"), true, nil }

// readOnly stores nothing.
type readOnly struct{ *backend }

func (readOnly) Put(context.Context, string, string, []byte, time.Duration) (bool, error) {
	return false, nil
}

// generous gives everyone every claim.
type generous struct{ *backend }

func (generous) Claim(context.Context, string, string, time.Duration) (bool, error) { return true, nil }

// refusing gives no one a claim.
type refusing struct{ *backend }

func (refusing) Claim(context.Context, string, string, time.Duration) (bool, error) {
	return false, nil
}

// keeping takes no claim back.
type keeping struct{ *backend }

func (keeping) Release(context.Context, string, string) error { return nil }

func doing(does func(ctx context.Context, op string) error) *backend {
	b := newBackend()
	b.before = does
	return b
}

// only does something in one kind of call.
func only(op string, does func(context.Context, string) error) *backend {
	return doing(func(ctx context.Context, now string) error {
		if now != op {
			return nil
		}
		return does(ctx, now)
	})
}

func takes(d time.Duration) func(context.Context, string) error {
	return func(context.Context, string) error { time.Sleep(d); return nil }
}

// Each row is a Backend, and what Probe finds in two seconds, of which a call has a tenth.
func TestProbe(t *testing.T) {
	for name, row := range map[string]struct {
		backend sealedstore.Backend
		want    string
	}{
		"right":             {newBackend(), ""},
		"as slow as may be": {doing(takes(200*time.Millisecond - 1)), ""},
		"too slow":          {doing(takes(201 * time.Millisecond)), "Get timed out"},
		"slow to put":       {only("put", takes(time.Minute)), "Put timed out"},
		"down":              {doing(down), "Get failed (*errors.errorString)"},
		"no claims":         {only("claim", down), "Claim failed (*errors.errorString)"},
		"no release":        {only("release", down), "Release failed (*errors.errorString)"},
		"panics":            {doing(func(context.Context, string) error { panic("canary") }), "Get panicked (string)"},
		"exits":             {doing(func(context.Context, string) error { runtime.Goexit(); return nil }), "Get left by runtime.Goexit"},
		"a nil pointer":     {(*backend)(nil), "Get panicked (runtime.errorString), for it is a nil *sealedstore_test.backend"},
		"keeps no value":    {amnesic{newBackend()}, "Get does not find what was put"},
		"another value":     {garbling{newBackend()}, "Get does not find what was put"},
		"finds too much":    {haunted{newBackend()}, "Get finds a value that nobody put"},
		"stores nothing":    {readOnly{newBackend()}, "Put without an owner does not store"},
		"gives all claims":  {generous{newBackend()}, "Claim gives two owners the same"},
		"gives no claims":   {refusing{newBackend()}, "Claim refuses what nobody has"},
		"keeps claims":      {keeping{newBackend()}, "Release does not give a claim back"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				assert.Equal(t, row.want, sealedstore.Probe(t.Context(), row.backend, 2*time.Second))
				time.Sleep(time.Hour) // for calls that Probe does not wait for
			})
		})
	}
}

// Probe leaves no claim behind, and a value that expires soon, under a key of its own.
func TestProbeLeavesLittle(t *testing.T) {
	b := newBackend()
	assert.Empty(t, sealedstore.Probe(t.Context(), b, 2*time.Second))
	assert.Empty(t, sealedstore.Probe(t.Context(), b, 2*time.Second))
	assert.Empty(t, b.owners)
	assert.Len(t, b.values, 2)
	for key := range b.values {
		assert.True(t, strings.HasPrefix(key, "stytchmigrate-check-"), key)
	}
	assert.Len(t, b.calls, 16)
	assert.True(t, strings.HasSuffix(b.calls[1], "  1m2s"), b.calls[1])
	assert.True(t, strings.HasSuffix(b.calls[3], " a 1m2s"), b.calls[3])
}
