package stytchmigrate_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/storetest"
	"example.com/stytchmigrate/stytchtest"
	"example.com/stytchmigrate/userinfo"
)

// Each row is a Stytch user that an exchange for ada is answered with. The session of
// another person is refused and revoked, and the answer is remembered. The rules are
// pinned in internal/identity, and which members of the answer they go by is here.
func TestPersonOfAnswer(t *testing.T) {
	const stranger, quiet = apptest.RefusedUntouched + "migrate revoke", apptest.RefusedUntouched + "-"
	unverified := []stytchtest.Email{{Email: "ada@example.com"}}
	for name, row := range map[string]struct {
		change func(*stytchtest.User)
		want   string
	}{
		"the same email":                {func(*stytchtest.User) {}, apptest.Moved},
		"another email":                 {func(u *stytchtest.User) { u.Emails[0].Email = "eve@example.com" }, stranger},
		"no email":                      {func(u *stytchtest.User) { u.Emails = nil }, stranger},
		"another external id":           {func(u *stytchtest.User) { u.ExternalID = "eve" }, stranger},
		"unverified":                    {func(u *stytchtest.User) { u.Emails = unverified }, apptest.Moved},
		"unverified, beside another":    {func(u *stytchtest.User) { u.Emails = append([]stytchtest.Email{{Email: "a@b.example"}}, unverified...) }, stranger},
		"unverified, with a password":   {func(u *stytchtest.User) { u.Emails, u.HasPassword = unverified, true }, stranger},
		"unverified, with a passkey":    {func(u *stytchtest.User) { u.Emails, u.HasPasskey = unverified, true }, stranger},
		"unverified, with an account":   {func(u *stytchtest.User) { u.Emails, u.OAuth = unverified, "Google" }, stranger},
		"unverified, with a telephone":  {func(u *stytchtest.User) { u.Emails, u.PhoneNumber = unverified, "+15005550006" }, stranger},
		"unverified, with an app":       {func(u *stytchtest.User) { u.Emails, u.HasTOTP = unverified, true }, stranger},
		"unverified, with a wallet":     {func(u *stytchtest.User) { u.Emails, u.HasWallet = unverified, true }, stranger},
		"unverified, with a finger":     {func(u *stytchtest.User) { u.Emails, u.HasBiometric = unverified, true }, stranger},
		"unverified, with ada's id":     {func(u *stytchtest.User) { u.Emails, u.HasPasskey, u.ExternalID = unverified, true, "ada" }, apptest.Moved},
		"verified, with a passkey":      {func(u *stytchtest.User) { u.HasPasskey = true }, apptest.Moved},
		"a Kelvin sign in place of a k": {func(u *stytchtest.User) { u.Emails[0].Email = "ada@example.\u212aom" }, stranger},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				answerWith(a, row.change)
				require.Equal(t, row.want, a.Get("sid=ada-1").String())
				assert.Equal(t, row.want == apptest.Moved, a.Stytch.Sessions()[0].Live)
				if row.want == stranger {
					assert.Equal(t, quiet, a.Get("sid=ada-1").String())
					assert.Len(t, a.Events, 1)
					assert.Equal(t, 1, strings.Count(a.Log.String(), `"msg":"stytchmigrate: mismatch"`))
				}
			})
		})
	}
}

// answerWith changes ada's user at Stytch. Her emails change only in the answer to an
// exchange, since the stand-in finds her by them.
func answerWith(a *apptest.App, change func(*stytchtest.User)) {
	change(&a.Ada)
	emails := []any{}
	for _, e := range a.Ada.Emails {
		emails = append(emails, map[string]any{"email_id": "email-test-1", "email": e.Email, "verified": e.Verified})
	}
	a.Stytch.UpdateUser(a.Ada.ID, func(u *stytchtest.User) {
		found := slices.Clone(u.Emails)
		change(u)
		u.Emails = found
	})
	a.Stytch.Fail(stytchtest.Migrate, stytchtest.Mutate(func(body map[string]any) { body["user"].(map[string]any)["emails"] = emails }))
}

// resolveTo makes every legacy session ada's, with this email, from now on.
func resolveTo(a *apptest.App, email string) {
	a.Resolve = func(value string) (stytchmigrate.LegacySession, error) {
		s := apptest.LegacySession("ada", value)
		s.Identity.Email = email
		return s, nil
	}
}

// redeeming is Stytch asking the application's endpoint whose a ticket is.
func redeeming(tickets *userinfo.Tickets) func(context.Context, string) (string, error) {
	return func(ctx context.Context, ticket string) (string, error) {
		id, err := tickets.Redeem(ctx, ticket)
		return id.Email, err
	}
}

// Each row is eve, who has an account of the old application and wants that of ada at
// Stytch: by the email that the application has of her, or by what she made of ada's
// user at Stytch beforehand. Stytch asks our own endpoint.
func TestTakeover(t *testing.T) {
	const stranger = apptest.RefusedUntouched + "migrate revoke"
	withoutCall := apptest.RefusedUntouched + "-"
	ada := userinfo.Identity{Subject: "ada", Email: "ada@example.com", EmailVerified: true}
	eve := func(email string) userinfo.Identity {
		return userinfo.Identity{Subject: "eve", Email: email, EmailVerified: true}
	}
	unverified := stytchtest.Email{Email: "ada@example.com"}
	hasID := func(u *stytchtest.User) { u.ExternalID = "ada" }
	has := func(password bool, emails ...stytchtest.Email) func(*stytchtest.User) {
		return func(u *stytchtest.User) { u.HasPassword, u.Emails = password, emails }
	}
	for name, row := range map[string]struct {
		id   userinfo.Identity
		user func(*stytchtest.User)
		want string
	}{
		"ada's email, unverified":                {userinfo.Identity{Subject: "eve", Email: "ada@example.com"}, nil, withoutCall},
		"in capitals, but ada's user has her id": {eve("ADA@EXAMPLE.COM"), hasID, stranger},
		"a Cyrillic a":                           {eve("\u0430da@example.com"), nil, withoutCall},
		"two @":                                  {eve("ada@example.com@evil.example"), nil, withoutCall},
		"a quoted @":                             {eve(`"ada@example.com"@evil.example`), nil, withoutCall},
		"a display name":                         {eve("eve@evil.example <ada@example.com>"), nil, withoutCall},
		"a line break":                           {eve("ada@example.com\r\neve@evil.example"), nil, withoutCall},
		"signed up at Stytch by ada's email":     {ada, has(true, unverified), stranger},
		"ada's email beside one of her own":      {ada, has(false, stytchtest.Email{Email: "eve@evil.example", Verified: true}, unverified), stranger},
		"no attack: ada was imported":            {ada, has(false, unverified), apptest.Moved},
		"no attack: ada has signed in there":     {ada, has(true, stytchtest.Email{Email: "ada@example.com", Verified: true}), apptest.Moved},
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
					assert.Equal(t, row.want == apptest.Moved, s.Live)
				}
			}, setting, apptest.ResolveAlways(stytchmigrate.LegacySession{ID: "1", Identity: row.id}))
		})
	}
}

// A ticket that is not good moves no one, and the session can move later.
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
		assert.Equal(t, apptest.Moved, a.Get(cookie(tickets, a.Stytch.ProjectID)).String())
	})
}

// Stytch answers with a user other than the one asked for.
func TestAnswerIsSomebodyElse(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Stytch.Accept("ada-token", "bob@example.com")
		assert.Equal(t, apptest.RefusedUntouched+"migrate revoke", a.Get("sid=ada-1").String())
		assert.False(t, a.Stytch.Sessions()[0].Live)
		require.Len(t, a.Events, 1)
		assert.Equal(t, "mismatch", a.Events[0].Kind)
		assert.Equal(t, a.Bob.ID, a.Events[0].UserID, "whom Stytch named")
		assert.NotEmpty(t, a.Events[0].Fingerprint)
		assert.Contains(t, a.Log.String(), a.Events[0].Fingerprint)

		a.Stytch.Accept("ada-token", "ada@example.com")
		time.Sleep(59 * time.Second)
		assert.Equal(t, apptest.RefusedUntouched+"-", a.Get("sid=ada-1").String(), "remembered")
		time.Sleep(time.Second)
		assert.Equal(t, apptest.Moved, a.Get("sid=ada-1").String())
	})
}

// A session of another person that could not be revoked is not handed out either.
func TestRevocationFails(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Stytch.Accept("ada-token", "bob@example.com")
		a.Stytch.FailAll(stytchtest.Revoke, stytchtest.Error(500, "internal_server_error"))
		assert.Equal(t, apptest.RefusedUntouched+"migrate revoke revoke", a.Get("sid=ada-1").String())
		synctest.Wait()
		require.Len(t, a.Events, 2)
		assert.ElementsMatch(t, []string{"mismatch", "revocation"}, []string{a.Events[0].Kind, a.Events[1].Kind})
		assert.Equal(t, apptest.RefusedUntouched+"-", a.Get("sid=ada-1").String())
		assert.Contains(t, a.Log.String(), `"op":"revoke"`)
	})
}

// Each row is an identity that the application does not vouch for. It is refused
// without a call.
func TestUnvouchedPerson(t *testing.T) {
	for name, id := range map[string]userinfo.Identity{
		"no email":           {Subject: "ada"},
		"no subject":         {Email: "ada@example.com", EmailVerified: true},
		"unverified":         {Subject: "ada", Email: "ada@example.com"},
		"two @":              {Subject: "ada", Email: "ada@example.com@example.com", EmailVerified: true},
		"control characters": {Subject: "ada", Email: "ada@example.com\r\n", EmailVerified: true},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				assert.Equal(t, apptest.RefusedUntouched+"-", a.Get("sid=ada-1").String())
			}, apptest.ResolveAlways(stytchmigrate.LegacySession{ID: "1", Token: "ada-token", Identity: id}))
		})
	}
}

// Requests of a refused session come again and again. One line is logged of them.
func TestUnverifiedIdentityIsLoggedOnce(t *testing.T) {
	unverified := stytchmigrate.LegacySession{ID: "1", Token: "ada-token", Identity: userinfo.Identity{Subject: "ada"}}
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Get("sid=ada-1")
		a.Get("sid=ada-1")
		assert.Equal(t, 1, strings.Count(a.Log.String(), "legacy session refused"))
	}, apptest.ResolveAlways(unverified))
}

// A session that is remembered is compared with the identity that a request gives now.
func TestRememberedForAnotherPerson(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		require.Equal(t, apptest.Moved, a.Get("sid=ada-1").String())
		resolveTo(a, "bob@example.com")
		a.Stytch.Fail(stytchtest.Revoke, stytchtest.Delay(time.Second))
		began := time.Now()
		refused := a.Get("sid=ada-1")
		assert.Zero(t, time.Since(began), "the request does not wait until it is revoked")
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Equal(t, apptest.RefusedUntouched+"revoke", refused.String())
		assert.False(t, a.Stytch.Sessions()[0].Live)
		require.Len(t, a.Events, 1)
		assert.Equal(t, "mismatch", a.Events[0].Kind)
		assert.Equal(t, a.Ada.ID, a.Events[0].UserID)
		assert.Equal(t, "ada", a.Events[0].Subject)
		assert.NotContains(t, a.Log.String(), "@example.com")

		assert.Equal(t, apptest.RefusedUntouched+"-", a.Get("sid=ada-1").String(), "remembered")
		assert.Len(t, a.Events, 1, "and reported once")
		resolveTo(a, "ada@example.com")
		time.Sleep(time.Minute)
		assert.Equal(t, apptest.Moved, a.Get("sid=ada-1").String(), "it did not count as a logout")
		assert.Len(t, a.Stytch.Sessions(), 2)
	})
}

// A page loads twenty things at once. One mismatch is one revocation and one event.
func TestRememberedForAnotherPersonInParallel(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		require.Equal(t, apptest.Moved, a.Get("sid=ada-1").String())
		resolveTo(a, "bob@example.com")
		time.Sleep(11 * time.Second) // then Stytch is asked again, and all wait for that
		a.Stytch.FailAll(stytchtest.Authenticate, stytchtest.Delay(100*time.Millisecond))
		for _, v := range a.Crowd(20, func(_ int, r *http.Request) (*http.Request, time.Duration) { return r, 0 }) {
			assert.Equal(t, stytchmigrate.OutcomeRefused, v.Outcome)
		}
		synctest.Wait()
		assert.Equal(t, 1, a.Stytch.Count(stytchtest.Revoke))
		assert.Len(t, a.Events, 1)
		assert.Equal(t, 1, strings.Count(a.Log.String(), `"msg":"stytchmigrate: mismatch"`))
	})
}

// A machine that has the record from another one revokes the session for both.
func TestRecordedForAnotherPerson(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		first := a.On(m[0]).Get("sid=ada-1")
		require.Equal(t, apptest.Moved, first.String())
		resolveTo(a, "bob@example.com")
		refused := a.On(m[1]).Get("sid=ada-1")
		synctest.Wait()
		assert.Equal(t, apptest.RefusedUntouched+"revoke", refused.String())
		assert.False(t, a.Stytch.Sessions()[0].Live)

		assert.Equal(t, "authenticated ada | - | - | -", a.On(m[0]).Get(first.Jar("")).String(), "good until the JWT expires")
		resolveTo(a, "ada@example.com")
		time.Sleep(time.Minute)
		assert.Equal(t, apptest.Moved, a.On(m[0]).Get("sid=ada-1").String())
		assert.Len(t, a.Stytch.Sessions(), 2)
	})
}

// Each row is the machines that meet the session again after the mark that it was given
// up has expired, which is after thirty days, and what they do. The first machine still
// has the old record in memory: that must not look like a logout.
func TestSessionGivenUpIsNotEndedLater(t *testing.T) {
	for name, row := range map[string]struct {
		on   []int
		want []string
	}{
		"another machine first":    {[]int{2, 0}, []string{apptest.Moved, apptest.MovedAfter + "-"}},
		"the machine that knew it": {[]int{0}, []string{apptest.Moved}},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
				require.Equal(t, apptest.Moved, a.On(m[0]).Get("sid=ada-1").String())
				resolveTo(a, "bob@example.com")
				a.On(m[1]).Get("sid=ada-1")
				resolveTo(a, "ada@example.com")
				time.Sleep(31 * 24 * time.Hour)
				for i, machine := range row.on {
					assert.Equal(t, row.want[i], a.On(m[machine]).Get("sid=ada-1").String())
				}
			}, func(c *stytchmigrate.Config) { c.SessionDuration = 90 * 24 * time.Hour })
		})
	}
}

// The subject of a refused session is in the event, so that the operator can find the
// user. Other requests do not have it.
func TestSubjectOfRefused(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Get("sid=ada-1")
		a.Stytch.RemoveUser(a.Bob.ID)
		a.Get("sid=bob-1")
		require.Len(t, a.Requests, 2)
		assert.Equal(t, stytchmigrate.OutcomeMigrated, a.Requests[0].Outcome)
		assert.Empty(t, a.Requests[0].Subject)
		assert.Equal(t, stytchmigrate.OutcomeRefused, a.Requests[1].Outcome)
		assert.Equal(t, "bob", a.Requests[1].Subject)
	})
}

// A subject that is an email is left out, in whatever way its @ is written.
func TestSubjectThatIsAnEmail(t *testing.T) {
	for _, subject := range []string{"ada＠example.com", "ada﹫example.com", "ada%40example.com", "mailto:ada%40example.com"} {
		apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
			a.Resolve = func(value string) (stytchmigrate.LegacySession, error) {
				s := apptest.LegacySession("ada", value)
				s.Identity.Subject = subject
				return s, nil
			}
			a.Stytch.Accept("ada-token", "bob@example.com")
			a.Get("sid=ada-1")
			require.Len(t, a.Events, 1)
			assert.Empty(t, a.Events[0].Subject)
			require.Len(t, a.Requests, 1)
			assert.Equal(t, stytchmigrate.OutcomeRefused, a.Requests[0].Outcome)
			assert.Empty(t, a.Requests[0].Subject)
			assert.NotContains(t, a.Log.String(), "example.com\"")
		})
	}
}
