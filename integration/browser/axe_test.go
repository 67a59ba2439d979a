package browser

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// finding is a rule of axe-core that a page breaks.
type finding struct {
	ID, Impact, Help string
	Nodes            []struct {
		HTML           string
		FailureSummary string
	}
}

// String is for the message of a test that fails.
func (f finding) String() string {
	text := "\n" + f.Impact + " " + f.ID + ": " + f.Help
	for _, n := range f.Nodes {
		text += "\n    " + n.HTML + "\n    " + n.FailureSummary
	}
	return text
}

// axe is what axe-core finds wrong on the page. It is run by the devtools, which
// the page's Content-Security-Policy does not bind.
func axe(p *tab) []finding {
	p.t.Helper()
	p.do(chromedp.Evaluate[chromedp.Void](npm(p.t, "axe-core/axe.min.js")))
	raw := get(p, chromedp.Evaluate[string](`axe.run().then(r => JSON.stringify(r))`, chromedp.EvalAwaitPromise))
	var out struct {
		Violations []finding
		Passes     []struct{ ID string }
	}
	require.NoError(p.t, json.Unmarshal([]byte(raw), &out))
	require.NotEmpty(p.t, out.Passes, "axe-core looked at nothing")
	return out.Violations
}

// npm is a file of a package that package-lock.json pins.
func npm(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile("node_modules/" + path)
	if os.IsNotExist(err) {
		lacking(t, "npm ci was not run in integration/browser: no "+path)
	}
	require.NoError(t, err)
	return string(b)
}
