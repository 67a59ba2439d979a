package integration

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/alexedwards/scs/goredisstore"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/redisstore"
)

// server is a redis-server of one test, on a socket in a folder. It writes down
// what it is told, and so has it again after a crash.
type server struct {
	*redis.Client
	t    *testing.T
	args []string
	cmd  *exec.Cmd
}

// startRedis starts a redis-server, and stops it when the test is over. Without one
// in PATH the test is skipped, or fails if STYTCHMIGRATE_REDIS is "required".
func startRedis(t *testing.T) *server {
	t.Helper()
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		bin, err = exec.LookPath("valkey-server")
	}
	if err != nil && os.Getenv("STYTCHMIGRATE_REDIS") == "required" {
		t.Fatal("STYTCHMIGRATE_REDIS demands a redis-server, and there is none in PATH")
	}
	if err != nil {
		t.Skip("there is no redis-server in PATH")
	}
	dir, err := os.MkdirTemp("", "redis") // a socket's path has 107 bytes at most, and t.TempDir the test's name in it
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	socket := filepath.Join(dir, "socket")
	s := &server{t: t, args: []string{bin, "--port", "0", "--unixsocket", socket, "--dir", dir,
		"--logfile", filepath.Join(dir, "log"), "--save", "", "--appendonly", "yes", "--appendfsync", "always"}}
	s.Client = redis.NewClient(&redis.Options{Network: "unix", Addr: socket, MaxRetries: -1, DialerRetries: 1})
	s.start()
	t.Cleanup(s.stop)
	return s
}

// start starts the process, and returns once it answers.
func (s *server) start() {
	s.t.Helper()
	s.cmd = exec.Command(s.args[0], s.args[1:]...)
	require.NoError(s.t, s.cmd.Start())
	require.Eventually(s.t, func() bool {
		_, err := os.Stat(s.Options().Addr) // before that a client would write a line about it
		return err == nil && s.Ping(context.Background()).Err() == nil
	}, 20*time.Second, 5*time.Millisecond)
}

// kill ends the process at once, as a crash does.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	_ = os.Remove(s.Options().Addr)
}

func (s *server) stop() {
	s.kill()
	_ = s.Close()
}

// stallOnRedis has its sessions, and the middleware its records, in one Redis.
func stallOnRedis(s *server) stall {
	sm := newSCS(goredisstore.New(s.Client))
	forgetful(sm)
	out := scsStall(sm, scsHandlers(sm))
	out.store = redisstore.New(s.Client, "")
	return out
}

// scs and our records in one Redis are two things: a logout of one person is in
// both, of that person alone, and a key of ours is no session's token.
func TestOneRedisForBoth(t *testing.T) {
	s := startRedis(t)
	ctx := t.Context()
	a, _ := stallOnRedis(s).open(t)
	ada, bob, thief := a.newBrowser(t), a.newBrowser(t), a.newBrowser(t)
	for user, b := range map[string]*browser{"17": ada, "18": bob} {
		b.sees("/login?user=" + user)
		require.Contains(t, b.sees("/"), "migrated")
	}
	ours, theirs := s.Keys(ctx, redisstore.DefaultPrefix+"*").Val(), s.Keys(ctx, "scs:session:*").Val()
	require.NotEmpty(t, ours)
	require.Len(t, theirs, 2)
	assert.Equal(t, int64(len(ours)+len(theirs)), s.DBSize(ctx).Val())

	for _, key := range ours {
		thief.set("sid", key)
		assert.Equal(t, "anonymous  []", thief.sees("/"))
		thief.sees("/logout")
	}
	assert.ElementsMatch(t, ours, s.Keys(ctx, redisstore.DefaultPrefix+"*").Val())

	require.NoError(t, goredisstore.New(s.Client).DeleteCtx(ctx, bob.cookies()[0].Value)) // by an operator
	ada.sees("/logout")
	assert.Empty(t, s.Keys(ctx, "scs:session:*").Val())
	assert.Equal(t, "anonymous  []", ada.sees("/"))
	assert.Equal(t, "authenticated bob@example.com []", bob.sees("/"))
}
