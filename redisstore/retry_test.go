package redisstore_test

import (
	"bytes"
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/redisstore"
)

// lossy makes connections of which some lose a reply.
type lossy struct {
	lose atomic.Int64  // as many replies to a script are lost, and the connection with each
	lost atomic.Int64  // so many were
	then func(n int64) // called after the n-th, if set: before the client tries again
}

func (l *lossy) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, addr)
	return &lossyConn{Conn: c, lossy: l}, err
}

type lossyConn struct {
	net.Conn
	*lossy
	script bool // what was written last runs one
}

func (c *lossyConn) Write(p []byte) (int, error) {
	c.script = bytes.Contains(p, []byte("evalsha"))
	return c.Conn.Write(p)
}

func (c *lossyConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p) // the server has done it
	if err != nil || !c.script || c.lose.Add(-1) < 0 {
		return n, err
	}
	lost := c.lost.Add(1)
	if c.then != nil {
		c.then(lost)
	}
	_ = c.Close()
	return 0, net.ErrClosed
}

// lossyStore returns a store whose scripts the server knows, so that what is lost
// is no NOSCRIPT.
func lossyStore(t *testing.T, s *server, o redis.Options) (*redisstore.Store, *lossy) {
	warm := s.store(redis.Options{})
	_, err := warm.Claim(t.Context(), "warm", "one", time.Minute)
	require.NoError(t, err)
	_, err = warm.Put(t.Context(), "warm", "one", []byte("value"), time.Minute)
	require.NoError(t, err)
	require.NoError(t, warm.Release(t.Context(), "warm", "one"))
	l := &lossy{}
	o.Dialer = l.dial
	return s.store(o), l
}

// What has run, but whose reply is lost, is tried again by the client, and has the
// answer of the first time.
func TestRepliesLost(t *testing.T) {
	s := startServer(t)
	for _, lose := range []int64{1, 2} {
		store, l := lossyStore(t, s, redis.Options{})
		other := s.store(redis.Options{})
		lost := func(answer bool, err error) {
			t.Helper()
			require.NoError(t, err)
			assert.True(t, answer)
			require.Equal(t, lose, l.lost.Swap(0))
		}
		l.lose.Store(lose)
		lost(store.Claim(t.Context(), "key", "one", time.Minute))
		l.lose.Store(lose)
		lost(store.Put(t.Context(), "key", "one", []byte("\x00value"), time.Minute))

		claimed, err := other.Claim(t.Context(), "key", "two", time.Minute)
		require.NoError(t, err)
		assert.True(t, claimed, "a Put that ran twice has taken the claim away")
		l.lose.Store(lose)
		lost(true, store.Release(t.Context(), "key", "one"))
		claimed, err = other.Claim(t.Context(), "key", "three", time.Minute)
		require.NoError(t, err)
		assert.False(t, claimed, "a Release that ran twice leaves the claim of another")
		l.lose.Store(lose)
		lost(store.Put(t.Context(), "key", "", []byte("ended"), time.Minute))
	}
}

// A Put that was stored, and was not told, is stored, though another has the claim
// by now. One whose value another has replaced since is not.
func TestReplyOfPutLostAndOvertaken(t *testing.T) {
	s := startServer(t)
	store, l := lossyStore(t, s, redis.Options{})
	other := s.store(redis.Options{})
	put := func() bool {
		t.Helper()
		_, err := store.Claim(t.Context(), "key", "one", time.Minute)
		require.NoError(t, err)
		l.lose.Store(1)
		stored, err := store.Put(t.Context(), "key", "one", []byte("mine"), time.Minute)
		require.NoError(t, err)
		return stored
	}
	l.then = func(int64) {
		claimed, err := other.Claim(context.Background(), "key", "two", time.Minute)
		assert.NoError(t, err)
		assert.True(t, claimed)
	}
	assert.True(t, put())
	require.NoError(t, other.Release(t.Context(), "key", "two"))

	l.then = func(int64) {
		_, err := other.Put(context.Background(), "key", "", []byte("ended"), time.Minute)
		assert.NoError(t, err)
	}
	assert.False(t, put())
	value, _, err := other.Get(t.Context(), "key")
	require.NoError(t, err)
	assert.Equal(t, "ended", string(value))
}

// Where the client doesn't try again it can't tell.
func TestReplyLostForGood(t *testing.T) {
	store, l := lossyStore(t, startServer(t), redis.Options{MaxRetries: -1})
	l.lose.Store(1)
	claimed, err := store.Claim(t.Context(), "key", "one", time.Minute)
	require.ErrorContains(t, err, "redisstore: claim: ")
	assert.ErrorIs(t, err, net.ErrClosed)
	assert.False(t, claimed)
}
