package browser

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// firefoxPreferences have the names of the tests lead to this machine, and nothing
// else lead anywhere: there is no proxy on port 9. What Firefox asks its maker for
// besides, its remote agent turns off. It asks for no icons, which would be requests
// that no test makes.
const firefoxPreferences = `
user_pref("network.dns.localDomains", "app.test,sub.app.test,other.test");
user_pref("browser.chrome.site_icons", false);
user_pref("network.proxy.type", 1);
user_pref("network.proxy.http", "127.0.0.1");
user_pref("network.proxy.http_port", 9);
user_pref("network.proxy.ssl", "127.0.0.1");
user_pref("network.proxy.ssl_port", 9);
user_pref("network.proxy.no_proxies_on", ".test,localhost,127.0.0.1");
`

// firefoxProcess is a running Firefox, and the connection that drives it.
type firefoxProcess struct {
	*bidi
	end func() error
}

// startFirefox starts it with a profile that is deleted at the end.
func startFirefox() (browser, error) {
	profile, err := os.MkdirTemp("", "stytchmigrate-firefox-")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(profile, "user.js"), []byte(firefoxPreferences), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command("firefox-esr", "--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	f := &firefoxProcess{end: func() error {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // and its processes of pages
		_ = cmd.Wait()
		return os.RemoveAll(profile)
	}}
	if f.bidi, err = connectTo(stderr); err != nil {
		_ = f.end()
		return nil, err
	}
	return f, nil
}

// connectTo reads where Firefox listens, and begins a session there.
func connectTo(stderr io.Reader) (*bidi, error) {
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		if _, address, ok := strings.Cut(lines.Text(), "WebDriver BiDi listening on "); ok {
			go func() { _, _ = io.Copy(io.Discard, stderr) }()
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			return dialBiDi(ctx, address+"/session")
		}
	}
	return nil, fmt.Errorf("firefox said no address: %w", lines.Err())
}

func (f *firefoxProcess) stop() error {
	f.bidi.hangUp()
	return f.end()
}

func (f *firefoxProcess) open(ctx context.Context) (driver, error) {
	var person struct{ UserContext string }
	if err := f.call(ctx, "browser.createUserContext", params{}, &person); err != nil {
		return nil, err
	}
	return f.bidi.openTab(ctx, person.UserContext, true)
}
