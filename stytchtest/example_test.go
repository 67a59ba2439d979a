package stytchtest_test

import (
	"fmt"
	"net/http"
	"strings"

	"example.com/stytchmigrate/stytchtest"
)

// In a test, NewServer(t, stytchtest.Config{}) takes the place of Start and Close.
func Example() {
	s, err := stytchtest.Start(stytchtest.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	jane := s.AddUser(stytchtest.Person("jane@example.com"))
	s.Accept("legacy-token", "jane@example.com")
	s.Fail(stytchtest.Migrate, stytchtest.Error(503, "server_unavailable").WithHeader("Retry-After", "1"))

	for range 2 {
		r, _ := http.NewRequest("POST", s.URL+"/v1/sessions/migrate",
			strings.NewReader(`{"session_token":"legacy-token","session_duration_minutes":60}`))
		r.SetBasicAuth(s.ProjectID, s.Secret)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			fmt.Println(err)
			return
		}
		resp.Body.Close()
		fmt.Printf("%s, Retry-After %q\n", resp.Status, resp.Header.Get("Retry-After"))
	}
	fmt.Println(s.Count(stytchtest.Migrate), "calls,", len(s.Sessions()), "session")
	fmt.Println(s.Sessions()[0].UserID == jane.ID)
	// Output:
	// 503 Service Unavailable, Retry-After "1"
	// 200 OK, Retry-After ""
	// 2 calls, 1 session
	// true
}

// A call can be kept waiting for as long as a test needs to look at what the
// program does meanwhile.
func ExampleHold() {
	s, _ := stytchtest.Start(stytchtest.Config{InProcess: true})
	defer s.Close()
	var hold stytchtest.Hold
	s.Fail(stytchtest.JWKS, stytchtest.Fault{}.WithHold(&hold))

	answered := make(chan string)
	go func() {
		resp, err := s.Client().Get(s.URL + "/v1/sessions/jwks/" + s.ProjectID)
		if err != nil {
			answered <- err.Error()
			return
		}
		resp.Body.Close()
		answered <- resp.Status
	}()
	<-hold.Arrived()
	fmt.Println(s.InFlight(stytchtest.JWKS), "in flight")
	hold.Release()
	fmt.Println(<-answered)
	// Output:
	// 1 in flight
	// 200 OK
}
