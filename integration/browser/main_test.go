package browser

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
	"go.uber.org/goleak"
)

// required says that nothing may be skipped.
var required = os.Getenv("STYTCHMIGRATE_CHROMIUM") == "required"

// chromium is the one browser of all tests. Each test has cookies of its own in it.
var chromium struct {
	start sync.Once
	ctx   context.Context
	stop  func() error
	err   error
}

// TestMain ends the browser, and fails the run if a goroutine is left then.
func TestMain(m *testing.M) {
	code := m.Run()
	if chromium.stop != nil {
		if err := chromium.stop(); err != nil {
			fmt.Fprintln(os.Stderr, "ending chromium:", err)
			code = max(code, 1)
		}
	}
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// lacking skips a test that the machine lacks something for.
func lacking(t *testing.T, what string) {
	t.Helper()
	if required {
		t.Fatal(what)
	}
	t.Skip(what)
}

// inChromium is the browser's context. The first test to ask starts it.
func inChromium(t *testing.T) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		lacking(t, "there is no chromium")
	}
	chromium.start.Do(func() { startChromium(path) })
	if chromium.err != nil {
		t.Fatal("starting chromium: ", chromium.err)
	}
	return chromium.ctx
}

// startChromium starts it with a profile that is deleted at the end, and keeps it
// from asking its maker for anything.
func startChromium(path string) {
	profile, err := newProfile()
	if err != nil {
		chromium.err = err
		return
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], // headless, no first run, no sync, no background networking
		chromedp.ExecPath(path),
		chromedp.UserDataDir(profile),
		chromedp.NoSandbox, // root has no other way
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("host-resolver-rules", "MAP *.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"), // whatever it asks for besides
		chromedp.Flag("ignore-certificate-errors-spki-list", keyOfHTTPTest()),
	)
	allocator, free := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(allocator)
	chromium.ctx, chromium.err = ctx, chromedp.Do(ctx)
	chromium.stop = func() error {
		defer os.RemoveAll(profile)
		defer free()
		defer cancel()
		if chromium.err != nil {
			return nil
		}
		return chromedp.Cancel(ctx)
	}
}

// newProfile lets sites have their cookies in frames of others, as browsers do
// that are not told otherwise. Debian's Chromium 156 was found not to, whatever
// its reason.
func newProfile() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "stytchmigrate-chromium-"); err != nil {
		return "", err
	}
	if err = os.Mkdir(filepath.Join(dir, "Default"), 0o700); err != nil {
		return "", err
	}
	preferences := []byte(`{"profile": {"cookie_controls_mode": 0, "block_third_party_cookies": false}}`)
	return dir, os.WriteFile(filepath.Join(dir, "Default", "Preferences"), preferences, 0o600)
}

// keyOfHTTPTest is the fingerprint of the key of all of httptest's servers, the
// only one that the browser trusts without an authority.
func keyOfHTTPTest() string {
	srv := httptest.NewTLSServer(nil)
	defer srv.Close()
	sum := sha256.Sum256(srv.Certificate().RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}
