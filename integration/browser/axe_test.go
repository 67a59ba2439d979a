package browser

import (
	"context"
	"encoding/json"
	"os"
	"testing"

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

// axe is what axe-core finds wrong on the page. Drivers run it, and them the page's
// Content-Security-Policy does not bind.
func axe(t *testing.T, d driver) []finding {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := d.eval(ctx, "(() => {"+npm(t, "axe-core/axe.min.js")+"\n})()")
	require.NoError(t, err)
	raw, err := d.eval(ctx, "axe.run()")
	require.NoError(t, err)
	var out struct {
		Violations []finding
		Passes     []struct{ ID string }
	}
	require.NoError(t, json.Unmarshal(raw, &out))
	require.NotEmpty(t, out.Passes, "axe-core looked at nothing")
	return out.Violations
}

// npm is a file of a package that package-lock.json pins.
func npm(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile("node_modules/" + path)
	if os.IsNotExist(err) {
		lacking(t, chromium, "npm ci was not run in integration/browser: no "+path)
	}
	require.NoError(t, err)
	return string(b)
}
