package redisstore_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/redisstore"
)

// startCluster starts three masters and, after them, their three replicas. A master
// that does not answer for a second is replaced; the other masters go on meanwhile.
func startCluster(t *testing.T) []*server {
	t.Helper()
	var all []*server
	for i := range 6 {
		s := startServer(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-require-full-coverage", "no", "--repl-diskless-sync-delay", "0")
		if all = append(all, s); i < 3 {
			s.do("cluster", "addslotsrange", i*5462, min(i*5462+5461, 16383))
		}
	}
	for _, s := range all[1:] {
		host, port, err := net.SplitHostPort(s.addr)
		require.NoError(t, err)
		all[0].do("cluster", "meet", host, port)
	}
	knows := func(n int) func() bool {
		return func() bool {
			for _, s := range all {
				nodes := s.client(redis.Options{}).ClusterNodes(t.Context()).Val()
				if strings.Count(nodes, " connected") != 6 || strings.Count(nodes, "slave") != n || strings.Contains(nodes, "handshake") {
					return false
				}
			}
			return true
		}
	}
	require.Eventually(t, knows(0), 20*time.Second, 100*time.Millisecond)
	for i, s := range all[3:] {
		id, err := all[i].client(redis.Options{}).ClusterMyID(t.Context()).Result()
		require.NoError(t, err)
		s.do("cluster", "replicate", id)
	}
	require.Eventually(t, knows(3), 20*time.Second, 100*time.Millisecond)
	for i, s := range all[3:] {
		require.Eventually(t, func() bool { return isUp(s, "slave") }, 20*time.Second, 50*time.Millisecond)
		require.Eventually(t, func() bool { return clusterIsUp(all[i]) && clusterIsUp(s) }, 20*time.Second, 50*time.Millisecond)
	}
	return all
}

// isUp reports whether a server has the role, and a replica its master's data.
func isUp(s *server, role string) bool {
	info := s.client(redis.Options{}).Info(context.Background(), "replication").Val()
	return strings.Contains(info, "role:"+role) && (role == "master" || strings.Contains(info, "master_link_status:up"))
}

func clusterIsUp(s *server) bool {
	return strings.Contains(s.client(redis.Options{}).ClusterInfo(context.Background()).Val(), "cluster_state:ok")
}

// allWork reports whether each of sixty keys can be read and claimed, in the time that a
// store has for a call by default. It returns at the first key that can't be.
func allWork(t *testing.T, store *redisstore.Store) bool {
	t.Helper()
	for i := range 60 {
		key, owner := fmt.Sprint("key", i), "one"
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		_, _, get := store.Get(ctx, key)
		_, claim := store.Claim(ctx, key, owner, time.Minute)
		cancel()
		if get != nil || claim != nil {
			return false
		}
	}
	return true
}

// A master crashes, or falls silent. A third of the keys can't be reached until the
// cluster has a new master for them, and shortly after that all can be. Without a reload
// of the client's state it would take a minute.
func TestMasterOfAClusterFails(t *testing.T) {
	for name, fail := range map[string]func(s *server){
		"crash":   func(s *server) { s.kill() },
		"silence": func(s *server) { require.NoError(t, s.cmd.Process.Signal(syscall.SIGSTOP)) },
	} {
		t.Run(name, func(t *testing.T) {
			all := startCluster(t)
			c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{all[0].addr, all[2].addr}})
			t.Cleanup(func() { _ = c.Close() })
			store := redisstore.New(c, "")
			require.True(t, allWork(t, store))

			began := time.Now()
			fail(all[1])
			_, _, err := store.Get(within(t, 500*time.Millisecond), keyOf(t, c, all[1].addr))
			require.Error(t, err)
			require.Eventually(t, func() bool { return isUp(all[4], "master") }, 20*time.Second, 20*time.Millisecond)
			failedOver := time.Since(began)
			require.Eventually(t, func() bool { return allWork(t, store) }, 30*time.Second, 20*time.Millisecond)
			t.Logf("a new master after %v, every key after %v", failedOver.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
			assert.Less(t, time.Since(began)-failedOver, 10*time.Second)
		})
	}
}

// keyOf returns a key that a master has.
func keyOf(t *testing.T, c *redis.ClusterClient, addr string) string {
	t.Helper()
	for i := range 60 {
		key := fmt.Sprint("key", i)
		master, err := c.MasterForKey(t.Context(), redisstore.DefaultPrefix+"{"+key+"}")
		require.NoError(t, err)
		if master.Options().Addr == addr {
			return key
		}
	}
	t.Fatal("no key is there")
	return ""
}
