package redisstore_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/redisstore"
)

// documented returns the ACL SETUSER command of a section of the doc comment of Store,
// by a word that is in it.
func documented(t *testing.T, word string) []any {
	t.Helper()
	source, err := os.ReadFile("redisstore.go")
	require.NoError(t, err)
	for _, line := range regexp.MustCompile(`(?m)^//\tACL SETUSER (.*)$`).FindAllStringSubmatch(string(source), -1) {
		if strings.Contains(line[1], word) {
			args := []any{"acl", "setuser"}
			for _, rule := range strings.Fields(line[1]) {
				args = append(args, rule)
			}
			return args
		}
	}
	t.Fatal("the doc comment has no such line: " + word)
	return nil
}

// clean fails if a server has refused a user something.
func clean(t *testing.T, s *server) {
	t.Helper()
	log, err := s.client(redis.Options{}).ACLLog(t.Context(), 100).Result()
	require.NoError(t, err)
	for _, entry := range log {
		assert.Fail(t, "refused", "%s may not %s (%s)", entry.Username, entry.Object, entry.Reason)
	}
}

// use makes every kind of call, for values that are there and for ones that are not.
func use(t *testing.T, client redis.UniversalClient) {
	t.Helper()
	t.Cleanup(func() { _ = client.Close() })
	s := redisstore.New(client, "myapp:")
	for i := range 20 {
		for range 2 {
			assert.Equal(t, make([]error, 4), all(t, t.Context(), s, fmt.Sprint("key", i)))
		}
	}
}

const name, password = "app", "password" // of the documented user

// What the documented user may do is enough, for each kind of client, and the server has
// refused it nothing.
func TestDocumentedUser(t *testing.T) {
	s := startServer(t)
	s.do(documented(t, "+getex")...)
	for _, o := range []redis.Options{{}, {Protocol: 2}, {DB: 1, ClientName: "app"}} {
		o.Addr, o.Username, o.Password = s.addr, name, password
		use(t, redis.NewClient(&o))
	}
	use(t, redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": s.addr}, HeartbeatFrequency: 10 * time.Millisecond, Username: name, Password: password}))
	clean(t, s)
}

func TestDocumentedUserOfACluster(t *testing.T) {
	all := startCluster(t)
	for _, s := range all {
		s.do(documented(t, "+getex")...)
	}
	for _, o := range []redis.ClusterOptions{{}, {ReadOnly: true}, {RouteRandomly: true}, {Protocol: 2, ClientName: "app"}} {
		o.Addrs, o.Username, o.Password = []string{all[0].addr}, name, password
		c := redis.NewClusterClient(&o)
		use(t, c)
		c.ReloadState(t.Context())
	}
	moveAside(t, all[:3], "key0")
	c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{all[0].addr}, Username: name, Password: password})
	t.Cleanup(func() { _ = c.Close() })
	_, found, err := redisstore.New(c, "myapp:").Get(t.Context(), "key0")
	require.NoError(t, err)
	assert.False(t, found)
	for _, s := range all {
		clean(t, s)
	}
}

func TestDocumentedUserWithSentinel(t *testing.T) {
	master := startServer(t)
	replica := startServer(t, "--replicaof", strings.Replace(master.addr, ":", " ", 1))
	sentinel := startSentinel(t, master)
	for _, s := range []*server{master, replica} {
		s.do(documented(t, "+getex")...)
	}
	sentinel.do(documented(t, "+sentinel")...)
	o := redis.FailoverOptions{
		MasterName: "mymaster", SentinelAddrs: []string{sentinel.addr},
		Username: name, Password: password, SentinelUsername: name, SentinelPassword: password,
	}
	use(t, redis.NewFailoverClient(&o))
	o.ReplicaOnly = true // it asks for the replicas, as a client of NewFailoverClusterClient does
	replicas := redis.NewFailoverClient(&o)
	t.Cleanup(func() { _ = replicas.Close() })
	assert.NoError(t, replicas.Ping(t.Context()).Err())
	for _, s := range []*server{master, replica, sentinel} {
		clean(t, s)
	}
}

// moveAside takes a key away, and begins to move its slot from its master to another one.
// The master then answers with ASK.
func moveAside(t *testing.T, masters []*server, key string) {
	t.Helper()
	value := "myapp:{" + key + "}"
	slot, err := masters[0].client(redis.Options{}).ClusterKeySlot(t.Context(), value).Result()
	require.NoError(t, err)
	from := slot / 5462
	to := (from + 1) % 3
	id := func(n int64) string { return masters[n].client(redis.Options{}).ClusterMyID(t.Context()).Val() }
	masters[from].do("del", value, value+":claim")
	masters[to].do("cluster", "setslot", slot, "importing", id(from))
	masters[from].do("cluster", "setslot", slot, "migrating", id(to))
}
