package userinfo_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/gorilla/securecookie"

	"example.com/stytchmigrate/userinfo"
)

func ExampleTickets() {
	// In production the keys come from where the application keeps its secrets,
	// and are the same on every machine.
	hashKey, blockKey := securecookie.GenerateRandomKey(32), securecookie.GenerateRandomKey(32)
	tickets, err := userinfo.NewTickets(hashKey, blockKey)
	if err != nil {
		fmt.Println(err)
		return
	}

	// The URL of this endpoint is set in Stytch's dashboard.
	mux := http.NewServeMux()
	mux.Handle("/userinfo", userinfo.Handler(tickets.Redeem))
	srv := httptest.NewServer(mux)
	defer srv.Close()

	// The middleware mints a ticket for the user of a legacy session …
	mint := tickets.Minter("project-test-11111111-1111-4111-8111-111111111111")
	ticket, err := mint(userinfo.Identity{Subject: "17", Email: "ada@example.org", EmailVerified: true})
	if err != nil {
		fmt.Println(err)
		return
	}

	// … and Stytch, which is given the ticket, asks whose it is.
	req, err := http.NewRequest("GET", srv.URL+"/userinfo", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	req.Header.Set("Authorization", "Bearer "+ticket)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Println(resp.Status, string(body), err)
	// Output: 200 OK {"sub":"17","email":"ada@example.org","email_verified":true} <nil>
}

// An application whose legacy tokens are its own looks them up itself. Its "no"
// must be ErrInvalidToken: any other error tells Stytch to come back later.
func ExampleHandler() {
	sessions := map[string]userinfo.Identity{
		"3q2-7wAAAAE": {Subject: "17", Email: "ada@example.org", EmailVerified: true},
	}
	h := userinfo.Handler(func(_ context.Context, token string) (userinfo.Identity, error) {
		id, ok := sessions[token]
		if !ok {
			return userinfo.Identity{}, userinfo.ErrInvalidToken
		}
		return id, nil
	})

	for _, token := range []string{"3q2-7wAAAAE", "unknown"} {
		r := httptest.NewRequest("GET", "/userinfo", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		fmt.Printf("%d %q\n", w.Code, w.Header().Get("WWW-Authenticate"))
	}
	// Output:
	// 200 ""
	// 401 "Bearer error=\"invalid_token\""
}
