package browser

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/security"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// sdkTab is a tab that has the application's pages in it.
type sdkTab struct {
	*chromiumTab
	site, page string
}

// seen is what the SDK knows. Empty: nothing.
type seen struct{ Token, JWT, Session, Email string }

func (w *sdkWorld) open(t *testing.T, site string) *sdkTab {
	t.Helper()
	throughProxy := chromedp.WithNewBrowserContext(func(p *target.CreateBrowserContextParams) {
		p.ProxyServer, p.ProxyBypassList = w.proxy, "<-loopback>" // localhost too
	})
	p := &sdkTab{openChromiumTab(t, inChromium(t), desktop, throughProxy), site, "/"}
	p.do(call(security.SetIgnoreCertificateErrors, security.SetIgnoreCertificateErrorsParams{Ignore: true}))
	return p
}

// signIn is a login of the old application.
func (p *sdkTab) signIn() {
	p.t.Helper()
	require.EqualValues(p.t, 200, p.leaves(chromedp.Navigate(p.site+"/login")))
}

// visit loads a page, and returns whom the middleware took the user for.
func (p *sdkTab) visit() string {
	p.t.Helper()
	require.EqualValues(p.t, 200, p.leaves(chromedp.Navigate(p.site+p.page)))
	return get(p.chromiumTab, chromedp.Text(chromedp.ID("who")))
}

// moves is a login of the old application, and the two pages after it: one moves the
// user, and the next takes the old cookie.
func (p *sdkTab) moves() {
	p.t.Helper()
	p.signIn()
	require.Equal(p.t, "migrated ada@example.com", p.visit())
	require.Equal(p.t, "authenticated ada@example.com", p.visit())
}

// old is the old cookie, as cookies has it.
func (p *sdkTab) old() string {
	_, host, _ := strings.Cut(p.site, "://")
	return "sid " + host + "/  HttpOnly"
}

// start starts the SDK, and returns what it knew at once. Options are those of
// its client, as JavaScript.
func (p *sdkTab) start(options string) seen {
	p.t.Helper()
	return get(p.chromiumTab, chromedp.Evaluate[seen]("start("+options+")"))
}

// settled waits until the SDK is sure, and returns what it knows then.
func (p *sdkTab) settled() seen {
	p.t.Helper()
	return get(p.chromiumTab, chromedp.Evaluate[seen]("settled()", chromedp.EvalAwaitPromise))
}

// look is what the SDK knows now.
func (p *sdkTab) look() seen {
	p.t.Helper()
	return get(p.chromiumTab, chromedp.Evaluate[seen]("look()"))
}

// tell calls a method of the SDK, and returns "yes" or the type of the error.
func (p *sdkTab) tell(method string) string {
	p.t.Helper()
	return get(p.chromiumTab, chromedp.Evaluate[string]("said(client."+method+")", chromedp.EvalAwaitPromise))
}

// jar are the cookies that the browser has, for the page.
func (p *sdkTab) jar() []*network.Cookie {
	p.t.Helper()
	return get(p.chromiumTab, func(ctx context.Context, t *chromedp.Target) ([]*network.Cookie, error) {
		out, err := cdp.Call(ctx, t, network.GetCookies, network.GetCookiesParams{})
		slices.SortFunc(out.Cookies, func(a, b *network.Cookie) int {
			return strings.Compare(a.Name+" "+a.Domain+a.Path, b.Name+" "+b.Domain+b.Path)
		})
		return out.Cookies, err
	})
}

// cookies are those of the jar without their values, but with the hours that they
// have left, if they don't end with the browser.
func (p *sdkTab) cookies() (out []string) {
	p.t.Helper()
	for _, c := range p.jar() {
		line := fmt.Sprintf("%s %s%s %s", c.Name, c.Domain, c.Path, c.SameSite)
		if c.Secure {
			line += " Secure"
		}
		if c.HTTPOnly {
			line += " HttpOnly"
		}
		if !c.Session {
			line += fmt.Sprintf(" %.0fh", time.Until(time.Unix(int64(c.Expires), 0)).Hours())
		}
		out = append(out, line)
	}
	return out
}

// logOut is a logout by a script of the page.
func (p *sdkTab) logOut() {
	p.t.Helper()
	logout := chromedp.Evaluate[int](`fetch("/logout", { method: "POST" }).then(r => r.status)`, chromedp.EvalAwaitPromise)
	require.Equal(p.t, 200, get(p.chromiumTab, logout))
}

// stored is what the SDK put into the browser's storage.
func (p *sdkTab) stored() string {
	p.t.Helper()
	return get(p.chromiumTab, chromedp.Evaluate[string](`JSON.stringify(localStorage)`))
}
