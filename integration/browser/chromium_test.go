package browser

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
)

// chromiumProcess is a running Chromium.
type chromiumProcess struct {
	ctx context.Context
	end func() error
}

// inChromium is the browser's context.
func inChromium(t *testing.T) context.Context {
	t.Helper()
	return chromium.running(t).(*chromiumProcess).ctx
}

// startChromium starts it with a profile that is deleted at the end, and keeps it
// from asking its maker for anything.
func startChromium() (browser, error) {
	profile, err := chromiumProfile()
	if err != nil {
		return nil, err
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], // headless, no first run, no sync, no background networking
		chromedp.ExecPath("chromium"),
		chromedp.UserDataDir(profile),
		chromedp.NoSandbox, // root has no other way
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-features", "Translate,BlinkGenPropertyTrees,SpareRendererForSitePerProcess"),                 // chromedp's, and no process in reserve
		chromedp.Flag("renderer-process-limit", "1"),                                                                        // for pages of one site and one test
		chromedp.Flag("host-resolver-rules", "MAP *.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"), // whatever it asks for besides
		chromedp.Flag("ignore-certificate-errors-spki-list", keyOfHTTPTest()),
	)
	allocator, free := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(allocator)
	c := &chromiumProcess{ctx: ctx, end: func() error {
		defer os.RemoveAll(profile)
		defer free()
		defer cancel()
		return chromedp.Cancel(ctx)
	}}
	if err := chromedp.Do(ctx); err != nil {
		_ = c.end()
		return nil, err
	}
	return c, nil
}

func (c *chromiumProcess) stop() error { return c.end() }

// chromiumProfile lets sites have their cookies in frames of others, as browsers do
// that are not told otherwise. Debian's Chromium 156 was found not to, whatever
// its reason.
func chromiumProfile() (dir string, err error) {
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
