package stytchmigrate_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
	"example.com/stytchmigrate/userinfo"
)

// redeeming is Stytch asking the application's endpoint whose a ticket is.
func redeeming(tickets *userinfo.Tickets) func(context.Context, string) (string, error) {
	return func(ctx context.Context, ticket string) (string, error) {
		id, err := tickets.Redeem(ctx, ticket)
		return id.Email, err
	}
}

// Each row is eve, who has an account of the old application and wants that of
// ada at Stytch: by the email that the application has of her, or by what she
// made of ada's user at Stytch beforehand.
func TestTakeover(t *testing.T) {
	const stranger = apptest.RefusedUntouched + "migrate revoke"
	withoutCall := apptest.RefusedUntouched + "-"
	ada := userinfo.Identity{Subject: "ada", Email: "ada@example.com", EmailVerified: true}
	eve := func(email string) userinfo.Identity {
		return userinfo.Identity{Subject: "eve", Email: email, EmailVerified: true}
	}
	email := func(email string, verified bool) stytchtest.Email {
		return stytchtest.Email{Email: email, Verified: verified}
	}
	hasID := func(u *stytchtest.User) { u.ExternalID = "ada" }
	has := func(password bool, emails ...stytchtest.Email) func(*stytchtest.User) {
		return func(u *stytchtest.User) { u.HasPassword, u.Emails = password, emails }
	}
	for name, row := range map[string]struct {
		id   userinfo.Identity
		user func(*stytchtest.User)
		want string
	}{
		"ada's email, that nobody verified":      {userinfo.Identity{Subject: "eve", Email: "ada@example.com"}, nil, withoutCall},
		"in capitals, that nobody verified":      {userinfo.Identity{Subject: "eve", Email: "ADA@EXAMPLE.COM"}, nil, withoutCall},
		"in capitals, but ada's user has her id": {eve("ADA@EXAMPLE.COM"), hasID, stranger},
		"ada's email, but ada's user has her id": {eve("ada@example.com"), hasID, stranger},
		"a dotless i":                            {eve("ada@example.b\u0131z"), nil, withoutCall},
		"a Cyrillic a":                           {eve("\u0430da@example.com"), nil, withoutCall},
		"a fullwidth a":                          {eve("\uff41da@example.com"), nil, withoutCall},
		"a Kelvin sign":                          {eve("\u212aate@example.com"), nil, withoutCall},
		"a soft hyphen":                          {eve("a\u00adda@example.com"), nil, withoutCall},
		"two @":                                  {eve("ada@example.com@evil.example"), nil, withoutCall},
		"two @, the other way round":             {eve("eve@evil.example@example.com"), nil, withoutCall},
		"a quoted @":                             {eve(`"ada@example.com"@evil.example`), nil, withoutCall},
		"a comment":                              {eve("ada(@evil.example)@example.com"), nil, withoutCall},
		"a display name":                         {eve("eve@evil.example <ada@example.com>"), nil, withoutCall},
		"a list":                                 {eve("ada@example.com,eve@evil.example"), nil, withoutCall},
		"a space":                                {eve("ada@example.com "), nil, withoutCall},
		"a NUL":                                  {eve("ada@example.com\x00.evil.example"), nil, withoutCall},
		"a line break":                           {eve("ada@example.com\r\neve@evil.example"), nil, withoutCall},
		"a dot at the end":                       {eve("ada@example.com."), nil, withoutCall},
		"signed up at Stytch by ada's email":     {ada, has(true, email("ada@example.com", false)), stranger},
		"ada's email beside one of her own":      {ada, has(false, email("eve@evil.example", true), email("ada@example.com", false)), stranger},
		"one of her own beside ada's":            {ada, has(false, email("ada@example.com", false), email("eve@evil.example", true)), stranger},
		"one of her own beside ada's, neither verified": {ada, has(false, email("ada@example.com", false), email("eve@evil.example", false)), stranger},
		"nobody wants it: ada was imported":             {ada, has(false, email("ada@example.com", false)), apptest.Swapped},
		"nobody wants it: ada has signed in there":      {ada, has(true, email("ada@example.com", true)), apptest.Swapped},
	} {
		t.Run(name, func(t *testing.T) {
			tickets, setting := apptest.WithTickets(t)
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				if row.user != nil {
					a.Stytch.UpdateUser(a.Ada.ID, row.user)
				}
				a.Stytch.SetUserInfo(redeeming(tickets))
				assert.Equal(t, row.want, a.Get("sid=ada-1").String())
				for _, s := range a.Stytch.Sessions() {
					assert.Equal(t, row.want == apptest.Swapped, s.Live)
				}
			}, setting, apptest.Resolving(stytchmigrate.LegacySession{ID: "1", Identity: row.id}))
		})
	}
}

// A ticket that is not good moves nobody, and nothing is lost by it.
func TestTicketsThatAreNotGood(t *testing.T) {
	tickets, _ := apptest.WithTickets(t)
	sameKeys, _ := apptest.WithTickets(t)
	otherKeys, err := userinfo.NewTickets(apptest.KeyOf('x', 32), apptest.KeyOf('y', 32))
	require.NoError(t, err)
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Stytch.SetUserInfo(redeeming(tickets))
		a.Resolve = func(value string) (stytchmigrate.LegacySession, error) {
			s := apptest.LegacySession("ada", "1")
			s.Token = stytchmigrate.Secret(value)
			return s, nil
		}
		cookie := func(by *userinfo.Tickets, project string) string {
			ticket, err := by.Minter(project)(apptest.LegacySession("ada", "1").Identity)
			require.NoError(t, err)
			return "sid=" + ticket
		}
		old := cookie(tickets, a.Stytch.ProjectID)
		assert.Equal(t, apptest.UnavailableUntouched+"migrate", a.Get(cookie(otherKeys, a.Stytch.ProjectID)).String(), "of other keys")
		time.Sleep(6 * time.Second) // a UserInfo endpoint that says no is not asked about that session for five
		assert.Equal(t, apptest.UnavailableUntouched+"migrate", a.Get(cookie(sameKeys, "project-test-another")).String(), "of another project")
		time.Sleep(85 * time.Second)
		assert.Equal(t, apptest.UnavailableUntouched+"migrate", a.Get(old).String(), "replayed after its life")
		time.Sleep(6 * time.Second)
		assert.Equal(t, apptest.Swapped, a.Get(cookie(tickets, a.Stytch.ProjectID)).String())
	})
}
