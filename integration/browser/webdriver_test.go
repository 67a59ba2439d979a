package browser

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// webdriver speaks WebDriver (w3.org/TR/webdriver2) to a server of it.
type webdriver struct{ base string }

// call sends a command and decodes its value.
func (d *webdriver) call(ctx context.Context, method, path string, p params, value any) error {
	var body bytes.Buffer
	if p != nil {
		if err := json.NewEncoder(&body).Encode(p); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, d.base+path, &body)
	if err != nil {
		return err
	}
	resp, err := webdriverClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer struct{ Value json.RawMessage }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s", method, path, answer.Value)
	}
	if value == nil {
		return nil
	}
	return json.Unmarshal(answer.Value, value)
}

var webdriverClient = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// webdriverSession is a browser with one jar, for one test at a time. A driver has one
// tab in hand at a time, so a command holds the session while it takes its own in hand.
type webdriverSession struct {
	*webdriver
	path    string
	network *localNetwork
	home    string // the tab that keeps the browser open
	free    func()

	mu     sync.Mutex // guards all below, and which tab is in hand
	inHand string
	hosts  map[string]bool   // whose pages the test opened
	spares map[string]string // by host, a tab with a blank page of it
	tabs   []string          // of the test
}

// webdriverTab is a tab of it.
type webdriverTab struct {
	*webdriverSession
	tab   string
	first bool // its end is the end of the test
}

// begin starts the browser. Its commands do not wait for pages, for other tabs have
// something to do meanwhile: leave waits.
func (d *webdriver) begin(ctx context.Context, n *localNetwork) (*webdriverSession, error) {
	capabilities := params{"alwaysMatch": params{"acceptInsecureCerts": true, "pageLoadStrategy": "none"}}
	var begun struct{ SessionID string }
	if err := d.call(ctx, http.MethodPost, "/session", params{"capabilities": capabilities}, &begun); err != nil {
		return nil, err
	}
	s := &webdriverSession{webdriver: d, path: "/session/" + begun.SessionID, network: n, hosts: map[string]bool{}, spares: map[string]string{}}
	err := d.call(ctx, http.MethodGet, s.path+"/window", nil, &s.home)
	s.inHand = s.home
	return s, err
}

// openTab opens a tab for the test.
func (s *webdriverSession) openTab(ctx context.Context, first bool) (driver, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	handle, err := s.newTab(ctx)
	if err != nil {
		return nil, err
	}
	s.tabs = append(s.tabs, handle)
	return &webdriverTab{s, handle, first}, s.show(ctx, handle, "localhost")
}

// newTab opens one in a window of its own: GTK shows no tab that is behind another. The
// caller holds mu.
func (s *webdriverSession) newTab(ctx context.Context) (string, error) {
	var opened struct{ Handle string }
	err := s.in(ctx, s.home, http.MethodPost, "/window/new", params{"type": "window"}, &opened)
	return opened.Handle, err
}

func (t *webdriverTab) another(ctx context.Context) (driver, error) { return t.openTab(ctx, false) }

// close closes the tabs of the test and empties the jar, for the next test.
func (t *webdriverTab) close() error {
	if !t.first {
		return nil // it ends with the first
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := t.closeTabs(ctx); err != nil {
		return err
	}
	if err := t.clear(ctx); err != nil {
		return err
	}
	t.hosts = map[string]bool{}
	t.free()
	return nil
}

func (s *webdriverSession) closeTabs(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, tab := range s.tabs {
		if err := s.in(ctx, tab, http.MethodDelete, "/window", nil, nil); err != nil {
			return err
		}
	}
	s.tabs = nil
	return nil
}

func (t *webdriverTab) looks(ctx context.Context, s screen) error {
	return t.command(ctx, http.MethodPost, "/window/rect", params{"width": s.width, "height": s.height}, nil)
}

func (t *webdriverTab) picture(ctx context.Context) (png []byte, err error) {
	err = t.command(ctx, http.MethodGet, "/screenshot", nil, &png)
	return png, err
}

// in takes a tab in hand and gives a command. The caller holds mu.
func (s *webdriverSession) in(ctx context.Context, tab, method, path string, p params, value any) error {
	if s.inHand != tab {
		s.inHand = "" // unknown, if there is no answer in time
		if err := s.call(ctx, http.MethodPost, s.path+"/window", params{"handle": tab}, nil); err != nil {
			return err
		}
		s.inHand = tab
	}
	return s.call(ctx, method, s.path+path, p, value)
}

func (t *webdriverTab) command(ctx context.Context, method, path string, p params, value any) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.in(ctx, t.tab, method, path, p, value)
}

func (t *webdriverTab) navigate(ctx context.Context, to string) error {
	u, err := url.Parse(to)
	if err != nil {
		return err
	}
	t.mu.Lock()
	t.hosts[u.Hostname()] = true
	t.mu.Unlock()
	return leave(ctx, t, func() error { return t.command(ctx, http.MethodPost, "/url", params{"url": to}, nil) })
}

func (t *webdriverTab) click(ctx context.Context, css string) error {
	var element map[string]string
	if err := t.command(ctx, http.MethodPost, "/element", params{"using": "css selector", "value": css}, &element); err != nil {
		return err
	}
	for _, id := range element { // the one member has a long name
		return t.command(ctx, http.MethodPost, "/element/"+id+"/click", params{}, nil)
	}
	return errors.New("there is no " + css)
}

// travel is done by a script: the driver's own Back goes one page at a time.
func (t *webdriverTab) travel(ctx context.Context, by int) error {
	_, err := t.eval(ctx, fmt.Sprintf("void setTimeout(() => history.go(%d))", by))
	return err
}

func (t *webdriverTab) eval(ctx context.Context, expression string) (json.RawMessage, error) {
	var text string
	err := t.command(ctx, http.MethodPost, "/execute/sync", params{"script": "return " + asJSON(expression), "args": []any{}}, &text)
	return json.RawMessage(text), err
}

// cookies are those of all hosts that were opened. A driver tells only what is for
// the page in hand, so a tab with a blank page of the host is taken in hand.
func (t *webdriverTab) cookies(ctx context.Context) (out []kept, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for host := range t.hosts {
		all, err := t.cookiesOf(ctx, host)
		if err != nil {
			return nil, err
		}
		for _, c := range all {
			out = append(out, c.kept())
		}
	}
	return out, nil
}

// cookiesOf are those of a host. The caller holds mu.
func (s *webdriverSession) cookiesOf(ctx context.Context, host string) (all []webdriverCookie, err error) {
	spare, err := s.spare(ctx, host)
	if err != nil {
		return nil, err
	}
	err = s.in(ctx, spare, http.MethodGet, "/cookie", nil, &all)
	return all, err
}

// spare is the tab with a host's blank page. The caller holds mu.
func (s *webdriverSession) spare(ctx context.Context, host string) (tab string, err error) {
	if tab, ok := s.spares[host]; ok {
		return tab, nil
	}
	if tab, err = s.newTab(ctx); err != nil {
		return "", err
	}
	s.spares[host] = tab
	return tab, s.show(ctx, tab, host)
}

// show opens a host's blank page in a tab. A new tab is there for the tests once it
// has one: until then it may load its first page, about:blank, once more. The caller
// holds mu.
func (s *webdriverSession) show(ctx context.Context, tab, host string) error {
	at := s.network.blankOf(host)
	if err := s.in(ctx, tab, http.MethodPost, "/url", params{"url": at}, nil); err != nil {
		return err
	}
	there := params{"script": `return document.readyState === "complete" && location.href === arguments[0]`, "args": []string{at}}
	return until(ctx, func() (is bool, err error) {
		if err := s.in(ctx, tab, http.MethodPost, "/execute/sync", there, &is); err != nil {
			return false, ctx.Err() // one page is going, the other has not come
		}
		return is, nil
	})
}

type webdriverCookie struct {
	Name, Value, Path, Domain, SameSite string
	Secure, HTTPOnly                    bool
	Expiry                              int64
}

func (c webdriverCookie) kept() kept {
	k := kept{name: c.Name, value: c.Value, domain: c.Domain, path: c.Path, attributes: attributes(c.SameSite, c.Secure, c.HTTPOnly)}
	if c.Expiry != 0 {
		k.expires = time.Unix(c.Expiry, 0)
	}
	return k
}

// clear deletes the cookies of all hosts that were opened, and of the domains above
// them, which they may have set cookies for.
func (t *webdriverTab) clear(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := map[string]bool{}
	for host := range t.hosts {
		all[host] = true
		if _, parent, ok := strings.Cut(host, "."); ok && strings.Contains(parent, ".") && strings.HasSuffix(host, ".test") {
			all[parent] = true
		}
	}
	for host := range all {
		if err := t.clearHost(ctx, host); err != nil {
			return fmt.Errorf("deleting the cookies of %s: %w", host, err)
		}
	}
	return nil
}

// clearHost waits until the cookies are gone. WebKit answers the command before it has
// deleted them (WebAutomationSession::deleteAllCookies), and would then delete what the
// next page sets. So a cookie of our own is set, which goes with the others. The caller
// holds mu.
func (s *webdriverSession) clearHost(ctx context.Context, host string) error {
	spare, err := s.spare(ctx, host)
	if err != nil {
		return err
	}
	last := params{"cookie": params{"name": "last", "value": "x", "path": "/", "secure": true}}
	if err := s.in(ctx, spare, http.MethodPost, "/cookie", last, nil); err != nil {
		return err
	}
	if all, err := s.cookiesOf(ctx, host); err != nil || !slices.ContainsFunc(all, func(c webdriverCookie) bool { return c.Name == "last" }) {
		return errors.Join(err, errors.New("the cookie was not set"))
	}
	if err := s.in(ctx, spare, http.MethodDelete, "/cookie", nil, nil); err != nil {
		return err
	}
	return until(ctx, func() (bool, error) {
		all, err := s.cookiesOf(ctx, host)
		return len(all) == 0, err
	})
}

// said is nothing: the protocol has no command for it.
func (t *webdriverTab) said() []string { return nil }
