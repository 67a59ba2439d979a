package statuspage_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/statuspage"
)

// The page is behind the application's own access control, and turns the rollout
// of the middleware that feeds it.
func Example() {
	var auth *stytchmigrate.Middleware
	page := statuspage.New(statuspage.Options{Dial: statuspage.Dial{
		Get: func() stytchmigrate.Rollout { return auth.Rollout() },
		Set: func(_ context.Context, r stytchmigrate.Rollout) error { return auth.SetRollout(r) },
	}})
	auth, err := stytchmigrate.New(stytchmigrate.Config{
		ProjectID: "project-test-11111111-1111-4111-8111-111111111111",
		Secret:    "secret-test-11111111111",
		OnEvent:   page.Observe,
		Rollout:   stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep, HoldBack: 90},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	adminsOnly := func(next http.Handler) http.Handler { return next } // the application's own
	mux := http.NewServeMux()
	mux.Handle("/ops/migration", adminsOnly(page))
	mux.Handle("/", auth.Handler(http.NotFoundHandler()))

	mux.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	form := httptest.NewRequest("POST", "/ops/migration", strings.NewReader("stage=replace&hold_back=50&per_second=0"))
	form.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	mux.ServeHTTP(httptest.NewRecorder(), form)
	fmt.Println(auth.Rollout().Stage, auth.Rollout().HoldBack)
	// Output: replace 50
}
