package browser

import (
	"context"
	"encoding/json"
	"math"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience is how long anything in a browser may take. It is for a machine that
// does much else; what goes well takes a hundredth.
const patience = 30 * time.Second

// engine is a browser to test in. All tests share the one process that the first of
// them starts.
type engine struct {
	name    string
	setting string   // the environment variable that says "required"
	needs   []string // programs
	launch  func() (browser, error)
	habits

	start   sync.Once
	browser browser // nil: not started
	err     error
}

// habits are what engines do differently where no rule of HTTP decides.
type habits struct {
	unsaid        string        // the SameSite that it reports for a cookie without the attribute
	maxAge        time.Duration // the longest that it keeps a cookie for
	secureLocally bool          // takes Secure cookies on http://localhost and http://127.0.0.1
	keepsPlain    bool          // shows pages of plain HTTP again that are no-store
	partitions    bool          // keeps other cookies for a site's frames in pages of others
	atOnce        int           // of forty requests, those that it sends at once over HTTP/2
}

// browser is a running one.
type browser interface {
	// open opens a tab with a cookie jar of its own. The driver's close ends both.
	open(ctx context.Context) (driver, error)
	stop() error
}

// driver drives a tab. The methods say what a person does and sees; how to wait
// for it is the driver's business.
type driver interface {
	// navigate opens an address and returns when the page has loaded.
	navigate(ctx context.Context, url string) error
	// click clicks the first element that a CSS selector matches, by the mouse.
	click(ctx context.Context, css string) error
	// travel goes back or forward in the history.
	travel(ctx context.Context, by int) error
	// eval is the JSON of an expression, or of what its promise resolves to.
	eval(ctx context.Context, expression string) (json.RawMessage, error)
	// cookies are all that the jar holds, as the engine reports them.
	cookies(ctx context.Context) ([]kept, error)
	// clear empties the jar.
	clear(ctx context.Context) error
	// another opens a second tab with the same jar.
	another(ctx context.Context) (driver, error)
	// looks sets the screen that pages are looked at with.
	looks(ctx context.Context, s screen) error
	// picture is a PNG of what is to be seen.
	picture(ctx context.Context) ([]byte, error)
	// said is what pages wrote to the console since it was last asked.
	said() []string
	close() error
}

var (
	chromium = &engine{
		name: "Chromium", setting: "STYTCHMIGRATE_CHROMIUM", needs: []string{"chromium"}, launch: startChromium,
		habits: habits{maxAge: maxAge, secureLocally: true, atOnce: 40},
	}
	firefox = &engine{
		name: "Firefox", setting: "STYTCHMIGRATE_FIREFOX", needs: []string{"firefox-esr"}, launch: startFirefox,
		habits: habits{maxAge: maxAge, secureLocally: true, partitions: true, atOnce: 40},
	}
	webkit = &engine{
		name: "WebKit", setting: "STYTCHMIGRATE_WEBKIT", needs: []string{"WebKitWebDriver", "Xvfb"}, launch: startWebKit,
		habits: habits{unsaid: "None", maxAge: math.MaxInt64, keepsPlain: true, atOnce: 6},
	}
	engines = []*engine{chromium, firefox, webkit}
)

// inEngines runs a test in each engine, and prints one table of all.
func inEngines(t *testing.T, test func(*testing.T, *engine, *results)) {
	t.Parallel()
	table := newResults(t)
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			test(t, e, table)
		})
	}
}

// running is the browser. The first test that asks starts it.
func (e *engine) running(t *testing.T) browser {
	t.Helper()
	for _, program := range e.needs {
		if _, err := exec.LookPath(program); err != nil {
			lacking(t, e, "there is no "+program)
		}
	}
	e.start.Do(func() { e.browser, e.err = e.launch() })
	require.NoError(t, e.err, "starting %s", e.name)
	return e.browser
}

func (e *engine) stop() error {
	if e.browser == nil {
		return nil
	}
	return e.browser.stop()
}

// newTab opens a tab with no cookies, which no other test sees.
func newTab(t *testing.T, e *engine) *tab {
	t.Helper()
	b := e.running(t)
	return asTab(t, e, b.open)
}

// asTab is the tab of a driver, until the test's end.
func asTab(t *testing.T, e *engine, open func(context.Context) (driver, error)) *tab {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	d, err := open(ctx)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.close()) })
	return &tab{t: t, driver: d, engine: e}
}
