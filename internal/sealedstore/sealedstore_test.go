package sealedstore_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/internal/redact"
	"example.com/stytchmigrate/internal/sealedstore"
)

// A sealed value opens for its own key, id and sealing key alone.
func TestSeal(t *testing.T) {
	s, _ := newStore(nil)
	other := sealedstore.New("another key", nil, timeout, nil)
	sealed := s.Seal("name", "id", []byte("plain text"))
	plain, err := s.Open("name", "id", sealed)
	require.NoError(t, err)
	assert.Equal(t, "plain text", string(plain))
	assert.NotContains(t, string(sealed), "plain")
	assert.NotEqual(t, sealed, s.Seal("name", "id", []byte("plain text")), "equal values can't be told by their seals")
	open := func(s *sealedstore.Store, key, id string, sealed []byte) error {
		_, err := s.Open(key, redact.Secret(id), sealed)
		return err
	}
	for name, err := range map[string]error{
		"moved to another key":   open(s, "name2", "id", sealed),
		"moved, key run into id": open(s, "namei", "d", sealed),
		"another id":             open(s, "name", "id2", sealed),
		"no id":                  open(s, "name", "", sealed),
		"another sealing key":    open(other, "name", "id", sealed),
		"nothing":                open(s, "name", "id", nil),
		"a version and no more":  open(s, "name", "id", sealed[:1]),
		"cut off":                open(s, "name", "id", sealed[:len(sealed)-1]),
		"longer":                 open(s, "name", "id", append(bytes.Clone(sealed), 0)),
		"plain":                  open(s, "name", "id", []byte("plain text")),
	} {
		assert.Error(t, err, name)
	}
	for i := range sealed {
		forged := bytes.Clone(sealed)
		forged[i] ^= 1
		assert.Error(t, open(s, "name", "id", forged), "byte %d", i)
	}
	for _, version := range []byte{0, 2} {
		assert.ErrorIs(t, open(s, "name", "id", append([]byte{version}, sealed[1:]...)), sealedstore.ErrUnreadable)
	}
}

// A value that an earlier version sealed still opens.
func TestSealStays(t *testing.T) {
	s, _ := newStore(nil)
	sealed, err := hex.DecodeString("016ee9e0da5f3539d870c4d28b0ce16d23d9f4797accd65e88c2bed3b4fd01d8059f77293909d4")
	require.NoError(t, err)
	plain, err := s.Open("name", "id", sealed)
	require.NoError(t, err)
	assert.Equal(t, "plain text", string(plain))
}

// A Store without a Backend answers as if no other machine shared anything.
func TestWithoutBackend(t *testing.T) {
	s, told := newStore(nil)
	ctx := t.Context()
	_, found, err := s.Get(ctx, "k")
	assert.NoError(t, err)
	assert.False(t, found)
	claimed, err := s.Claim(ctx, "k", "a", time.Minute)
	assert.NoError(t, err)
	assert.True(t, claimed)
	stored, err := s.Put(ctx, "k", "a", []byte("v"), time.Minute)
	assert.NoError(t, err)
	assert.True(t, stored)
	s.Release(ctx, "k", "a")
	assert.NoError(t, s.Mark(ctx, "k", time.Minute))
	assert.False(t, s.HasMark(ctx, "k"))
	assert.Empty(t, told.lines)
}

// Each call reaches the Backend with its arguments, and its answer comes back.
func TestWithBackend(t *testing.T) {
	b := newBackend()
	s, told := newStore(b)
	ctx := t.Context()
	claim := func(owner string) bool {
		claimed, err := s.Claim(ctx, "k", owner, time.Minute)
		assert.NoError(t, err)
		return claimed
	}
	put := func(owner string) bool {
		stored, err := s.Put(ctx, "k", owner, []byte("v"), time.Hour)
		assert.NoError(t, err)
		return stored
	}
	_, found, err := s.Get(ctx, "k")
	assert.NoError(t, err)
	assert.False(t, found)
	assert.True(t, claim("a"))
	assert.False(t, claim("b"))
	s.Release(ctx, "k", "a")
	assert.True(t, claim("b"))
	assert.False(t, put("a"))
	assert.True(t, put("b"))
	v, found, err := s.Get(ctx, "k")
	assert.NoError(t, err)
	assert.True(t, found)
	assert.Equal(t, "v", string(v))
	assert.Equal(t, []string{"get k", "claim k a 1m0s", "claim k b 1m0s", "release k a", "claim k b 1m0s", "put k a 1h0m0s", "put k b 1h0m0s", "get k"}, b.calls)
	assert.Empty(t, told.lines)
}

// A mark is one where it was sealed for that key. Another value is reported.
func TestMarks(t *testing.T) {
	for name, row := range map[string]struct {
		change func(b *backend)
		want   bool
		told   []string
	}{
		"a mark":              {func(*backend) {}, true, nil},
		"none":                {func(b *backend) { delete(b.values, "k") }, false, nil},
		"one of another":      {func(b *backend) { b.values["k"] = b.values["k2"] }, false, []string{sealedstore.ErrUnreadable.Error()}},
		"one that is made up": {func(b *backend) { b.values["k"] = []byte{1, 2, 3} }, false, []string{sealedstore.ErrUnreadable.Error()}},
		"empty":               {func(b *backend) { b.values["k"] = nil }, false, []string{sealedstore.ErrUnreadable.Error()}},
		"an outage":           {func(b *backend) { b.before = down }, false, []string{"stytchmigrate: store: get: failed (*errors.errorString)"}},
	} {
		b := newBackend()
		s, told := newStore(b)
		require.NoError(t, s.Mark(t.Context(), "k", time.Hour))
		require.NoError(t, s.Mark(t.Context(), "k2", time.Hour))
		row.change(b)
		assert.Equal(t, row.want, s.HasMark(t.Context(), "k"), name)
		assert.Equal(t, row.told, told.lines, name)
		assert.Equal(t, "put k  1h0m0s", b.calls[0], name)
	}
}

// A client that has left does not keep a logout or a release from reaching the store.
func TestAfterTheClientHasLeft(t *testing.T) {
	b := newBackend()
	b.before = func(ctx context.Context, _ string) error { return ctx.Err() }
	s, told := newStore(b)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.NoError(t, s.Mark(ctx, "k", time.Hour))
	s.Release(ctx, "k", "a")
	assert.Equal(t, []string{"put k  1h0m0s", "release k a"}, b.calls)
	assert.True(t, s.HasMark(t.Context(), "k"))
	assert.Empty(t, told.lines)
}

// A failed Mark is an error: the caller reports that the logout does not hold elsewhere.
func TestMarkFails(t *testing.T) {
	b := newBackend()
	b.before = down
	s, _ := newStore(b)
	assert.EqualError(t, s.Mark(t.Context(), "k", time.Hour), "stytchmigrate: store: put: failed (*errors.errorString)")
}

func TestReportUnreadableOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, told := newStore(nil)
		for _, row := range []struct {
			after time.Duration
			total int
		}{{0, 1}, {0, 1}, {time.Minute - 1, 1}, {1, 2}, {time.Minute - 1, 2}} {
			time.Sleep(row.after)
			s.ReportUnreadable()
			assert.Len(t, told.lines, row.total)
		}
	})
}
