package browser

import (
	"context"
	"fmt"
	"os"
	"os/exec"
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
	options := append(chromedp.DefaultExecAllocatorOptions[:], // headless, no first run, no sync, no background networking
		chromedp.ExecPath(path),
		chromedp.NoSandbox, // root has no other way
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"), // whatever it asks for besides
	)
	allocator, free := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(allocator)
	chromium.ctx, chromium.err = ctx, chromedp.Do(ctx)
	chromium.stop = func() error {
		defer free()
		defer cancel()
		if chromium.err != nil {
			return nil
		}
		return chromedp.Cancel(ctx)
	}
}
