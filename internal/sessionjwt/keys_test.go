package sessionjwt_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/internal/sessionjwt"
)

// hang is an endpoint that answers nothing, until the fetch's context ends.
func hang(ctx context.Context) ([]byte, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func down(context.Context) ([]byte, error) { return nil, errors.New("connection refused") }

// oneSet serves the project's key under some kids.
func oneSet(t *testing.T, kids ...string) []byte {
	t.Helper()
	var keys []object
	for _, kid := range kids {
		keys = append(keys, jwk(kid, &projectKey().PublicKey))
	}
	return keySet(t, keys...)
}

// ask asks for a key, and returns how long that took.
func ask(t *testing.T, keys *sessionjwt.Keys, kid string) (time.Duration, error) {
	t.Helper()
	start := time.Now()
	key, err := keys.Key(t.Context(), kid)
	assert.Equal(t, err == nil, key != nil)
	return time.Since(start), err
}

// wantKey wants an answer that doesn't wait.
func wantKey(t *testing.T, keys *sessionjwt.Keys, kid string, want error) {
	t.Helper()
	took, err := ask(t, keys, kid)
	assert.ErrorIs(t, err, want)
	assert.Zero(t, took)
}

func TestKeysAreFetchedWhenFirstNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serving(t)
		keys := sessionjwt.NewKeys(s.fetch, nil)
		synctest.Wait()
		assert.Zero(t, s.fetches.Load())
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { wantKey(t, keys, keyID, nil) })
		}
		wg.Wait()
		assert.EqualValues(t, 1, s.fetches.Load())
	})
}

// Without a key set rubbish is refused all the same; of the rest nothing can be
// said. The endpoint is tried after 1, 2, 4, … seconds, 60 at most.
func TestEndpointIsDownFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stytch{}
		s.be(down)
		v := verifier(s)
		for _, pause := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
			before := s.fetches.Load()
			for _, wait := range []time.Duration{0, pause*time.Second - 1} {
				time.Sleep(wait)
				_, err := v.Verify(t.Context(), token(t, asIs))
				assert.ErrorIs(t, err, noKeys)
				assert.NotErrorIs(t, err, refused)
				assert.Equal(t, before+1, s.fetches.Load())
			}
			time.Sleep(time.Nanosecond)
		}
		_, err := v.Verify(t.Context(), "a.b.c")
		assert.ErrorIs(t, err, refused)
		_, err = v.Verify(t.Context(), token(t, with("aud", "x")))
		assert.ErrorIs(t, err, refused)
		_, err = v.Verify(t.Context(), token(t, with("exp", in(-time.Hour))))
		assert.ErrorIs(t, err, noKeys, "expired, but whose?")

		s.serve(oneSet(t, keyID))
		time.Sleep(time.Minute)
		_, err = v.Verify(t.Context(), token(t, asIs))
		assert.NoError(t, err)
		_, err = v.Verify(t.Context(), withHeader(t, with("kid", "unknown")))
		assert.ErrorIs(t, err, refused, "what failed before is forgotten")
	})
}

func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stytch{}
		s.serve(oneSet(t, "old"))
		keys := sessionjwt.NewKeys(s.fetch, nil)
		wantKey(t, keys, "old", nil)
		wantKey(t, keys, "new", refused) // within the minute: as good as known
		s.serve(oneSet(t, "new"))
		time.Sleep(time.Minute - 1)
		wantKey(t, keys, "new", refused)
		assert.EqualValues(t, 1, s.fetches.Load())
		time.Sleep(time.Nanosecond)
		wantKey(t, keys, "new", nil)
		assert.EqualValues(t, 2, s.fetches.Load())
		wantKey(t, keys, "old", refused) // it went with the refresh
		assert.EqualValues(t, 2, s.fetches.Load())
	})
}

// A key that was withdrawn is noticed an hour later, though no token asks for
// one that is unknown.
func TestWithdrawnKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stytch{}
		s.serve(oneSet(t, "good", "leaked"))
		keys := sessionjwt.NewKeys(s.fetch, nil)
		wantKey(t, keys, "leaked", nil)
		s.serve(oneSet(t, "good"))
		time.Sleep(time.Hour - 1)
		wantKey(t, keys, "leaked", nil)
		synctest.Wait()
		assert.EqualValues(t, 1, s.fetches.Load())
		time.Sleep(time.Nanosecond)
		wantKey(t, keys, "good", nil) // this use starts the refresh, and doesn't wait
		synctest.Wait()
		assert.EqualValues(t, 2, s.fetches.Load())
		wantKey(t, keys, "leaked", refused)
		wantKey(t, keys, "good", nil)
		assert.EqualValues(t, 2, s.fetches.Load())
	})
}

// What the endpoint answers to the refresh of a good set.
func TestNoAnswerLosesTheSet(t *testing.T) {
	twins := keySet(t, jwk(keyID, &projectKey().PublicKey), jwk(keyID, &otherKey().PublicKey))
	for name, bad := range map[string]endpoint{
		"down": down, "silent": hang, "nothing": serves(nil), "{}": serves([]byte("{}")),
		"no keys": serves(keySet(t)), "EC only": serves(keySet(t, ecKey)), "HTML": serves([]byte("<html>")),
		"one kid for two keys": serves(twins), "10 MiB": serves(make([]byte, 10<<20)),
		"panic": func(context.Context) ([]byte, error) { panic("boom") },
		"exit":  func(context.Context) ([]byte, error) { runtime.Goexit(); return nil, nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := serving(t)
				keys := sessionjwt.NewKeys(s.fetch, nil)
				wantKey(t, keys, keyID, nil)
				s.be(bad)
				for range 48 { // two days
					time.Sleep(time.Hour)
					wantKey(t, keys, keyID, nil)
				}
				time.Sleep(2 * time.Minute) // more than a silent fetch and the pause after it
				assert.EqualValues(t, 49, s.fetches.Load())
				_, err := ask(t, keys, "unknown")
				assert.ErrorIs(t, err, noKeys, "the set may have changed since")
				assert.NotErrorIs(t, err, refused)
				time.Sleep(2 * time.Minute)
				wantKey(t, keys, keyID, nil)
				time.Sleep(2 * time.Minute)
				s.serve(oneSet(t, "new"))
				wantKey(t, keys, "new", nil)
			})
		})
	}
}

// 5000 tokens a second that name keys which don't exist, for three minutes.
func TestFloodOfUnknownKids(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serving(t)
		keys := sessionjwt.NewKeys(s.fetch, nil)
		wantKey(t, keys, keyID, nil)
		for i := range 180 * 50 {
			time.Sleep(20 * time.Millisecond)
			wantKey(t, keys, fmt.Sprint("unknown ", i), refused)
			for range 99 {
				_, _ = keys.Key(t.Context(), "unknown")
			}
		}
		wantKey(t, keys, keyID, nil)
		assert.EqualValues(t, 4, s.fetches.Load(), "one, and one a minute")
	})
}

// Who asks for an unknown key while the endpoint is silent waits two seconds,
// however many they are, and nobody else waits at all.
func TestSilentEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serving(t)
		keys := sessionjwt.NewKeys(s.fetch, nil)
		wantKey(t, keys, keyID, nil)
		time.Sleep(time.Minute)
		s.be(hang)
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				took, err := ask(t, keys, "unknown")
				assert.ErrorIs(t, err, noKeys)
				assert.Equal(t, 2*time.Second, took)
			})
		}
		synctest.Wait() // all of them wait
		wantKey(t, keys, keyID, nil)
		wg.Wait()
		wantKey(t, keys, keyID, nil)
		assert.EqualValues(t, 2, s.fetches.Load())

		time.Sleep(8 * time.Second) // the fetch ends at ten
		synctest.Wait()
		wantKey(t, keys, "unknown", noKeys)
		assert.EqualValues(t, 2, s.fetches.Load())
	})
}

var errGone = errors.New("the client went away")

func TestWaitingEndsWithTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serving(t)
		good := serves(oneSet(t, keyID))
		s.be(func(ctx context.Context) ([]byte, error) {
			time.Sleep(time.Second)
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			return good(ctx)
		})
		keys := sessionjwt.NewKeys(s.fetch, nil)

		gone, leave := context.WithCancelCause(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { // the first, who starts the fetch
			start := time.Now()
			_, err := keys.Key(gone, keyID)
			assert.ErrorIs(t, err, noKeys)
			assert.ErrorIs(t, err, errGone)
			assert.Equal(t, 500*time.Millisecond, time.Since(start))
		})
		synctest.Wait()
		for range 99 {
			wg.Go(func() {
				took, err := ask(t, keys, keyID)
				assert.NoError(t, err)
				assert.Equal(t, time.Second, took)
			})
		}
		time.Sleep(500 * time.Millisecond)
		leave(errGone)
		wg.Wait()
		assert.EqualValues(t, 1, s.fetches.Load())
	})
}

type ctxKey struct{}

func TestFetchHasItsOwnDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var left time.Duration
		s := serving(t)
		good := serves(oneSet(t, keyID))
		s.be(func(ctx context.Context) ([]byte, error) {
			deadline, _ := ctx.Deadline()
			left = time.Until(deadline)
			assert.Equal(t, "trace", ctx.Value(ctxKey{}))
			return good(ctx)
		})
		ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), ctxKey{}, "trace"), time.Second)
		defer cancel()
		_, err := sessionjwt.NewKeys(s.fetch, nil).Key(ctx, keyID)
		require.NoError(t, err)
		assert.Equal(t, 10*time.Second, left)
	})
}

func TestFetchesAreReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type report struct {
			failed bool
			keys   int
		}
		var got []report
		s := serving(t)
		var keys *sessionjwt.Keys
		keys = sessionjwt.NewKeys(s.fetch, func(err error, n int) {
			got = append(got, report{err != nil, n})
			_, _ = keys.Key(context.Background(), "unknown") // no lock is held
			panic("boom")
		})
		fetch := func(e endpoint) {
			s.be(e)
			time.Sleep(time.Minute)
			_, _ = keys.Key(t.Context(), "unknown")
			synctest.Wait()
		}
		good := serves(oneSet(t, keyID))
		fetch(good)
		fetch(down)
		fetch(func(context.Context) ([]byte, error) { panic("boom") })
		fetch(serves(keySet(t, ecKey)))
		fetch(good)
		assert.Equal(t, []report{{false, 1}, {true, 0}, {true, 0}, {true, 0}, {false, 1}}, got)
		wantKey(t, keys, keyID, nil)
	})
}

// A fetch that ends between a request's two looks at the set must not make it
// believe that the set lacks the key. This needs real parallelism.
func TestNobodyMissesTheSet(t *testing.T) {
	set := oneSet(t, keyID)
	for range 2000 {
		s := &stytch{}
		s.serve(set)
		keys := sessionjwt.NewKeys(s.fetch, nil)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				_, err := keys.Key(t.Context(), keyID)
				assert.NoError(t, err)
			})
		}
		wg.Wait()
		assert.EqualValues(t, 1, s.fetches.Load())
	}
}
