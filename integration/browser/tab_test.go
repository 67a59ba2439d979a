package browser

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// tab is a tab of a browser, as a person has it.
type tab struct {
	t      *testing.T
	driver driver
	engine *engine
}

// in is the tab in a subtest, whose mistakes are then the subtest's.
func (p *tab) in(t *testing.T) *tab { return &tab{t: t, driver: p.driver, engine: p.engine} }

// another is a second tab of the same person.
func (p *tab) another() *tab {
	p.t.Helper()
	return asTab(p.t, p.engine, p.driver.another)
}

// does is something that a person does with a tab.
type does func(context.Context, driver) error

func navigate(url string) does {
	return func(ctx context.Context, d driver) error { return d.navigate(ctx, url) }
}

// press clicks what leads to another page, and waits for that.
func press(css string) does {
	return func(ctx context.Context, d driver) error {
		return leave(ctx, d, func() error { return d.click(ctx, css) })
	}
}

// travel is the Back button, or Forward.
func travel(by int) does {
	return func(ctx context.Context, d driver) error {
		return leave(ctx, d, func() error { return d.travel(ctx, by) })
	}
}

// run evaluates an expression for what it does.
func run(expression string) does {
	return func(ctx context.Context, d driver) error {
		_, err := d.eval(ctx, expression)
		return err
	}
}

// do does one thing and waits until it is done.
func (p *tab) do(what does) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(p.t, what(ctx, p.driver))
}

// begins opens a page, and returns what waits for it.
func (p *tab) begins(url string) (done func()) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	result := make(chan error, 1)
	go func() {
		defer cancel()
		result <- p.driver.navigate(ctx, url)
	}()
	return func() { p.t.Helper(); require.NoError(p.t, <-result) }
}

// evaluate is the value of an expression in the page.
func evaluate[T any](p *tab, expression string) (v T) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	raw, err := p.driver.eval(ctx, expression)
	require.NoError(p.t, err)
	require.NoError(p.t, json.Unmarshal(raw, &v), "%s", raw)
	return v
}

var marks atomic.Int64

// errGoing is what a driver says of an act when it has no answer, because the page went
// with it.
var errGoing = errors.New("the page is going")

// leave waits until an act has brought another page, and that has loaded. The page
// that is left gets a mark of its own: one that the back/forward cache brings back
// has the mark of another time. A new tab may load its first page, about:blank, once
// more, which is none that an act brings.
func leave(ctx context.Context, d driver, act func() error) error {
	mark := marks.Add(1)
	if _, err := d.eval(ctx, fmt.Sprintf("window.leftAs = %d", mark)); err != nil {
		return fmt.Errorf("marking the page: %w", err)
	}
	lost := act()
	if lost != nil && !errors.Is(lost, errGoing) {
		return lost
	}
	there := fmt.Sprintf(`window.leftAs !== %d && location.href !== "about:blank" && document.readyState === "complete"`, mark)
	var raw json.RawMessage
	var unknown error // one page is going, the other has not come
	err := until(ctx, func() (bool, error) {
		raw, unknown = glance(ctx, d, there)
		return unknown == nil && string(raw) == "true", nil
	})
	if err != nil {
		return fmt.Errorf("waiting for a page: %s, %w", raw, errors.Join(err, unknown, lost))
	}
	return nil
}

// until asks whether something is so, until it is or there is an error. It asks less and
// less often: on a busy machine the questions would take the time of what they ask for.
func until(ctx context.Context, is func() (bool, error)) error {
	for wait := 2 * time.Millisecond; ; wait = min(wait*3/2, 50*time.Millisecond) {
		if yes, err := is(); yes || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// glance evaluates what takes no time. A page that goes may take the answer with it.
func glance(ctx context.Context, d driver, expression string) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return d.eval(ctx, expression)
}

// says is the heading of a page that has come whole.
func (p *tab) says() (text string) {
	p.t.Helper()
	const heading = `document.readyState === "complete" ? document.querySelector("h1")?.textContent ?? "" : ""`
	require.Eventually(p.t, func() bool {
		raw, err := glance(context.Background(), p.driver, heading) // fails where the page has only just begun
		return err == nil && json.Unmarshal(raw, &text) == nil && text != ""
	}, patience, time.Millisecond)
	return text
}

// jar is what the browser holds.
func (p *tab) jar() []kept {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	all, err := p.driver.cookies(ctx)
	require.NoError(p.t, err)
	jar := map[string]kept{}
	for _, k := range all {
		jar[k.scope()] = k
	}
	return sorted(jar)
}

// looks looks at the page with another screen.
func (p *tab) looks(s screen) {
	p.t.Helper()
	p.do(func(ctx context.Context, d driver) error { return d.looks(ctx, s) })
}

// shoot takes a picture, for people to look at.
func (p *tab) shoot(name string) { shoot(p.t, p.driver, p.engine.name+"-"+name) }

func shoot(t *testing.T, d driver, name string) {
	t.Helper()
	dir := os.Getenv("STYTCHMIGRATE_SCREENSHOTS")
	if dir == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	picture, err := d.picture(ctx)
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(dir, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o644))
}

// clear empties the jar.
func (p *tab) clear() {
	p.t.Helper()
	p.do(func(ctx context.Context, d driver) error { return d.clear(ctx) })
}
