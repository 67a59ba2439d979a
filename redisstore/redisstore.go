// Package redisstore keeps what machines running stytchmigrate have to share in
// Redis 6.2 or later, or Valkey. See [New].
package redisstore

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"example.com/stytchmigrate"
)

// DefaultPrefix begins every key in Redis, where New is given no other prefix.
const DefaultPrefix = "stytchmigrate:"

var _ stytchmigrate.Store = (*Store)(nil)

// Store is a [stytchmigrate.Store]. Its records are in Redis alone. It is safe for
// concurrent use. Only New makes one.
//
// Each record has two keys in Redis, prefix{key} with its value and
// prefix{key}:claim with the owner of its claim. Both always have a time to live.
// The braces are a hash tag, so that both are in one slot of a cluster.
//
// # Permissions
//
// This user may do all that the client needs, with the prefix myapp:, on each server and
// on each node of a cluster:
//
//	ACL SETUSER app reset on >password ~myapp:* +@connection -@dangerous +getex +eval +evalsha +get +set +del +cluster|slots +cluster|shards
//
// GETEX, EVAL and EVALSHA are the calls of a Store. GET, SET and DEL are in its scripts.
// The client of a cluster asks for the masters by CLUSTER SLOTS. What it sends for a
// connection, such as HELLO, CLIENT SETINFO, COMMAND, PING, READONLY and ASKING, is in the
// category connection.
//
// With Sentinel, the user of the Sentinels (SentinelUsername) is another one, on each:
//
//	ACL SETUSER app reset on >password &+switch-master &+replica-reconf-done +@connection -@dangerous +subscribe +sentinel|get-master-addr-by-name +sentinel|sentinels +sentinel|replicas
//
// # Errors
//
// An error vouches for a text, see [stytchmigrate.Store]: the log and Check say, for
// example, redis: NOPERM: the user may not run 'getex'. The text is the code of the
// server's error and words of this package. It holds nothing that the server or the
// client wrote beside the code.
//
// # Failover
//
// When a call to a cluster has no answer, or one such as CLUSTERDOWN, the Store has the
// client reload the state of the cluster (ReloadState), once a second at most. By itself
// the client does so once a minute, and would fail for that long with the keys of a master
// that a replica has replaced.
type Store struct {
	client   redis.UniversalClient
	prefix   string
	reloader reloader
}

// New returns a Store on a client of one server, of a cluster, of a Ring, or of
// Sentinel's masters. It doesn't connect. prefix sets the keys apart from those of
// others; "" is [DefaultPrefix]. The client remains the caller's, to close as well.
//
// New panics on a nil client, and on a prefix with braces, which would put the two
// keys of a record into two slots, or all records into one.
//
// Redis must not evict: set maxmemory-policy to noeviction, for a mark that a
// session has ended is worth as much as a session. Where a master fails over, what
// it has not replicated yet is lost. A claim lost means two exchanges for one legacy
// session, and no user lost; a mark lost means that a copy of the old cookie is good
// again. WAIT would not prevent that, only make it less likely.
func New(client redis.UniversalClient, prefix string) *Store {
	if client == nil {
		panic("redisstore: New needs a client")
	}
	if strings.ContainsAny(prefix, "{}") {
		panic("redisstore: New takes no prefix with braces")
	}
	if prefix == "" {
		prefix = DefaultPrefix
	}
	s := &Store{client: client, prefix: prefix}
	s.reloader.client, _ = client.(reloading)
	return s
}

// A key's braces would end the hash tag early, or make it empty, which is none.
var escape = strings.NewReplacer("%", "%25", "{", "%7B", "}", "%7D")

func (s *Store) valueKey(key string) string { return s.prefix + "{" + escape.Replace(key) + "}" }
func (s *Store) keys(key string) []string {
	return []string{s.valueKey(key), s.valueKey(key) + ":claim"}
}

// Get implements [stytchmigrate.Store].
//
// It sends a GETEX that changes no time to live, rather than a GET, for the answer
// has to be the master's: a client may read a GET from replicas (ReadOnly,
// RouteByLatency) or from a cache of its own (ClientSideCache), where a session may
// not have ended yet. A master that has become a replica answers with an error.
func (s *Store) Get(ctx context.Context, key string) (value []byte, found bool, err error) {
	type reply struct {
		value []byte
		found bool
	}
	k := s.valueKey(key)
	r, err := call(ctx, s, "get", func() (reply, error) {
		cmd := redis.NewStringCmd(ctx, "getex", k) // GetEx has no way to leave the options out
		_ = s.client.Process(ctx, cmd)
		b, err := cmd.Bytes()
		if errors.Is(err, redis.Nil) && !strings.Contains(err.Error(), noSentinel) {
			return reply{}, nil
		}
		return reply{b, err == nil}, err
	})
	return r.value, r.found, err
}

// The client repeats a command whose reply it didn't get, and which may have run.
// So each script has the same answer the second time.
var (
	// KEYS: value, claim. ARGV: owner, lease in ms.
	claimScript = redis.NewScript(`
local owner = redis.call('GET', KEYS[2])
if owner and owner ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return 1`)

	// KEYS: value, claim. ARGV: owner, value, ttl in ms. A Put that comes again has
	// no claim any more. It knows by the value that it has been here: values are
	// sealed, no two are the same.
	putScript = redis.NewScript(`
if ARGV[1] ~= '' and redis.call('GET', KEYS[2]) ~= ARGV[1] then
  if redis.call('GET', KEYS[1]) == ARGV[2] then return 1 end
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('DEL', KEYS[2])
return 1`)

	// KEYS: value, claim. ARGV: owner.
	releaseScript = redis.NewScript(`
if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end
return 1`)
)

// Claim implements [stytchmigrate.Store].
func (s *Store) Claim(ctx context.Context, key, owner string, lease time.Duration) (claimed bool, err error) {
	return s.run(ctx, "claim", claimScript, key, owner, milliseconds(lease))
}

// Put implements [stytchmigrate.Store], with one exception: it returns true as well
// where the value is there already, byte for byte, for then it may have been this
// very Put that stored it, in a try whose reply was lost.
func (s *Store) Put(ctx context.Context, key, owner string, value []byte, ttl time.Duration) (stored bool, err error) {
	// value is copied: a try that outlives ctx would read what the caller has changed.
	return s.run(ctx, "put", putScript, key, owner, string(value), milliseconds(ttl))
}

// Release implements [stytchmigrate.Store].
func (s *Store) Release(ctx context.Context, key, owner string) error {
	_, err := s.run(ctx, "release", releaseScript, key, owner)
	return err
}

// run returns whether a script returned 1.
func (s *Store) run(ctx context.Context, op string, script *redis.Script, key string, args ...any) (bool, error) {
	keys := s.keys(key)
	n, err := call(ctx, s, op, func() (int, error) {
		return script.Run(ctx, s.client, keys, args...).Int()
	})
	return n == 1, err
}

// call makes a call of the client, within the time of ctx.
func call[T any](ctx context.Context, s *Store, op string, f func() (T, error)) (T, error) {
	if err := ctx.Err(); err != nil {
		var none T
		return none, fail(op, err)
	}
	value, err := within(ctx, f)
	s.reloader.after(err)
	return value, fail(op, err)
}

// milliseconds rounds up: PX 0 is an error, and a record is never over too early.
func milliseconds(d time.Duration) int64 {
	ms := d.Milliseconds()
	if d%time.Millisecond > 0 {
		ms++
	}
	return max(ms, 1)
}
