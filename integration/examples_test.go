package integration

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
)

// twoPages are two pages of a browser that has an old cookie. It prints whom the
// handler sees, and what becomes of the cookies. userInfo is what Stytch learns
// of a token; nil: by tickets.
func twoPages(old stytchmigrate.LegacyCookie, value string, userInfo func(ctx context.Context, token string) (email string, err error)) {
	stytch, err := stytchtest.Start(stytchtest.Config{InProcess: true})
	if err != nil {
		panic(err)
	}
	defer stytch.Close()
	stytch.AddUser(stytchtest.Person("ada@example.com"))
	cfg := stytchmigrate.Config{
		ProjectID: stytch.ProjectID, Secret: stytchmigrate.Secret(stytch.Secret),
		BaseURL: stytch.URL, HTTPClient: stytch.Client(),
		Legacy: []stytchmigrate.LegacyCookie{old},
	}
	if userInfo == nil {
		cfg.Tickets = newTickets()
		userInfo = func(ctx context.Context, token string) (string, error) {
			id, err := cfg.Tickets.Redeem(ctx, token)
			return id.Email, err
		}
	}
	stytch.SetUserInfo(userInfo)
	auth, err := stytchmigrate.New(cfg)
	if err != nil {
		panic(err)
	}
	cookies := old.Name + "=" + value
	for range 2 {
		w := answer(auth, cookies)
		fmt.Println(w.Body)
		for _, c := range w.Result().Cookies() {
			if c.MaxAge >= 0 {
				cookies += "; " + c.Name + "=" + c.Value
			}
		}
	}
}

// answer is that to one request. Its body says it in words.
func answer(auth *stytchmigrate.Middleware, cookies string) *httptest.ResponseRecorder {
	r, w := httptest.NewRequest("GET", "https://app.example.com/", nil), httptest.NewRecorder()
	r.Header.Set("Cookie", cookies)
	auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, stytchmigrate.OutcomeFromContext(r.Context()))
		if u, ok := stytchmigrate.UserFromContext(r.Context()); ok {
			fmt.Fprint(w, " ", u.Emails[0].Email)
		}
	})).ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if c.MaxAge < 0 {
			fmt.Fprintf(w, ", %s expired", c.Name)
		} else {
			fmt.Fprintf(w, ", %s set", c.Name)
		}
	}
	return w
}
