package redisstore_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/redisstore"
)

// startSentinel starts a Sentinel that watches a master by the name of mymaster.
func startSentinel(t *testing.T, master *server) *server {
	t.Helper()
	host, port, err := net.SplitHostPort(master.addr)
	require.NoError(t, err)
	dir := t.TempDir()
	s := &server{t: t, addr: freeAddr(t), logs: filepath.Join(dir, "log")}
	_, own, err := net.SplitHostPort(s.addr)
	require.NoError(t, err)
	config := filepath.Join(dir, "sentinel.conf")
	text := fmt.Sprintf("bind 127.0.0.1\nport %s\ndir %s\nlogfile %s\nsentinel monitor mymaster %s %s 1\n", own, dir, s.logs, host, port)
	require.NoError(t, os.WriteFile(config, []byte(text), 0o600))
	s.args = []string{serverInPath(t), config, "--sentinel"}
	s.start()
	t.Cleanup(s.kill)
	return s
}

// A Sentinel that knows no master of the name answers with nil. That is no key without a
// value.
func TestMasterUnknownToSentinel(t *testing.T) {
	sentinel := startSentinel(t, startServer(t))
	c := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "another", SentinelAddrs: []string{sentinel.addr}, MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { _ = c.Close() })
	for _, err := range all(t, t.Context(), redisstore.New(c, ""), "the-key") {
		assert.Equal(t, "redis: all sentinels specified in configuration are unreachable: one knows no master of this name", safe(t, err))
	}
}
