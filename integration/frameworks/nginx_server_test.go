package frameworks

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// nginxConfig has nginx's own defaults for every buffer and limit, and Debian's
// build of it has the same. What is between the last braces differs by test.
const nginxConfig = `
daemon off;
master_process off;
pid nginx.pid;
error_log error.log;
events {}
http {
	access_log off;
	client_body_temp_path body;
	proxy_temp_path proxy;
	fastcgi_temp_path fastcgi;
	uwsgi_temp_path uwsgi;
	scgi_temp_path scgi;
	proxy_cache_path cache keys_zone=cache:1m;
	server {
		listen %s;
		location / {
			proxy_pass %s;
			%s
		}
	}
}
`

const keepHost = "proxy_set_header Host $http_host;"

// startNginx starts an nginx in front of backend, and stops it when the test is
// over. Without one in PATH the test is skipped, or fails if it is demanded.
func startNginx(t *testing.T, backend, settings string) (url string) {
	t.Helper()
	bin, err := exec.LookPath("nginx")
	if err != nil {
		bin, err = exec.LookPath("/usr/sbin/nginx") // where Debian has it, and users don't look
	}
	switch {
	case err != nil && os.Getenv("STYTCHMIGRATE_NGINX") == "required":
		t.Fatal("STYTCHMIGRATE_NGINX demands an nginx, and there is none in PATH")
	case err != nil:
		t.Skip("there is no nginx in PATH")
	}
	dir, addr := t.TempDir(), freeAddr(t)
	config := fmt.Sprintf(nginxConfig, addr, backend, settings)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(config), 0o600))
	start(t, addr, filepath.Join(dir, "error.log"), exec.Command(bin, "-p", dir, "-e", "error.log", "-c", "nginx.conf"))
	return "http://" + addr
}

// start starts a server, and returns once it listens. The test's end kills it.
func start(t *testing.T, addr, log string, cmd *exec.Cmd) {
	t.Helper()
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
	for range 400 {
		if conn, err := net.Dial("tcp", addr); err == nil {
			require.NoError(t, conn.Close())
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	said, _ := os.ReadFile(log)
	t.Fatalf("%s does not answer: %s", cmd.Path, said)
}

// freeAddr is below the ports that clients get, so that none is given to one before
// the server has it.
func freeAddr(t *testing.T) string {
	t.Helper()
	for range 1000 {
		lastPort++
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(lastPort))
		if l, err := net.Listen("tcp", addr); err == nil {
			require.NoError(t, l.Close())
			return addr
		}
	}
	t.Fatal("there is no free port")
	return ""
}

var lastPort = 23000 + os.Getpid()*13%5000 // of these tests, which start one server after another
