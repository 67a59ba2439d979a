package apptest

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
)

// App is an application behind the middleware. Requests may run at the same
// time only where a method says so.
type App struct {
	Stytch     *stytchtest.Server        // the stand-in for Stytch
	Middleware *stytchmigrate.Middleware // takes the next request; see On
	Ada, Bob   stytchtest.User           // the users as Stytch knows them

	// A test sets these between requests.
	Handler http.HandlerFunc                                        // the page; nil writes nothing
	Resolve func(value string) (stytchmigrate.LegacySession, error) // reads "sid"; nil knows ada and bob

	// A test reads these between requests.
	Requests    []stytchmigrate.Event       // the events of kind "request"
	Events      []stytchmigrate.Event       // all other events; see SettledEvents
	CookiesSeen []string                    // the Cookie header that the page saw, for each request
	LegacySeen  stytchmigrate.LegacySession // LegacyFromContext of the latest request
	Log         bytes.Buffer                // what the middleware logged, as JSON

	Mu     sync.Mutex   // guards Requests and Events while requests run
	logger *slog.Logger // one for all machines, because its handler guards Log
}

// InBubble runs f in a bubble of testing/synctest, beside other tests. change
// is applied to the Config.
func InBubble(t *testing.T, f func(t *testing.T, a *App), change ...func(*stytchmigrate.Config)) {
	t.Helper()
	RunParallel(t)
	synctest.Test(t, func(t *testing.T) {
		t.Helper()
		a := New(t, stytchtest.Config{InProcess: true}, change...)
		defer time.Sleep(15 * time.Second) // calls that outlive their requests must end in the bubble
		f(t, a)
	})
}

// parallel holds the tests that called t.Parallel, which panics the second time.
var parallel sync.Map

// RunParallel is t.Parallel for a test that may have called it before: one that
// opens several bubbles, for example.
func RunParallel(t *testing.T) {
	t.Helper()
	if _, again := parallel.LoadOrStore(t, true); !again {
		t.Cleanup(func() { parallel.Delete(t) })
		t.Parallel()
	}
}

// New makes an App without a bubble, for a test that uses sockets or opens a
// bubble itself.
func New(t *testing.T, stytch stytchtest.Config, change ...func(*stytchmigrate.Config)) *App {
	t.Helper()
	a := &App{Stytch: stytchtest.NewServer(t, stytch)}
	a.logger = slog.New(slog.NewJSONHandler(&a.Log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	a.Ada = a.Stytch.AddUser(stytchtest.Person("ada@example.com"))
	a.Bob = a.Stytch.AddUser(stytchtest.Person("bob@example.com"))
	for _, name := range []string{"ada", "bob"} {
		a.Stytch.Accept(name+"-token", name+"@example.com")
	}
	a.Middleware = a.Machines(t, 1, change...)[0]
	return a
}

// config is the Config of all machines, before a test changes it.
func (a *App) config() stytchmigrate.Config {
	return stytchmigrate.Config{
		ProjectID:  a.Stytch.ProjectID,
		Secret:     stytchmigrate.Secret(a.Stytch.Secret),
		BaseURL:    a.Stytch.URL,
		HTTPClient: a.Stytch.Client(),
		Legacy:     []stytchmigrate.LegacyCookie{{Name: "sid", Resolve: a.resolve}},
		Logger:     a.logger,
		OnEvent:    a.record,
	}
}

func (a *App) record(_ context.Context, e stytchmigrate.Event) {
	a.Mu.Lock()
	defer a.Mu.Unlock()
	if e.Kind == "request" {
		a.Requests = append(a.Requests, e)
		return
	}
	a.Events = append(a.Events, e)
}

// SettledEvents returns Events once all that goes on behind requests is done,
// because the middleware reports some events from goroutines of their own.
func (a *App) SettledEvents() []stytchmigrate.Event {
	synctest.Wait()
	a.Mu.Lock()
	defer a.Mu.Unlock()
	return a.Events
}

// EventsOf returns the events of a kind, as in "store failed". Only an event
// that says "recovered" may come without an error.
func (a *App) EventsOf(kind string) (out []string) {
	for _, e := range a.SettledEvents() {
		if e.Kind != kind {
			continue
		}
		out = append(out, e.Kind+" "+e.Cause)
		if (e.Err == nil) != (e.Cause == "recovered") {
			out = append(out, "wrong error")
		}
	}
	return out
}

// SetRollout puts a Rollout in force.
func (a *App) SetRollout(t *testing.T, r stytchmigrate.Rollout) {
	t.Helper()
	require.NoError(t, a.Middleware.SetRollout(r))
}

// Who is the outcome of a request, and the name of its user if there is one.
func (a *App) Who(ctx context.Context) string {
	outcome := stytchmigrate.OutcomeFromContext(ctx).String()
	u, ok := stytchmigrate.UserFromContext(ctx)
	switch {
	case !ok:
		return outcome
	case u.Partial:
		outcome += " partial"
	}
	switch u.UserID {
	case a.Ada.ID:
		return outcome + " ada"
	case a.Bob.ID:
		return outcome + " bob"
	}
	return outcome + " somebody else"
}
