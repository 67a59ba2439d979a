package browser

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain ends the browsers, and fails the run if a goroutine is left then.
func TestMain(m *testing.M) {
	code := m.Run()
	for _, e := range engines {
		if err := e.stop(); err != nil {
			fmt.Fprintf(os.Stderr, "ending %s: %v\n", e.name, err)
			code = max(code, 1)
		}
	}
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// lacking skips a test that the machine lacks something for, unless the
// environment says that the engine is required.
func lacking(t *testing.T, e *engine, what string) {
	t.Helper()
	if os.Getenv(e.setting) == "required" {
		t.Fatal(what)
	}
	t.Skip(what)
}
