package browser

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// bidiTab is a tab of a user context, which is a cookie jar of its own.
type bidiTab struct {
	*bidi
	person, tab string
	beside      string // the blank tab that keeps its window open
	first       bool   // its end is the end of the jar
}

// openTab opens a tab in a window in which no test has one: Firefox slows down what is
// behind others. The windows stay open for the next tests, since one costs Firefox a
// second of work.
func (b *bidi) openTab(ctx context.Context, person string, first bool) (driver, error) {
	b.opening.Lock()
	defer b.opening.Unlock()
	window, err := b.window(ctx)
	if err != nil {
		return nil, err
	}
	tab, err := b.create(ctx, params{"type": "tab", "userContext": person, "referenceContext": window})
	if err != nil {
		return nil, err
	}
	d := &bidiTab{b, person, tab, window, first}
	return d, d.looks(ctx, desktop)
}

// window is one without a tab of a test. The caller holds opening.
func (b *bidi) window(ctx context.Context) (string, error) {
	if n := len(b.windows); n > 0 {
		window := b.windows[n-1]
		b.windows = b.windows[:n-1]
		return window, nil
	}
	return b.create(ctx, params{"type": "window"})
}

func (b *bidi) create(ctx context.Context, p params) (string, error) {
	var created struct{ Context string }
	err := b.call(ctx, "browsingContext.create", p, &created)
	return created.Context, err
}

func (d *bidiTab) looks(ctx context.Context, s screen) error {
	size := params{"width": s.width, "height": s.height}
	return d.call(ctx, "browsingContext.setViewport", params{"context": d.tab, "viewport": size}, nil)
}

func (d *bidiTab) picture(ctx context.Context) ([]byte, error) {
	var png struct{ Data []byte }
	err := d.call(ctx, "browsingContext.captureScreenshot", params{"context": d.tab, "origin": "document"}, &png)
	return png.Data, err
}

func (d *bidiTab) another(ctx context.Context) (driver, error) {
	return d.openTab(ctx, d.person, false)
}

func (d *bidiTab) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	d.opening.Lock()
	defer d.opening.Unlock()
	d.windows = append(d.windows, d.beside)
	if d.first {
		return d.call(ctx, "browser.removeUserContext", params{"userContext": d.person}, nil)
	}
	return d.call(ctx, "browsingContext.close", params{"context": d.tab}, nil)
}

// navigate waits as leave does: Firefox's own wait was seen to miss the page where the
// one before had only just come.
func (d *bidiTab) navigate(ctx context.Context, url string) error {
	return leave(ctx, d, func() error {
		return d.call(ctx, "browsingContext.navigate", params{"context": d.tab, "url": url, "wait": "none"}, nil)
	})
}

func (d *bidiTab) travel(ctx context.Context, by int) error {
	return d.call(ctx, "browsingContext.traverseHistory", params{"context": d.tab, "delta": by}, nil)
}

func (d *bidiTab) eval(ctx context.Context, expression string) (json.RawMessage, error) {
	var r struct {
		Type             string
		Result           struct{ Value string }
		ExceptionDetails struct{ Text string }
	}
	p := params{"expression": asJSON(expression), "target": params{"context": d.tab}, "awaitPromise": true}
	if err := d.call(ctx, "script.evaluate", p, &r); err != nil {
		return nil, err
	}
	if r.Type != "success" {
		return nil, errors.New(r.ExceptionDetails.Text)
	}
	return json.RawMessage(r.Result.Value), nil
}

// click scrolls to an element, moves the mouse there, and presses and lets go.
func (d *bidiTab) click(ctx context.Context, css string) error {
	var found struct {
		Nodes []struct{ SharedID string }
	}
	selector := params{"type": "css", "value": css}
	if err := d.call(ctx, "browsingContext.locateNodes", params{"context": d.tab, "locator": selector, "maxNodeCount": 1}, &found); err != nil {
		return err
	}
	if len(found.Nodes) == 0 {
		return errors.New("there is no " + css)
	}
	node := params{"sharedId": found.Nodes[0].SharedID}
	scroll := params{"functionDeclaration": "e => e.scrollIntoView({block: 'center'})", "arguments": []params{node}, "target": params{"context": d.tab}, "awaitPromise": false}
	if err := d.call(ctx, "script.callFunction", scroll, nil); err != nil {
		return err
	}
	steps := []params{
		{"type": "pointerMove", "x": 0, "y": 0, "origin": params{"type": "element", "element": node}},
		{"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0},
	}
	mouse := params{"type": "pointer", "id": "mouse", "actions": steps}
	if err := d.call(ctx, "input.performActions", params{"context": d.tab, "actions": []params{mouse}}, nil); err != nil {
		return fmt.Errorf("%w: %w", errGoing, err) // Firefox waits for the page to have dealt with the click
	}
	return nil
}

// jarOf names the cookies of a person. Those that a site has in frames of others
// are in jars of their own, and no page of the site sees them.
func (d *bidiTab) jarOf() params {
	return params{"partition": params{"type": "storageKey", "userContext": d.person}}
}

var bidiSameSites = map[string]string{"lax": "Lax", "strict": "Strict", "none": "None"}

func (d *bidiTab) cookies(ctx context.Context) (out []kept, err error) {
	var all struct {
		Cookies []struct {
			Name, Domain, Path, SameSite string
			Value                        struct{ Value string }
			Secure, HTTPOnly             bool
			Expiry                       int64
		}
	}
	if err := d.call(ctx, "storage.getCookies", d.jarOf(), &all); err != nil {
		return nil, err
	}
	for _, c := range all.Cookies {
		k := kept{name: c.Name, value: c.Value.Value, domain: c.Domain, path: c.Path, attributes: attributes(bidiSameSites[c.SameSite], c.Secure, c.HTTPOnly)}
		if c.Expiry != 0 {
			k.expires = time.Unix(c.Expiry, 0)
		}
		// For a second Firefox reports, but does not send, what a line has deleted.
		if k.expires.IsZero() || time.Until(k.expires) > 2*time.Second {
			out = append(out, k)
		}
	}
	return out, nil
}

func (d *bidiTab) clear(ctx context.Context) error {
	return d.call(ctx, "storage.deleteCookies", d.jarOf(), nil)
}

func (d *bidiTab) said() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := d.console[d.tab]
	delete(d.console, d.tab)
	return out
}
