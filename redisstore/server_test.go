package redisstore_test

import (
	"cmp"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"example.com/stytchmigrate/redisstore"
)

func TestMain(m *testing.M) {
	if config := os.Getenv(processEnv); config != "" {
		serveProcess(config)
		return
	}
	goleak.VerifyTestMain(m)
}

// demand is STYTCHMIGRATE_REDIS: empty, "required" where a test that finds no
// redis-server in PATH has to fail, or the address of a server to test too.
var demand = os.Getenv("STYTCHMIGRATE_REDIS")

// server is a redis-server of one test, with nothing on disk.
type server struct {
	t    testing.TB
	addr string
	args []string
	cmd  *exec.Cmd
	logs string // path
}

// serverInPath returns the path of a redis-server. Without one in PATH the test is
// skipped, or fails if it is demanded.
func serverInPath(t testing.TB) string {
	t.Helper()
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		bin, err = exec.LookPath("valkey-server")
	}
	if err != nil && demand == "required" {
		t.Fatal("STYTCHMIGRATE_REDIS demands a redis-server, and there is none in PATH")
	}
	if err != nil {
		t.Skip("there is no redis-server in PATH")
	}
	return bin
}

// startServer starts a redis-server on a free port of this machine, and stops it when
// the test is over.
func startServer(t testing.TB, args ...string) *server {
	t.Helper()
	bin := serverInPath(t)
	dir := t.TempDir()
	s := &server{t: t, addr: freeAddr(t), logs: filepath.Join(dir, "log")}
	_, port, err := net.SplitHostPort(s.addr)
	require.NoError(t, err)
	s.args = append([]string{bin, "--bind", "127.0.0.1", "--port", port, "--dir", dir, "--logfile", s.logs,
		"--save", "", "--appendonly", "no", "--daemonize", "no"}, args...)
	s.start()
	t.Cleanup(s.kill)
	return s
}

// freeAddr is below the ports that clients get, so that none is given to one before
// the server has it, and so low that a cluster's port, 10,000 above it, exists.
func freeAddr(t testing.TB) string {
	t.Helper()
	first := 20000 + os.Getpid()*7%2000
	for port := first; port < first+200; port++ {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		l, err := net.Listen("tcp", addr)
		if err != nil || taken[port] {
			continue
		}
		require.NoError(t, l.Close())
		taken[port] = true
		return addr
	}
	t.Fatal("there is no free port")
	return ""
}

var taken = map[int]bool{} // by a server of these tests, which start one after another

// start starts the process, and returns once it answers.
func (s *server) start() {
	s.t.Helper()
	s.cmd = exec.Command(s.args[0], s.args[1:]...)
	require.NoError(s.t, s.cmd.Start())
	c := redis.NewClient(&redis.Options{Addr: s.addr, MaxRetries: -1})
	defer c.Close()
	for range 200 {
		if c.Ping(context.Background()).Err() == nil {
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	logs, _ := os.ReadFile(s.logs)
	s.t.Fatalf("redis-server does not answer: %s", logs)
}

// kill ends the process at once, as a crash does.
func (s *server) kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// client returns a client with the options, which is closed when the test is over.
func (s *server) client(o redis.Options) *redis.Client {
	o.Addr = cmp.Or(o.Addr, s.addr)
	c := redis.NewClient(&o)
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

// do is a command that a test sends past the store.
func (s *server) do(args ...any) {
	s.t.Helper()
	c := redis.NewClient(&redis.Options{Addr: s.addr})
	defer c.Close()
	require.NoError(s.t, c.Do(context.Background(), args...).Err())
}

// store returns a store on a client with the options.
func (s *server) store(o redis.Options) *redisstore.Store { return redisstore.New(s.client(o), "") }

// within is a context that is done after d.
func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// calls is how many goroutines of the store there are.
func calls() int {
	buf := make([]byte, 1<<20)
	return strings.Count(string(buf[:runtime.Stack(buf, true)]), "redisstore.within[...].func1(")
}
