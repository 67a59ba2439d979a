package browser

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/storage"
	"github.com/chromedp/chromedp"
)

func (c *chromiumProcess) open(ctx context.Context) (driver, error) {
	return opened(chromiumTabIn(c.ctx, chromedp.WithNewBrowserContext()))
}

func (p *chromiumTab) another(context.Context) (driver, error) { return opened(chromiumTabIn(p.ctx)) }

func opened(p *chromiumTab, err error) (driver, error) {
	if err != nil {
		p.cancel()
		return nil, err
	}
	_, err = chromedp.Run(p.ctx, lookWith(desktop))
	return p, err
}

func (p *chromiumTab) close() error {
	p.cancel()
	return nil
}

// until is the tab's context, with the deadline of another.
func (p *chromiumTab) until(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(p.ctx)
	}
	return context.WithDeadline(p.ctx, deadline)
}

func (p *chromiumTab) act(ctx context.Context, what chromedp.Action[chromedp.Void]) error {
	ctx, cancel := p.until(ctx)
	defer cancel()
	return chromedp.Do(ctx, what)
}

func (p *chromiumTab) navigate(ctx context.Context, url string) error {
	return p.act(ctx, chromedp.Navigate(url))
}

func (p *chromiumTab) click(ctx context.Context, css string) error {
	return p.act(ctx, chromedp.Click(chromedp.CSS(css)))
}

// travel is the browser's button: a script's history.go may take away the page
// that the devtools run it in.
func (p *chromiumTab) travel(ctx context.Context, by int) error {
	ctx, cancel := p.until(ctx)
	defer cancel()
	history, err := chromedp.Run(ctx, chromedp.NavigationEntries())
	if err != nil {
		return err
	}
	to := page.NavigateToHistoryEntryParams{EntryID: history.Entries[history.CurrentIndex+int64(by)].ID}
	_, err = chromedp.Run(ctx, chromedp.WaitEvent(page.FrameNavigated, nil, call(page.NavigateToHistoryEntry, to)))
	return err
}

// eval asks the devtools directly, for chromedp loses a page that the back/forward
// cache brings back.
func (p *chromiumTab) eval(ctx context.Context, expression string) (json.RawMessage, error) {
	ctx, cancel := p.until(ctx)
	defer cancel()
	yes := true
	r, err := chromedp.Run(ctx, ask(runtime.Evaluate, runtime.EvaluateParams{Expression: asJSON(expression), AwaitPromise: &yes}))
	if err != nil {
		return nil, err
	}
	if x := r.ExceptionDetails; x != nil {
		return nil, errors.New(x.Text)
	}
	var text string
	err = json.Unmarshal(r.Result.Value, &text)
	return json.RawMessage(text), err
}

// asJSON is an expression for the JSON of another, awaited.
func asJSON(expression string) string {
	return "(async () => JSON.stringify(await (" + expression + ")) ?? 'null')()"
}

func (p *chromiumTab) cookies(ctx context.Context) (out []kept, err error) {
	ctx, cancel := p.until(ctx)
	defer cancel()
	all, err := chromedp.CallBrowser(ctx, storage.GetCookies, storage.GetCookiesParams{BrowserContextID: chromedp.FromContext(p.ctx).BrowserContextID})
	if err != nil {
		return nil, err
	}
	for _, c := range all.Cookies {
		k := kept{name: c.Name, value: c.Value, domain: c.Domain, path: c.Path, attributes: attributes(c.SameSite.String(), c.Secure, c.HTTPOnly)}
		if !c.Session {
			k.expires = time.UnixMilli(int64(c.Expires * 1000))
		}
		out = append(out, k)
	}
	return out, nil
}

func (p *chromiumTab) clear(ctx context.Context) error {
	return p.act(ctx, call(network.ClearBrowserCookies, cdp.Empty{}))
}

func (p *chromiumTab) looks(ctx context.Context, s screen) error { return p.act(ctx, lookWith(s)) }

// picture is of the whole page.
func (p *chromiumTab) picture(ctx context.Context) ([]byte, error) {
	ctx, cancel := p.until(ctx)
	defer cancel()
	return chromedp.Run(ctx, chromedp.FullScreenshot(100))
}

// shoot takes a picture, for people to look at.
func (p *chromiumTab) shoot(name string) { shoot(p.t, p, name) }

// ask is a command of the devtools.
func ask[P, R any](cmd cdp.Command[P, R], params P) chromedp.Action[R] {
	return func(ctx context.Context, t *chromedp.Target) (R, error) { return cdp.Call(ctx, t, cmd, params) }
}
