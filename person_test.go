package stytchmigrate_test

import (
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

// Each row is a Stytch user that an exchange for ada is answered with. One who
// is somebody else gets nobody's page: the session is revoked, and the answer
// remembered.
func TestPersonOfAnswer(t *testing.T) {
	const stranger, quiet = apptest.RefusedUntouched + "migrate revoke", apptest.RefusedUntouched + "-"
	unverified := []stytchtest.Email{{Email: "ada@example.com"}}
	for name, row := range map[string]struct {
		change func(*stytchtest.User)
		want   string
	}{
		"the same email":             {func(*stytchtest.User) {}, apptest.Swapped},
		"in capitals":                {func(u *stytchtest.User) { u.Emails[0].Email = "ADA@Example.COM" }, apptest.Swapped},
		"one of two":                 {func(u *stytchtest.User) { u.Emails = append(u.Emails, stytchtest.Email{Email: "a@b.example"}) }, apptest.Swapped},
		"her external id":            {func(u *stytchtest.User) { u.ExternalID = "ada" }, apptest.Swapped},
		"another external id":        {func(u *stytchtest.User) { u.ExternalID = "eve" }, stranger},
		"an external id in capitals": {func(u *stytchtest.User) { u.ExternalID = "ADA" }, stranger},
		"unverified":                 {func(u *stytchtest.User) { u.Emails = unverified }, apptest.Swapped},
		"unverified, with a password": {func(u *stytchtest.User) {
			u.Emails, u.HasPassword = unverified, true
		}, stranger},
		"unverified, with a passkey":    {func(u *stytchtest.User) { u.Emails, u.HasPasskey = unverified, true }, stranger},
		"unverified, with an account":   {func(u *stytchtest.User) { u.Emails, u.OAuth = unverified, "Google" }, stranger},
		"unverified, with a telephone":  {func(u *stytchtest.User) { u.Emails, u.PhoneNumber = unverified, "+15005550006" }, stranger},
		"unverified, with an app":       {func(u *stytchtest.User) { u.Emails, u.HasTOTP = unverified, true }, stranger},
		"unverified, with a wallet":     {func(u *stytchtest.User) { u.Emails, u.HasWallet = unverified, true }, stranger},
		"unverified, with a finger":     {func(u *stytchtest.User) { u.Emails, u.HasBiometric = unverified, true }, stranger},
		"unverified, her external id":   {func(u *stytchtest.User) { u.Emails, u.HasPasskey, u.ExternalID = unverified, true, "ada" }, apptest.Swapped},
		"verified, with a passkey":      {func(u *stytchtest.User) { u.HasPasskey = true }, apptest.Swapped},
		"another email":                 {func(u *stytchtest.User) { u.Emails[0].Email = "eve@example.com" }, stranger},
		"no email":                      {func(u *stytchtest.User) { u.Emails = nil }, stranger},
		"a Kelvin sign in place of a k": {func(u *stytchtest.User) { u.Emails[0].Email = "ada@example.\u212aom" }, stranger},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				row.change(&a.Ada)
				user := stytchtest.Mutate(func(body map[string]any) {
					emails := []any{}
					for _, e := range a.Ada.Emails {
						emails = append(emails, map[string]any{"email_id": "email-test-1", "email": e.Email, "verified": e.Verified})
					}
					body["user"].(map[string]any)["emails"] = emails
				})
				a.Stytch.UpdateUser(a.Ada.ID, func(u *stytchtest.User) {
					emails := slices.Clone(u.Emails)
					row.change(u)
					u.Emails = emails // Stytch finds her by it; what the answer says is the row's
				})
				a.Stytch.Fail(stytchtest.Migrate, user)
				require.Equal(t, row.want, a.Get("sid=ada-1").String())
				assert.Equal(t, row.want == apptest.Swapped, a.Stytch.Sessions()[0].Live)
				if row.want == stranger {
					assert.Equal(t, quiet, a.Get("sid=ada-1").String())
					assert.Equal(t, 1, len(a.Events), "told once")
					assert.Equal(t, 1, strings.Count(a.Log.String(), `"msg":"stytchmigrate: mismatch"`))
				}
			})
		})
	}
}

// Another user than the one asked for.
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
		assert.Equal(t, apptest.Swapped, a.Get("sid=ada-1").String())
	})
}

// A session that could not be revoked is in nobody's hands all the same.
func TestRevocationFails(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Stytch.Accept("ada-token", "bob@example.com")
		a.Stytch.FailAll(stytchtest.Revoke, stytchtest.Error(500, "internal_server_error"))
		assert.Equal(t, apptest.RefusedUntouched+"migrate revoke revoke", a.Get("sid=ada-1").String())
		synctest.Wait()
		require.Len(t, a.Events, 2)
		kinds := []string{a.Events[0].Kind, a.Events[1].Kind}
		assert.ElementsMatch(t, []string{"mismatch", "revocation"}, kinds)
		assert.Equal(t, apptest.RefusedUntouched+"-", a.Get("sid=ada-1").String())
		assert.Contains(t, a.Log.String(), `"op":"revoke"`)
	})
}

// A person whom nobody vouches for is refused without a call.
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
			}, apptest.Resolving(stytchmigrate.LegacySession{ID: "1", Token: "ada-token", Identity: id}))
		})
	}
}

// Requests of a refused session come again and again. One line is logged of it.
func TestUnvouchedIsLoggedOnce(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Get("sid=ada-1")
		a.Get("sid=ada-1")
		assert.Equal(t, 1, strings.Count(a.Log.String(), "legacy session refused"))
	}, apptest.Resolving(stytchmigrate.LegacySession{ID: "1", Token: "ada-token"}), func(c *stytchmigrate.Config) {
		l := &c.Legacy[0]
		inner := l.Resolve
		l.Resolve = func(r *http.Request, v string) (stytchmigrate.LegacySession, error) {
			s, err := inner(r, v)
			s.Identity.Subject = "ada"
			return s, err
		}
	})
}

// What is remembered of a session is held against who it is said to be now.
func TestRememberedForAnotherPerson(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		email := "ada@example.com"
		a.Resolve = func(value string) (stytchmigrate.LegacySession, error) {
			s := apptest.LegacySession("ada", value)
			s.Identity.Email = email
			return s, nil
		}
		require.Equal(t, apptest.Swapped, a.Get("sid=ada-1").String())
		email = "bob@example.com"
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
		assert.Len(t, a.Events, 1, "and told once")
		email = "ada@example.com"
		time.Sleep(time.Minute)
		assert.Equal(t, apptest.Swapped, a.Get("sid=ada-1").String(), "nobody logged out")
		assert.Len(t, a.Stytch.Sessions(), 2)
	})
}

// A page loads twenty things at once: what happened once is told once.
func TestRememberedForAnotherPersonInParallel(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		require.Equal(t, apptest.Swapped, a.Get("sid=ada-1").String())
		a.Resolve = func(value string) (stytchmigrate.LegacySession, error) {
			s := apptest.LegacySession("ada", value)
			s.Identity.Email = "bob@example.com"
			return s, nil
		}
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

// The same on a machine that has the record from another one: the session is
// revoked for both, and what remembered it too.
func TestRecordedForAnotherPerson(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		email := "ada@example.com"
		a.Resolve = func(value string) (stytchmigrate.LegacySession, error) {
			s := apptest.LegacySession("ada", value)
			s.Identity.Email = email
			return s, nil
		}
		first := a.On(m[0]).Get("sid=ada-1")
		require.Equal(t, apptest.Swapped, first.String())
		cookies := first.Jar("")

		email = "bob@example.com"
		refused := a.On(m[1]).Get("sid=ada-1")
		synctest.Wait()
		assert.Equal(t, apptest.RefusedUntouched+"revoke", refused.String())
		assert.False(t, a.Stytch.Sessions()[0].Live)

		assert.Equal(t, "authenticated ada | - | - | -", a.On(m[0]).Get(cookies).String(), "good until the JWT expires")
		email = "ada@example.com"
		time.Sleep(time.Minute)
		assert.Equal(t, apptest.Swapped, a.On(m[0]).Get("sid=ada-1").String())
		assert.Len(t, a.Stytch.Sessions(), 2)
	})
}

// That it was given up is marked for thirty days, and a session may live longer.
// What was remembered of it must not look like a logout then.
func TestRecordOfAnotherPersonIsForgotten(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		require.Equal(t, apptest.Swapped, a.On(m[0]).Get("sid=ada-1").String())
		right := a.Resolve
		a.Resolve = func(value string) (stytchmigrate.LegacySession, error) {
			s := apptest.LegacySession("ada", value)
			s.Identity.Email = "bob@example.com"
			return s, nil
		}
		a.On(m[1]).Get("sid=ada-1")
		a.Resolve = right
		time.Sleep(31 * 24 * time.Hour)
		assert.Equal(t, apptest.Swapped, a.On(m[2]).Get("sid=ada-1").String())
		assert.Equal(t, apptest.HandedOut+"-", a.On(m[0]).Get("sid=ada-1").String(), "which still has the old record in memory")
	}, func(c *stytchmigrate.Config) { c.SessionDuration = 90 * 24 * time.Hour })
}

// Unicode folds the long s into an s; to a mail server it is another address.
func TestLookAlikeOfAnswer(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Stytch.UpdateUser(a.Ada.ID, func(u *stytchtest.User) {
			u.Emails = []stytchtest.Email{{Email: "ma\u017fk@example.com", Verified: true}}
		})
		a.Stytch.Accept("ada-token", "ma\u017fk@example.com")
		a.Resolve = func(value string) (stytchmigrate.LegacySession, error) {
			s := apptest.LegacySession("ada", value)
			s.Identity.Email = "mask@example.com"
			return s, nil
		}
		assert.Equal(t, "refused"+apptest.Untouched+"migrate revoke", a.Get("sid=ada-1").String())
	})
}

// strings.EqualFold takes these letters for a k and an s.
func TestLettersThatFoldToASCII(t *testing.T) {
	for _, email := range []string{"\u212aes@example.com", "ke\u017f@example.com"} {
		apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
			a.Stytch.AddUser(stytchtest.Person("kes@example.com"))
			a.Stytch.Accept("kes-token", "kes@example.com")
			a.Stytch.Fail(stytchtest.Migrate, stytchtest.Mutate(func(body map[string]any) {
				body["user"].(map[string]any)["emails"].([]any)[0].(map[string]any)["email"] = email
			}))
			assert.Equal(t, apptest.RefusedUntouched+"migrate revoke", a.Get("sid=kes-1").String())
		}, apptest.Resolving(stytchmigrate.LegacySession{ID: "1", Token: "kes-token",
			Identity: userinfo.Identity{Subject: "kes", Email: "kes@example.com", EmailVerified: true}}))
	}
}

// A machine that was up all the time has the old record in its own memory.
func TestSessionGivenUpIsNotEndedLater(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		require.Equal(t, apptest.Swapped, a.On(m[0]).Get("sid=ada-1").String())
		right := a.Resolve
		a.Resolve = func(value string) (stytchmigrate.LegacySession, error) {
			s := apptest.LegacySession("ada", value)
			s.Identity.Email = "bob@example.com"
			return s, nil
		}
		a.On(m[1]).Get("sid=ada-1")
		a.Resolve = right
		time.Sleep(31 * 24 * time.Hour)
		assert.Equal(t, "migrated ada", a.On(m[0]).Get("sid=ada-1").Saw)
	}, func(c *stytchmigrate.Config) { c.SessionDuration = 90 * 24 * time.Hour })
}

// Who can't move has to be found by whoever is to mend it. Of others nothing is said.
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

// An email written without an @ is one all the same.
func TestSubjectThatIsAnEmail(t *testing.T) {
	for _, subject := range []string{"ada＠example.com", "ada%40example.com", "ada＠example.com", "mailto:ada%40example.com"} {
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
