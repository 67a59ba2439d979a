// Command example is a small web application whose signed-in users move to
// Stytch. Its old sign-in is a signed cookie of gorilla/securecookie. The middleware
// exchanges it for a Stytch session in the first request that brings it, and expires
// it in the next request, which brings the Stytch cookies too. Its new sign-in is a
// code that Stytch sends by email.
//
// Without settings it talks to a stand-in for Stytch inside the same process.
// With STYTCH_PROJECT_ID and STYTCH_SECRET set it talks to the real API.
//
// Read app.go first, and codelogin.go: they are what your application would change.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"example.com/stytchmigrate"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends it at once
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

// run is main with its surroundings as arguments. It returns the exit code.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("example", flag.ContinueOnError)
	flags.SetOutput(stderr)
	addr := flags.String("addr", "127.0.0.1:8080", "serve on this `host:port`")
	alone := flags.Bool("walk", false, "go the whole road without a browser, explain each step, and exit")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case flags.NArg() > 0:
		fmt.Fprintf(stderr, "unknown argument %q\n", flags.Arg(0))
		flags.Usage()
		return 2
	}
	p, err := projectFrom(getenv)
	switch {
	case err != nil:
	case *alone && p != nil:
		err = errors.New("-walk takes Stytch down and up again, so it runs against the stand-in only: " +
			"unset STYTCH_PROJECT_ID and STYTCH_SECRET")
	case *alone:
		err = walk(ctx, stdout)
	default:
		err = serve(ctx, *addr, p, stdout)
	}
	if err != nil {
		fmt.Fprintln(stderr, "example:", err)
		return 1
	}
	return 0
}

// project is a Stytch project to talk to.
type project struct {
	id      string
	secret  stytchmigrate.Secret
	baseURL string // empty: the real API

	// userInfoURL is empty for the real API: by which public name Stytch reaches
	// this machine is not known here.
	userInfoURL string
}

// projectFrom returns the project that the environment names, or nil for the
// stand-in. Half a setting is an error: whoever set one of the two means the
// real API, and must not take the stand-in for it.
func projectFrom(getenv func(string) string) (*project, error) {
	id, secret := getenv("STYTCH_PROJECT_ID"), getenv("STYTCH_SECRET")
	switch {
	case id == "" && secret == "":
		return nil, nil
	case secret == "":
		return nil, errors.New("STYTCH_PROJECT_ID is set and STYTCH_SECRET is not: set both for the real API, or neither")
	case id == "":
		return nil, errors.New("STYTCH_SECRET is set and STYTCH_PROJECT_ID is not: set both for the real API, or neither")
	case strings.HasPrefix(id, "project-live-"):
		return nil, errors.New("STYTCH_PROJECT_ID is a live project's: here anybody signs in as anybody, so use a test project")
	}
	return &project{id: id, secret: stytchmigrate.Secret(secret)}, nil
}

// serve runs the application until ctx ends.
func serve(ctx context.Context, addr string, p *project, stdout io.Writer) error {
	// First the listener: the stand-in calls back to /userinfo, and must be told where.
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("%w (-addr chooses another address)", err)
	}
	defer l.Close()
	base := urlOf(l)
	a, err := newApp(base, p, slog.Default())
	if err != nil {
		return err
	}
	defer a.close()
	served := make(chan error, 1)
	go func() { served <- a.serve(ctx, l) }()
	// Before anybody is told where to go: the journal is about visitors' calls.
	fmt.Fprintf(stdout, "%s\n%s", a.check(ctx), greeting(base, p != nil))
	if err := <-served; err != nil {
		return err
	}
	fmt.Fprintln(stdout, "Ended.")
	return nil
}

// serve serves l until ctx ends, and lets the requests in flight finish.
func (a *app) serve(ctx context.Context, l net.Listener) error {
	unused := new(sync.Map) // connections that nothing was sent over yet
	server := &http.Server{Handler: a.handler(), ReadHeaderTimeout: 5 * time.Second, ConnState: func(c net.Conn, s http.ConnState) {
		if unused.Delete(c); s == http.StateNew {
			if unused.Store(c, nil); ctx.Err() != nil { // accepted too late to be found below
				_ = c.Close()
			}
		}
	}}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	// Browsers open more connections than they use, and so did Check, which asked
	// this very server. Shutdown would wait five seconds for what comes over them.
	http.DefaultClient.CloseIdleConnections()
	unused.Range(func(c, _ any) bool { _ = c.(net.Conn).Close(); return true })
	patient, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := server.Shutdown(patient); err != nil {
		return fmt.Errorf("requests were cut off: %w", errors.Join(err, server.Close()))
	}
	return nil
}

// urlOf is where to reach a listener from the same machine. "Every address" is
// one to listen on, not to go to.
func urlOf(l net.Listener) string {
	a := l.Addr().(*net.TCPAddr)
	if a.IP.IsUnspecified() {
		return fmt.Sprintf("http://127.0.0.1:%d", a.Port)
	}
	return "http://" + a.String()
}

func greeting(base string, realAPI bool) string {
	if realAPI {
		return `This application uses the real API of your Stytch test project. Two things have to be done there:

  UserInfo URL   set it in the dashboard to https://<public name>/userinfo, and let a tunnel or proxy
                 bring that one path to ` + base + `/userinfo. Only that path: anybody
                 who reaches the others signs in as anybody.
  Users          create them with these emails: ` + emails() + `.

Then open ` + base + ` and log in the old way. All keys are of this process: after a
restart the old cookies are void. Ctrl-C ends it.
`
	}
	return `A small application whose users move to Stytch; a stand-in for Stytch runs inside this process.

  open   ` + base + `
  try    log in the old way, look at your cookies, then open "Who am I": that request moves you
         take Stytch down, log in as somebody else: the old session goes on; bring Stytch back
         log out; then log in as Barbara, whose email was never verified
         sign in with Stytch, by a code; sign out everywhere
         open ` + base + `/ops, the operators' page, and change the rollout
         deploy without the old sign-in: the end of a migration
  read   example/app.go, and what "go run ./example -walk" prints

Ctrl-C ends it.
`
}
