package redisstore_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/redisstore"
)

// all calls each method, and returns the four errors. It fails where an answer comes
// with one.
func all(t *testing.T, ctx context.Context, s *redisstore.Store, key string) []error {
	t.Helper()
	value, found, get := s.Get(ctx, key)
	claimed, claim := s.Claim(ctx, key, "the-owner", time.Minute)
	stored, put := s.Put(ctx, key, "", []byte("the-value"), time.Minute)
	release := s.Release(ctx, key, "the-owner")
	assert.False(t, get != nil && (found || value != nil) || claim != nil && claimed || put != nil && stored)
	return []error{get, claim, put, release}
}

// texts of errors, none of which holds the key, the owner or the value.
func texts(t *testing.T, errs []error) []string {
	t.Helper()
	var all []string
	for _, err := range errs {
		if err == nil {
			all = append(all, "")
			continue
		}
		for _, secret := range []string{"the-key", "the-owner", "the-value"} {
			assert.NotContains(t, err.Error(), secret)
		}
		all = append(all, err.Error())
	}
	return all
}

// A crash is an error, at once, and what comes back works again.
func TestServerCrashes(t *testing.T) {
	s := startServer(t)
	store := s.store(redis.Options{})
	require.Equal(t, make([]error, 4), all(t, t.Context(), store, "the-key"))

	s.kill()
	begin := time.Now()
	for i, err := range all(t, within(t, 2*time.Second), store, "the-key") {
		assert.ErrorContains(t, err, "redisstore: "+[]string{"get", "claim", "put", "release"}[i]+": ")
	}
	assert.Less(t, time.Since(begin), 3*time.Second)

	s.start()
	require.Eventually(t, func() bool { _, _, err := store.Get(t.Context(), "the-key"); return err == nil }, 10*time.Second, 50*time.Millisecond)
	assert.Equal(t, make([]error, 4), all(t, t.Context(), store, "the-key"), "it has lost the scripts, and is given them again")
}

// A server that hangs costs the time of the context, whatever the client's options.
func TestServerHangs(t *testing.T) {
	s := startServer(t)
	for _, timeouts := range []bool{false, true} {
		store := s.store(redis.Options{ContextTimeoutEnabled: timeouts, ReadTimeout: 3 * time.Second, MaxRetries: -1})
		require.Equal(t, make([]error, 4), all(t, t.Context(), store, "the-key"))
		require.NoError(t, s.cmd.Process.Signal(syscall.SIGSTOP))

		begin := time.Now()
		for _, err := range all(t, within(t, 200*time.Millisecond), store, "the-key") {
			require.Error(t, err)
			if !timeouts { // with them the client may be first to notice
				assert.ErrorIs(t, err, context.DeadlineExceeded)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(100*time.Millisecond, cancel)
		_, err := store.Put(ctx, "the-key", "", []byte("the-value"), time.Minute)
		assert.ErrorIs(t, err, context.Canceled)
		assert.Less(t, time.Since(begin), 1500*time.Millisecond)
		require.NoError(t, s.cmd.Process.Signal(syscall.SIGCONT))
		require.Eventually(t, func() bool { _, _, err := store.Get(t.Context(), "the-key"); return err == nil }, 10*time.Second, 50*time.Millisecond)
	}
}

// As many wait for a server that hangs as there are connections, and no more.
func TestServerHangsManyWait(t *testing.T) {
	s := startServer(t)
	store := s.store(redis.Options{PoolSize: 3, ReadTimeout: time.Second, MaxRetries: -1})
	require.NoError(t, s.cmd.Process.Signal(syscall.SIGSTOP))
	ctx := within(t, 200*time.Millisecond)
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			_, err := store.Claim(ctx, "the-key", "the-owner", time.Minute)
			assert.ErrorIs(t, err, context.DeadlineExceeded)
		})
	}
	wg.Wait()
	assert.LessOrEqual(t, calls(), 3+2, "goroutines of calls; one or two may be just about to end")
	require.NoError(t, s.cmd.Process.Signal(syscall.SIGCONT))
	assert.Eventually(t, func() bool { return calls() == 0 }, 5*time.Second, 20*time.Millisecond)
}

// What a server says in place of an answer is an error.
func TestServerRefuses(t *testing.T) {
	s := startServer(t)
	store := s.store(redis.Options{MaxRetries: -1})
	require.Equal(t, make([]error, 4), all(t, t.Context(), store, "the-key"))

	t.Run("a replica", func(t *testing.T) {
		s.do("replicaof", "127.0.0.1", "1")
		got := texts(t, all(t, t.Context(), store, "the-key"))
		s.do("replicaof", "no", "one")
		for _, text := range got[:3] {
			assert.Contains(t, text, "READONLY")
		}
		assert.Empty(t, got[3], "Release of what nobody has changes nothing")
	})
	t.Run("out of memory", func(t *testing.T) {
		s.do("config", "set", "maxmemory", 1)
		got := texts(t, all(t, t.Context(), store, "the-key"))
		s.do("config", "set", "maxmemory", 0)
		assert.Empty(t, got[0], "reading takes no memory")
		assert.Contains(t, got[1], "OOM")
		assert.Contains(t, got[2], "OOM")
		assert.Empty(t, got[3], "neither does giving back")
	})
	t.Run("another's keys", func(t *testing.T) {
		s.do("del", "stytchmigrate:{the-key}")
		s.do("rpush", "stytchmigrate:{the-key}", "x")
		s.do("rpush", "stytchmigrate:{the-key}:claim", "x")
		got := texts(t, all(t, t.Context(), store, "the-key"))
		s.do("flushall")
		assert.Contains(t, got[0], "WRONGTYPE")
		assert.Contains(t, got[1], "WRONGTYPE")
		assert.Empty(t, got[2], "nobody's Put replaces what is there")
	})
	t.Run("forbidden", func(t *testing.T) {
		s.do("acl", "setuser", "app", "on", ">secret", "~other:*", "+@all", "-getex")
		store := s.store(redis.Options{MaxRetries: -1, Username: "app", Password: "secret"})
		for _, text := range texts(t, all(t, t.Context(), store, "the-key")) {
			assert.Contains(t, text, "NOPERM")
		}
	})
}

// A server without scripts quotes its arguments.
func TestServerWithoutScripts(t *testing.T) {
	s := startServer(t, "--rename-command", "EVALSHA", "", "--rename-command", "GETEX", "")
	for i, text := range texts(t, all(t, t.Context(), s.store(redis.Options{}), "the-key")) {
		assert.Equal(t, "redisstore: "+[]string{"get", "claim", "put", "release"}[i]+": ERR unknown command …", text)
	}
}

// A reply of something that isn't Redis is quoted by the client.
func TestNotRedis(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { echo(c) })
		}
	})
	c := redis.NewClient(&redis.Options{Addr: l.Addr().String(), MaxRetries: -1, Protocol: 2, DisableIdentity: true})
	errs := all(t, t.Context(), redisstore.New(c, ""), "the-key")
	for _, text := range texts(t, errs) {
		assert.Contains(t, text, "can't parse map reply: …")
	}
	require.NoError(t, c.Close())
	require.NoError(t, l.Close())
	wg.Wait()
}

// echo answers the first command by a line that is of no type of Redis's.
func echo(c net.Conn) {
	defer c.Close()
	_, _ = bufio.NewReader(c).ReadString('\n')
	_, _ = io.WriteString(c, "the-value of the-key\r\n")
}

// panicking is a hook with a fault.
type panicking struct{ commands }

func (*panicking) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(context.Context, redis.Cmder) error { panic("the-value") }
}

// A fault in a hook ends no process. Neither does a client that is a nil pointer.
func TestClientPanics(t *testing.T) {
	c := redis.NewClient(&redis.Options{})
	defer c.Close()
	c.AddHook(&panicking{})
	for i, client := range []redis.UniversalClient{c, (*redis.Client)(nil)} {
		for _, text := range texts(t, all(t, t.Context(), redisstore.New(client, ""), "the-key")) {
			assert.Contains(t, text, "the client panicked with a "+[]string{"string", "runtime."}[i])
		}
	}
}
