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
	"example.com/stytchmigrate/storetest"
	"example.com/stytchmigrate/stytchtest"
	"example.com/stytchmigrate/userinfo"
)

// Each row is a Stytch user that an exchange for ada is answered with. One who
// is somebody else gets nobody's page: the session is revoked, and the answer
// remembered.
func TestPersonOfAnswer(t *testing.T) {
	const stranger, quiet = refusedKeep + "migrate revoke", refusedKeep + "-"
	unverified := []stytchtest.Email{{Email: "ada@example.com"}}
	for name, row := range map[string]struct {
		change func(*stytchtest.User)
		want   string
	}{
		"the same email":             {func(*stytchtest.User) {}, swapped},
		"in capitals":                {func(u *stytchtest.User) { u.Emails[0].Email = "ADA@Example.COM" }, swapped},
		"one of two":                 {func(u *stytchtest.User) { u.Emails = append(u.Emails, stytchtest.Email{Email: "a@b.example"}) }, swapped},
		"her external id":            {func(u *stytchtest.User) { u.ExternalID = "ada" }, swapped},
		"another external id":        {func(u *stytchtest.User) { u.ExternalID = "eve" }, stranger},
		"an external id in capitals": {func(u *stytchtest.User) { u.ExternalID = "ADA" }, stranger},
		"unverified":                 {func(u *stytchtest.User) { u.Emails = unverified }, swapped},
		"unverified, with a password": {func(u *stytchtest.User) {
			u.Emails, u.HasPassword = unverified, true
		}, stranger},
		"unverified, with a passkey":    {func(u *stytchtest.User) { u.Emails, u.HasPasskey = unverified, true }, stranger},
		"unverified, with an account":   {func(u *stytchtest.User) { u.Emails, u.OAuth = unverified, "Google" }, stranger},
		"unverified, with a telephone":  {func(u *stytchtest.User) { u.Emails, u.PhoneNumber = unverified, "+15005550006" }, stranger},
		"unverified, with an app":       {func(u *stytchtest.User) { u.Emails, u.HasTOTP = unverified, true }, stranger},
		"unverified, with a wallet":     {func(u *stytchtest.User) { u.Emails, u.HasWallet = unverified, true }, stranger},
		"unverified, with a finger":     {func(u *stytchtest.User) { u.Emails, u.HasBiometric = unverified, true }, stranger},
		"unverified, her external id":   {func(u *stytchtest.User) { u.Emails, u.HasPasskey, u.ExternalID = unverified, true, "ada" }, swapped},
		"verified, with a passkey":      {func(u *stytchtest.User) { u.HasPasskey = true }, swapped},
		"another email":                 {func(u *stytchtest.User) { u.Emails[0].Email = "eve@example.com" }, stranger},
		"no email":                      {func(u *stytchtest.User) { u.Emails = nil }, stranger},
		"a Kelvin sign in place of a k": {func(u *stytchtest.User) { u.Emails[0].Email = "ada@example.\u212aom" }, stranger},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *app) {
				row.change(&a.ada)
				user := stytchtest.Mutate(func(body map[string]any) {
					emails := []any{}
					for _, e := range a.ada.Emails {
						emails = append(emails, map[string]any{"email_id": "email-test-1", "email": e.Email, "verified": e.Verified})
					}
					body["user"].(map[string]any)["emails"] = emails
				})
				a.stytch.UpdateUser(a.ada.ID, func(u *stytchtest.User) {
					emails := slices.Clone(u.Emails)
					row.change(u)
					u.Emails = emails // Stytch finds her by it; what the answer says is the row's
				})
				a.stytch.Fail(stytchtest.Migrate, user)
				require.Equal(t, row.want, a.get("sid=ada-1").String())
				assert.Equal(t, row.want == swapped, a.stytch.Sessions()[0].Live)
				if row.want == stranger {
					assert.Equal(t, quiet, a.get("sid=ada-1").String())
					assert.Equal(t, 1, len(a.events), "told once")
					assert.Equal(t, 1, strings.Count(a.log.String(), `"msg":"stytchmigrate: mismatch"`))
				}
			})
		})
	}
}

// Another user than the one asked for.
func TestAnswerIsSomebodyElse(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		a.stytch.Accept("ada-token", "bob@example.com")
		assert.Equal(t, refusedKeep+"migrate revoke", a.get("sid=ada-1").String())
		assert.False(t, a.stytch.Sessions()[0].Live)
		require.Len(t, a.events, 1)
		assert.Equal(t, "mismatch", a.events[0].Kind)
		assert.Equal(t, a.bob.ID, a.events[0].UserID, "whom Stytch named")
		assert.NotEmpty(t, a.events[0].Fingerprint)
		assert.Contains(t, a.log.String(), a.events[0].Fingerprint)

		a.stytch.Accept("ada-token", "ada@example.com")
		time.Sleep(59 * time.Second)
		assert.Equal(t, refusedKeep+"-", a.get("sid=ada-1").String(), "remembered")
		time.Sleep(time.Second)
		assert.Equal(t, swapped, a.get("sid=ada-1").String())
	})
}

// A session that could not be revoked is in nobody's hands all the same.
func TestRevocationFails(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		a.stytch.Accept("ada-token", "bob@example.com")
		a.stytch.FailAll(stytchtest.Revoke, stytchtest.Error(500, "internal_server_error"))
		assert.Equal(t, refusedKeep+"migrate revoke revoke", a.get("sid=ada-1").String())
		synctest.Wait()
		require.Len(t, a.events, 2)
		kinds := []string{a.events[0].Kind, a.events[1].Kind}
		assert.ElementsMatch(t, []string{"mismatch", "revocation"}, kinds)
		assert.Equal(t, refusedKeep+"-", a.get("sid=ada-1").String())
		assert.Contains(t, a.log.String(), `"op":"revoke"`)
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
			inBubble(t, func(t *testing.T, a *app) {
				assert.Equal(t, refusedKeep+"-", a.get("sid=ada-1").String())
			}, resolving(stytchmigrate.LegacySession{ID: "1", Token: "ada-token", Identity: id}))
		})
	}
}

// What is remembered of a session is held against who it is said to be now.
func TestRememberedForAnotherPerson(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		email := "ada@example.com"
		a.resolve = func(value string) (stytchmigrate.LegacySession, error) {
			s := legacySession("ada", value)
			s.Identity.Email = email
			return s, nil
		}
		require.Equal(t, swapped, a.get("sid=ada-1").String())
		email = "bob@example.com"
		a.stytch.Fail(stytchtest.Revoke, stytchtest.Delay(time.Second))
		began := time.Now()
		refused := a.get("sid=ada-1")
		assert.Zero(t, time.Since(began), "the request does not wait until it is revoked")
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Equal(t, refusedKeep+"revoke", refused.String())
		assert.False(t, a.stytch.Sessions()[0].Live)
		require.Len(t, a.events, 1)
		assert.Equal(t, "mismatch", a.events[0].Kind)
		assert.Equal(t, a.ada.ID, a.events[0].UserID)
		assert.Equal(t, "ada", a.events[0].Subject)
		assert.NotContains(t, a.log.String(), "@example.com")

		assert.Equal(t, refusedKeep+"-", a.get("sid=ada-1").String(), "remembered")
		assert.Len(t, a.events, 1, "and told once")
		email = "ada@example.com"
		time.Sleep(time.Minute)
		assert.Equal(t, swapped, a.get("sid=ada-1").String(), "nobody logged out")
		assert.Len(t, a.stytch.Sessions(), 2)
	})
}

// A page loads twenty things at once: what happened once is told once.
func TestRememberedForAnotherPersonInParallel(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		require.Equal(t, swapped, a.get("sid=ada-1").String())
		a.resolve = func(value string) (stytchmigrate.LegacySession, error) {
			s := legacySession("ada", value)
			s.Identity.Email = "bob@example.com"
			return s, nil
		}
		time.Sleep(11 * time.Second) // then Stytch is asked again, and all wait for that
		a.stytch.FailAll(stytchtest.Authenticate, stytchtest.Delay(100*time.Millisecond))
		for _, v := range a.crowd(20, func(_ int, r *http.Request) (*http.Request, time.Duration) { return r, 0 }) {
			assert.Equal(t, stytchmigrate.OutcomeRefused, v.outcome)
		}
		synctest.Wait()
		assert.Equal(t, 1, a.stytch.Count(stytchtest.Revoke))
		assert.Len(t, a.events, 1)
		assert.Equal(t, 1, strings.Count(a.log.String(), `"msg":"stytchmigrate: mismatch"`))
	})
}

// The same on a machine that has the record from another one: the session is
// revoked for both, and what remembered it too.
func TestRecordedForAnotherPerson(t *testing.T) {
	inCluster(t, func(t *testing.T, a *app, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		email := "ada@example.com"
		a.resolve = func(value string) (stytchmigrate.LegacySession, error) {
			s := legacySession("ada", value)
			s.Identity.Email = email
			return s, nil
		}
		first := a.on(m[0]).get("sid=ada-1")
		require.Equal(t, swapped, first.String())
		cookies := first.jar("")

		email = "bob@example.com"
		refused := a.on(m[1]).get("sid=ada-1")
		synctest.Wait()
		assert.Equal(t, refusedKeep+"revoke", refused.String())
		assert.False(t, a.stytch.Sessions()[0].Live)

		assert.Equal(t, "authenticated ada | - | - | -", a.on(m[0]).get(cookies).String(), "good until the JWT expires")
		email = "ada@example.com"
		time.Sleep(time.Minute)
		assert.Equal(t, swapped, a.on(m[0]).get("sid=ada-1").String())
		assert.Len(t, a.stytch.Sessions(), 2)
	})
}

// That it was given up is marked for thirty days, and a session may live longer.
// What was remembered of it must not look like a logout then.
func TestRecordOfAnotherPersonIsForgotten(t *testing.T) {
	inCluster(t, func(t *testing.T, a *app, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		require.Equal(t, swapped, a.on(m[0]).get("sid=ada-1").String())
		right := a.resolve
		a.resolve = func(value string) (stytchmigrate.LegacySession, error) {
			s := legacySession("ada", value)
			s.Identity.Email = "bob@example.com"
			return s, nil
		}
		a.on(m[1]).get("sid=ada-1")
		a.resolve = right
		time.Sleep(31 * 24 * time.Hour)
		assert.Equal(t, swapped, a.on(m[2]).get("sid=ada-1").String())
		assert.Equal(t, handedOut+"-", a.on(m[0]).get("sid=ada-1").String(), "which still has the old record in memory")
	}, func(c *stytchmigrate.Config) { c.SessionDuration = 90 * 24 * time.Hour })
}

// Unicode folds the long s into an s; to a mail server it is another address.
func TestLookAlikeOfAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		a.stytch.UpdateUser(a.ada.ID, func(u *stytchtest.User) {
			u.Emails = []stytchtest.Email{{Email: "ma\u017fk@example.com", Verified: true}}
		})
		a.stytch.Accept("ada-token", "ma\u017fk@example.com")
		a.resolve = func(value string) (stytchmigrate.LegacySession, error) {
			s := legacySession("ada", value)
			s.Identity.Email = "mask@example.com"
			return s, nil
		}
		assert.Equal(t, "refused"+keep+"migrate revoke", a.get("sid=ada-1").String())
	})
}

// A machine that was up all the time has the old record in its own memory.
func TestSessionGivenUpIsNotEndedLater(t *testing.T) {
	inCluster(t, func(t *testing.T, a *app, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		require.Equal(t, swapped, a.on(m[0]).get("sid=ada-1").String())
		right := a.resolve
		a.resolve = func(value string) (stytchmigrate.LegacySession, error) {
			s := legacySession("ada", value)
			s.Identity.Email = "bob@example.com"
			return s, nil
		}
		a.on(m[1]).get("sid=ada-1")
		a.resolve = right
		time.Sleep(31 * 24 * time.Hour)
		assert.Equal(t, "migrated ada", a.on(m[0]).get("sid=ada-1").saw)
	}, func(c *stytchmigrate.Config) { c.SessionDuration = 90 * 24 * time.Hour })
}

// Who can't move has to be found by whoever is to mend it. Of others nothing is said.
func TestSubjectOfRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		a.get("sid=ada-1")
		a.stytch.RemoveUser(a.bob.ID)
		a.get("sid=bob-1")
		require.Len(t, a.requests, 2)
		assert.Equal(t, stytchmigrate.OutcomeMigrated, a.requests[0].Outcome)
		assert.Empty(t, a.requests[0].Subject)
		assert.Equal(t, stytchmigrate.OutcomeRefused, a.requests[1].Outcome)
		assert.Equal(t, "bob", a.requests[1].Subject)
	})
}

// An email written without an @ is one all the same.
func TestSubjectThatIsAnEmail(t *testing.T) {
	for _, subject := range []string{"ada＠example.com", "ada%40example.com", "ada＠example.com", "mailto:ada%40example.com"} {
		inBubble(t, func(t *testing.T, a *app) {
			a.resolve = func(value string) (stytchmigrate.LegacySession, error) {
				s := legacySession("ada", value)
				s.Identity.Subject = subject
				return s, nil
			}
			a.stytch.Accept("ada-token", "bob@example.com")
			a.get("sid=ada-1")
			require.Len(t, a.events, 1)
			assert.Empty(t, a.events[0].Subject)
			require.Len(t, a.requests, 1)
			assert.Equal(t, stytchmigrate.OutcomeRefused, a.requests[0].Outcome)
			assert.Empty(t, a.requests[0].Subject)
			assert.NotContains(t, a.log.String(), "example.com\"")
		})
	}
}
