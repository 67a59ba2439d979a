package redisstore_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/redisstore"
	"example.com/stytchmigrate/storetest"
)

// conform runs the tests of the contract against a store on client.
func conform(t *testing.T, client redis.UniversalClient) {
	store := redisstore.New(client, "")
	storetest.Run(t, func(*testing.T) stytchmigrate.Store { return store })
}

func TestServer(t *testing.T) { conform(t, startServer(t).client(redis.Options{})) }

// A server that is elsewhere, if one is named: a Valkey, or one of several machines.
func TestServerElsewhere(t *testing.T) {
	if demand == "" || demand == "required" {
		t.Skip("STYTCHMIGRATE_REDIS names no server")
	}
	c := redis.NewUniversalClient(&redis.UniversalOptions{Addrs: []string{demand}})
	t.Cleanup(func() { _ = c.Close() })
	conform(t, c)
}

// In a cluster a script with keys of two slots is an error.
func TestCluster(t *testing.T) {
	s := startServer(t, "--cluster-enabled", "yes")
	s.do("cluster", "addslotsrange", 0, 16383)
	c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{s.addr}})
	t.Cleanup(func() { _ = c.Close() })
	require.Eventually(t, func() bool { return c.Set(t.Context(), "up", "", time.Second).Err() == nil }, 10*time.Second, 20*time.Millisecond)
	conform(t, c)
}

func TestRing(t *testing.T) {
	a, b := startServer(t), startServer(t)
	c := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": a.addr, "b": b.addr}})
	t.Cleanup(func() { _ = c.Close() })
	conform(t, c)
}

// miniStore is on a server inside the test, whose clock goes when it is told.
type miniStore struct {
	*redisstore.Store
	server *miniredis.Miniredis
}

func (s miniStore) Sleep(d time.Duration) { s.server.FastForward(d) }

// Where there is no redis-server, this is still there.
func TestMiniredis(t *testing.T) {
	t.Log("against miniredis; TestServer is against a redis-server")
	storetest.Run(t, func(t *testing.T) stytchmigrate.Store {
		m := miniredis.RunT(t)
		c := redis.NewClient(&redis.Options{Addr: m.Addr()})
		t.Cleanup(func() { _ = c.Close() })
		return miniStore{redisstore.New(c, ""), m}
	})
}

// Whatever is in Redis has a time to live, and is under the prefix. How long is
// rounded up.
func TestKeys(t *testing.T) {
	m := miniredis.RunT(t)
	c := redis.NewClient(&redis.Options{Addr: m.Addr()})
	t.Cleanup(func() { _ = c.Close() })
	for prefix, want := range map[string]string{"": "stytchmigrate:", "app:": "app:"} {
		m.FlushAll()
		s := redisstore.New(c, prefix)
		_, err := s.Claim(t.Context(), "k}{%", "one", 1500*time.Microsecond)
		require.NoError(t, err)
		_, err = s.Put(t.Context(), "value", "", []byte("v"), time.Nanosecond)
		require.NoError(t, err)
		_, err = s.Put(t.Context(), "years", "", []byte("v"), 400*24*time.Hour)
		require.NoError(t, err)
		_, err = s.Put(t.Context(), "past", "", []byte("v"), -time.Hour)
		require.NoError(t, err)

		assert.ElementsMatch(t, []string{want + "{k%7D%7B%25}:claim", want + "{value}", want + "{years}", want + "{past}"}, m.Keys())
		assert.Equal(t, 2*time.Millisecond, m.TTL(want+"{k%7D%7B%25}:claim"))
		assert.Equal(t, time.Millisecond, m.TTL(want+"{value}"))
		assert.Equal(t, 400*24*time.Hour, m.TTL(want+"{years}"))
		assert.Equal(t, time.Millisecond, m.TTL(want+"{past}"))

		_, found, err := s.Get(t.Context(), "years")
		require.NoError(t, err)
		require.True(t, found)
		assert.Equal(t, 400*24*time.Hour, m.TTL(want+"{years}"), "Get changes no time to live")
	}
}

func TestNewPanics(t *testing.T) {
	assert.Panics(t, func() { redisstore.New(nil, "") })
	c := redis.NewClient(&redis.Options{})
	defer c.Close()
	for _, prefix := range []string{"{}", "{app}:", "app}"} {
		assert.Panics(t, func() { redisstore.New(c, prefix) }, prefix)
	}
}

// commands is a hook that keeps the names of what the client is asked, and fails.
type commands struct{ names []string }

func (c *commands) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *commands) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (c *commands) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(_ context.Context, cmd redis.Cmder) error {
		c.names = append(c.names, cmd.Name())
		cmd.SetErr(errors.New("stopped here"))
		return cmd.Err()
	}
}

// A client that may read from replicas, or from memory, sends none of these there.
func TestGetIsOfTheMaster(t *testing.T) {
	s := startServer(t)
	hook := &commands{}
	c := s.client(redis.Options{})
	c.AddHook(hook)
	_, _, err := redisstore.New(c, "").Get(t.Context(), "key")
	require.EqualError(t, err, "redisstore: get: stopped here")
	require.Equal(t, []string{"getex"}, hook.names)
	info, err := s.client(redis.Options{}).Command(t.Context()).Result()
	require.NoError(t, err)
	assert.False(t, info["getex"].ReadOnly, "a command for replicas")
	assert.False(t, info["evalsha"].ReadOnly, "a command for replicas")
}
