package browser

import (
	"context"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// chromiumTab is a tab of Chromium, with all that the devtools can do.
type chromiumTab struct {
	t      *testing.T // nil: the tab is a driver of a test in all engines
	ctx    context.Context
	cancel func()

	mu      sync.Mutex
	console []string // all that was written to it
}

// screen is what a page is looked at with.
type screen struct {
	name          string
	width, height int64
	phone, dark   bool
}

var (
	desktop = screen{name: "desktop", width: 1280, height: 900}
	phone   = screen{name: "phone", width: 390, height: 844, phone: true}
	dark    = screen{name: "dark", width: 1280, height: 900, dark: true}
)

// newChromiumTab opens a tab with no cookies, which no other test sees.
func newChromiumTab(t *testing.T, s screen) *chromiumTab {
	t.Helper()
	return openChromiumTab(t, inChromium(t), s, chromedp.WithNewBrowserContext())
}

func openChromiumTab(t *testing.T, parent context.Context, s screen, options ...chromedp.ContextOption) *chromiumTab {
	t.Helper()
	p, err := chromiumTabIn(parent, options...)
	require.NoError(t, err)
	t.Cleanup(p.cancel)
	p.t = t
	p.do(lookWith(s))
	return p
}

func chromiumTabIn(parent context.Context, options ...chromedp.ContextOption) (*chromiumTab, error) {
	p := new(chromiumTab)
	p.ctx, p.cancel = chromedp.NewContext(parent, append(options, chromedp.WithListener(p.listen))...)
	return p, chromedp.Do(p.ctx) // the tab lives as long as this context
}

func lookWith(s screen) chromedp.Action[chromedp.Void] {
	var options []chromedp.EmulateViewportOption
	if s.phone {
		options = append(options, chromedp.EmulateMobile, chromedp.EmulateTouch, chromedp.EmulateScale(2))
	}
	scheme := emulation.MediaFeature{Name: "prefers-color-scheme", Value: "light"}
	if s.dark {
		scheme.Value = "dark"
	}
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{&scheme}}
	return chromedp.Steps(chromedp.EmulateViewport(s.width, s.height, options...), call(emulation.SetEmulatedMedia, media))
}

// call is a command of the devtools whose answer nobody needs.
func call[P, R any](cmd cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, cmd, params)
		return err
	})
}

func (p *chromiumTab) listen(event any) {
	var text string
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		text = "console." + e.Type.String()
		for _, a := range e.Args {
			text += " " + string(a.Value) + a.Description
		}
	case *runtime.EventExceptionThrown:
		text = "exception: " + e.ExceptionDetails.Text
		if x := e.ExceptionDetails.Exception; x != nil {
			text += " " + x.Description
		}
	case *log.EventEntryAdded:
		text = e.Entry.Source.String() + " " + e.Entry.Level.String() + ": " + e.Entry.Text + " " + e.Entry.URL
	default:
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.console = append(p.console, text)
}

// said is what the console heard since it was last asked.
func (p *chromiumTab) said() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.console
	p.console = nil
	return out
}

func (p *chromiumTab) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	require.NoError(p.t, chromedp.Do(ctx, steps...))
}

// get is what an action finds.
func get[T any](p *chromiumTab, a chromedp.Action[T]) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, a)
	require.NoError(p.t, err)
	return v
}

// leaves does what makes the tab load another page, and returns the status of that.
func (p *chromiumTab) leaves(steps ...chromedp.Action[chromedp.Void]) int64 {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	r, err := chromedp.RunResponse(ctx, steps...)
	require.NoError(p.t, err)
	return r.Status
}
