package browser

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// webkitProcesses are a screen in memory, a proxy that knows the names of
// the tests, and as many WebKitWebDrivers as tests ran at the same time: each has
// one browser, with one jar.
type webkitProcesses struct {
	screen  *exec.Cmd
	display string
	network *localNetwork

	mu      sync.Mutex // guards all below
	free    []*webdriverSession
	started []*exec.Cmd
}

func startWebKit() (browser, error) {
	w := &webkitProcesses{screen: exec.Command("Xvfb", "-displayfd", "1", "-screen", "0", "1400x1000x24", "-nolisten", "tcp")}
	stdout, err := w.screen.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := w.screen.Start(); err != nil {
		return nil, err
	}
	number, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, errors.Join(err, w.stop())
	}
	w.display = ":" + strings.TrimSpace(number)
	if w.network, err = newLocalNetwork(); err != nil {
		return nil, errors.Join(err, w.stop())
	}
	return w, nil
}

func (w *webkitProcesses) stop() error {
	for _, cmd := range w.started {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // and its browser
		_ = cmd.Wait()
	}
	_ = w.screen.Process.Kill()
	_ = w.screen.Wait()
	if w.network != nil {
		w.network.close()
	}
	return nil
}

// open opens a tab in a browser that no test has, or starts one.
func (w *webkitProcesses) open(ctx context.Context) (driver, error) {
	s, err := w.session(ctx)
	if err != nil {
		return nil, err
	}
	return s.openTab(ctx, true)
}

func (w *webkitProcesses) session(ctx context.Context) (*webdriverSession, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.free); n > 0 {
		s := w.free[n-1]
		w.free = w.free[:n-1]
		return s, nil
	}
	d, err := w.start(ctx)
	if err != nil {
		return nil, err
	}
	s, err := d.begin(ctx, w.network)
	if err != nil {
		return nil, err
	}
	s.free = func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.free = append(w.free, s)
	}
	return s, nil
}

// start starts a driver. The caller holds mu.
func (w *webkitProcesses) start(ctx context.Context) (*webdriver, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("WebKitWebDriver", "--port="+strconv.Itoa(port))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	proxy := "socks5://" + w.network.address()
	cmd.Env = append(os.Environ(), "DISPLAY="+w.display, "NO_AT_BRIDGE=1", "LIBGL_ALWAYS_SOFTWARE=1",
		"http_proxy="+proxy, "https_proxy="+proxy, "no_proxy=localhost,127.0.0.1") // the driver talks to its browser there
	if os.Getuid() == 0 {
		cmd.Env = append(cmd.Env, "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS=1") // root has no other way
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	w.started = append(w.started, cmd)
	d := &webdriver{base: fmt.Sprintf("http://127.0.0.1:%d", port)}
	return d, d.listens(ctx)
}

// freePort is one that nothing listens on now.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// listens waits until a driver that was started does.
func (d *webdriver) listens(ctx context.Context) error {
	return until(ctx, func() (bool, error) {
		return d.call(ctx, http.MethodGet, "/status", nil, nil) == nil, nil
	})
}
