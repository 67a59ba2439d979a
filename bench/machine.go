package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// machine writes what the numbers depend on.
func machine(out *bytes.Buffer, o options) {
	fmt.Fprintf(out, "%s, %s, %s/%s, %d processors (%s). Median of %d rounds of %v each.\n",
		time.Now().UTC().Format(time.DateOnly), runtime.Version(), runtime.GOOS, runtime.GOARCH,
		runtime.GOMAXPROCS(0), processor(), o.rounds, o.each)
	if info, ok := debug.ReadBuildInfo(); ok {
		fmt.Fprintf(out, "Peers: %s.\n", strings.Join(versions(info), ", "))
	}
}

// processor is the model as Linux names it, or nothing more than that it is unknown.
func processor() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "model unknown"
}

// versions names the modules that are measured.
func versions(info *debug.BuildInfo) (all []string) {
	measured := []string{
		"github.com/MicahParks/keyfunc/v3", "github.com/alexedwards/scs/v2", "github.com/auth0/go-jwt-middleware/v2",
		"github.com/clerk/clerk-sdk-go/v2", "github.com/coreos/go-oidc/v3", "github.com/go-chi/jwtauth/v5",
		"github.com/golang-jwt/jwt/v5", "github.com/gorilla/securecookie", "github.com/lestrrat-go/jwx/v2", "github.com/lestrrat-go/jwx/v3",
	}
	for _, m := range info.Deps {
		if slices.Contains(measured, m.Path) {
			all = append(all, strings.TrimPrefix(m.Path, "github.com/")+" "+m.Version)
		}
	}
	return all
}

const (
	begin = "<!-- begin: written by go run . -o README.md -->\n"
	end   = "<!-- end -->\n"
)

// paste replaces what is between the two markers of a file.
func paste(path string, part []byte) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, rest, ok := bytes.Cut(old, []byte(begin))
	_, tail, closed := bytes.Cut(rest, []byte(end))
	if !ok || !closed {
		return fmt.Errorf("bench: %s: no lines %q and %q", path, strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return os.WriteFile(path, slices.Concat(head, []byte(begin), part, []byte(end), tail), 0o644)
}
