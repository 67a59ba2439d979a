package stories_test

import (
	"context"
	"net/http"
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

const (
	dorasCookie = "sid=dora-1"
	dorasAgain  = "migrated somebody else | +stytch_session +stytch_session_jwt | no-store | -"
	dorasMove   = "migrated somebody else | +stytch_session +stytch_session_jwt | no-store | migrate create_user migrate"
)

// doraIsNew makes every legacy session Dora's, a user whom Stytch does not have.
func doraIsNew(a *apptest.App) {
	a.Stytch.Accept("dora-token", "dora@example.com")
	a.Resolve = func(value string) (stytchmigrate.LegacySession, error) {
		return apptest.LegacySession("dora", value), nil
	}
}

func createUsers(c *stytchmigrate.Config) { c.CreateUsers = true }

// A page loads fifty things at once: one user is made, and one session.
func TestUserWhoIsNotThereYet(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		doraIsNew(a)
		a.Stytch.FailAll(stytchtest.Any, stytchtest.Delay(100*time.Millisecond))
		all := a.Crowd(50, func(_ int, r *http.Request) (*http.Request, time.Duration) {
			r.Header.Set("Cookie", dorasCookie)
			return r, 0
		})
		users := a.Stytch.Users()
		require.Len(t, users, 3)
		dora := users[2]
		require.Len(t, a.Stytch.Sessions(), 1)
		for _, v := range all {
			assert.Equal(t, stytchmigrate.OutcomeMigrated, v.Outcome)
			assert.Equal(t, dora.ID, v.User)
			assert.Equal(t, a.Stytch.Sessions()[0].Token, v.Result().Cookies()[0].Value)
		}
		assert.Len(t, a.Stytch.Calls(), 3)
		assert.Equal(t, 1, a.Stytch.Count(stytchtest.CreateUser))

		require.Len(t, a.Events, 1, "one event for all")
		assert.Equal(t, "created", a.Events[0].Kind)
		assert.Equal(t, dora.ID, a.Events[0].UserID)
		assert.Equal(t, "dora", a.Events[0].Subject)
		assert.Contains(t, a.Log.String(), `"msg":"stytchmigrate: user created"`)
		assert.Contains(t, a.Log.String(), dora.ID)
		assert.NotContains(t, a.Log.String(), "@example.com")
	}, createUsers)
}

// Each row is what Stytch answers when Dora comes, as far as that depends on how calls are
// sent and read. The other answers are rows of TestCreateUsers in internal/exchange.
func TestCreateUsers(t *testing.T) {
	const create = "migrate create_user"
	apiError := stytchtest.Error
	for name, row := range map[string]struct {
		fail  func(*stytchtest.Server)
		want  string
		again string // a second later; the faults are over
	}{
		"all is well": {func(*stytchtest.Server) {}, dorasMove, dorasAgain},
		"somebody else makes the user first": {func(s *stytchtest.Server) {
			s.Fail(stytchtest.CreateUser, apiError(400, "duplicate_email").AfterWork())
		}, dorasMove, dorasAgain},
		"the answer gets lost": {func(s *stytchtest.Server) {
			s.Fail(stytchtest.CreateUser, apiError(502, "").AfterWork())
		}, dorasMove[:len(dorasMove)-len("migrate")] + "create_user migrate", dorasAgain},
		"another user has the external id": {func(s *stytchtest.Server) {
			s.AddUser(stytchtest.User{ExternalID: "dora", Emails: []stytchtest.Email{{Email: "old@example.com", Verified: true}}})
		}, apptest.RefusedUntouched + create + " migrate", apptest.RefusedUntouched + "-"},
		"Stytch is down by then": {func(s *stytchtest.Server) {
			s.Fail(stytchtest.CreateUser, apiError(503, "server_unavailable"), apiError(503, "server_unavailable"))
		}, apptest.UnavailableUntouched + create + " create_user", dorasMove},
		"an answer without a user": {func(s *stytchtest.Server) {
			s.Fail(stytchtest.CreateUser, stytchtest.Respond(200, "{}"))
		}, apptest.UnavailableUntouched + create, dorasMove},
		"an answer with half a user": {func(s *stytchtest.Server) {
			s.Fail(stytchtest.CreateUser, stytchtest.Respond(200, `{"user_id":"<b>"}`))
		}, apptest.UnavailableUntouched + create, dorasMove},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				doraIsNew(a)
				row.fail(a.Stytch)
				assert.Equal(t, row.want, a.Get(dorasCookie).String())
				time.Sleep(time.Second)
				assert.Equal(t, row.again, a.Get(dorasCookie).String())
			}, createUsers)
		})
	}
}

// An address that is not verified creates no user: anyone may have typed it in.
func TestNoUserOfAnUnverifiedAddress(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		doraIsNew(a)
		a.Resolve = func(value string) (stytchmigrate.LegacySession, error) {
			s := apptest.LegacySession("dora", value)
			s.Identity.EmailVerified = false
			return s, nil
		}
		assert.Equal(t, apptest.RefusedUntouched+"-", a.Get("sid=dora-2").String())
	}, createUsers)
}

// The token is another person's. The mismatch is reported, and not that Dora was created.
func TestCreatedForAnotherPerson(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		doraIsNew(a)
		a.Stytch.Fail(stytchtest.Migrate, stytchtest.Error(404, "migrate_from_external_email_does_not_exist"))
		a.Stytch.Accept("dora-token", "bob@example.com")
		assert.Equal(t, apptest.RefusedUntouched+"migrate create_user migrate revoke", a.Get(dorasCookie).String())
		require.Len(t, a.Events, 1)
		assert.Equal(t, "mismatch", a.Events[0].Kind)
		assert.Equal(t, a.Bob.ID, a.Events[0].UserID)
	}, createUsers)
}

// Each row is an identity, and the user that is made of it.
func TestCreatedUser(t *testing.T) {
	long := "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"[:129]
	for name, row := range map[string]struct {
		id   userinfo.Identity
		want map[string]any
	}{
		"an email alone": {userinfo.Identity{Subject: "17"}, map[string]any{"external_id": "17"}},
		"a name in parts": {userinfo.Identity{Subject: "auth0|17", GivenName: "Dora", MiddleName: "M.", FamilyName: "Maar", Name: "Dora Maar"},
			map[string]any{"external_id": "auth0|17", "name": map[string]any{"first_name": "Dora", "middle_name": "M.", "last_name": "Maar"}}},
		"a family name":                {userinfo.Identity{Subject: "17", FamilyName: "Maar"}, map[string]any{"external_id": "17", "name": map[string]any{"last_name": "Maar"}}},
		"a name in one piece":          {userinfo.Identity{Subject: "17", Name: "Dora Maar"}, map[string]any{"external_id": "17", "name": map[string]any{"first_name": "Dora Maar"}}},
		"an id that Stytch can't have": {userinfo.Identity{Subject: "user 17"}, map[string]any{}},
		"an id of 128 bytes":           {userinfo.Identity{Subject: long[:128]}, map[string]any{"external_id": long[:128]}},
		"an id that is too long":       {userinfo.Identity{Subject: long}, map[string]any{}},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				row.id.Email, row.id.EmailVerified = "dora@example.com", true
				row.want["email"] = "dora@example.com"
				doraIsNew(a)
				a.Resolve = func(value string) (stytchmigrate.LegacySession, error) {
					return stytchmigrate.LegacySession{ID: stytchmigrate.Secret(value), Token: "dora-token", Identity: row.id}, nil
				}
				require.Equal(t, dorasMove, a.Get(dorasCookie).String())
				call := a.Stytch.Calls()[1]
				assert.Equal(t, "/v1/users", call.Path)
				assert.True(t, call.BasicAuth)
				assert.Equal(t, row.want, call.Body)
			}, createUsers)
		})
	}
}

// Machines that meet her at the same time create one user, with a store and without.
func TestUserIsMadeOnceByAllMachines(t *testing.T) {
	for name, row := range map[string]struct {
		store    func(*stytchmigrate.Config)
		sessions int
	}{
		"with a store":    {apptest.SharedStore(new(storetest.Memory)), 1},
		"without a store": {func(*stytchmigrate.Config) {}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				m := a.Machines(t, 3, createUsers, row.store)
				doraIsNew(a)
				a.Stytch.FailAll(stytchtest.Any, stytchtest.Delay(50*time.Millisecond))
				for _, v := range apptest.CrowdAcross(m, 12) {
					assert.Equal(t, stytchmigrate.OutcomeMigrated, v.Outcome)
				}
				synctest.Wait()
				assert.Len(t, a.Stytch.Users(), 3)
				assert.Len(t, a.Stytch.Sessions(), row.sessions)
				require.Len(t, a.Events, 1, "of the one that made her")
				assert.Equal(t, a.Stytch.Users()[2].ID, a.Events[0].UserID)
				assert.Equal(t, 1, strings.Count(a.Log.String(), "user created"))
				assert.NotContains(t, a.Log.String(), `"level":"WARN"`, "that another machine was first is no fault")
			})
		})
	}
}

// Both exchanges, before and after the user is created, use one ticket.
func TestUserIsMadeByTicket(t *testing.T) {
	tickets, setting := apptest.WithTickets(t)
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Stytch.RemoveUser(a.Ada.ID)
		a.Stytch.SetUserInfo(func(ctx context.Context, ticket string) (string, error) {
			id, err := tickets.Redeem(ctx, ticket)
			return id.Email, err
		})
		assert.Equal(t, dorasMove, a.Get("sid=ada-1").String())
	}, setting, createUsers)
}

// A name that Stytch may refuse is not sent, and the user moves.
func TestNameThatIsNotSent(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		doraIsNew(a)
		a.Resolve = func(value string) (stytchmigrate.LegacySession, error) {
			s := apptest.LegacySession("dora", value)
			s.Identity.Name = strings.Repeat("x", 10_000)
			return s, nil
		}
		a.Get(dorasCookie)
		assert.NotContains(t, a.Stytch.Calls()[1].Body, "name")
	}, createUsers)
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		doraIsNew(a)
		a.Resolve = func(value string) (stytchmigrate.LegacySession, error) {
			s := apptest.LegacySession("dora", value)
			s.Identity.Name = "null"
			s.Identity.GivenName = " "
			return s, nil
		}
		a.Get(dorasCookie)
		assert.NotContains(t, a.Stytch.Calls()[1].Body, "name")
	}, createUsers)
}

// Eve signs up by Dora's address, between the two exchanges. Her account is not Dora's.
func TestSomebodySignsUpFirst(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		doraIsNew(a)
		a.Stytch.Fail(stytchtest.Migrate, stytchtest.Error(404, "migrate_from_external_email_does_not_exist"))
		u := stytchtest.Person("dora@example.com")
		u.Emails[0].Verified, u.HasPassword = false, true // she has not verified it
		a.Stytch.AddUser(u)
		got := a.Get(dorasCookie)
		assert.Equal(t, apptest.RefusedUntouched+"migrate create_user migrate revoke", got.String())
		for _, s := range a.Stytch.Sessions() {
			assert.False(t, s.Live)
		}
	}, createUsers)
}

// Stytch refuses the external id: the user is made without it, once. An id that another
// user has is another matter.
func TestExternalIDThatStytchRefuses(t *testing.T) {
	for name, row := range map[string]struct {
		subject string
		faults  []stytchtest.Fault
		want    string
		id      string // of the user who was made
	}{
		"it is accepted":          {"auth0|x", nil, dorasMove, "auth0|x"},
		"an error about it":       {"x.7", []stytchtest.Fault{stytchtest.Error(400, "invalid_external_id")}, "migrate create_user create_user migrate", ""},
		"an error, and a bar":     {"auth0|x", []stytchtest.Fault{stytchtest.Error(400, "invalid_argument")}, "migrate create_user create_user migrate", ""},
		"an error, without a bar": {"x.7", []stytchtest.Fault{stytchtest.Error(400, "invalid_argument")}, "refused | - | - | migrate create_user", ""},
		"another user has it":     {"auth0|x", []stytchtest.Fault{stytchtest.Error(400, "duplicate_user_external_id")}, "refused | - | - | migrate create_user migrate", ""},
		"wrong keys":              {"auth0|x", []stytchtest.Fault{stytchtest.Error(401, "unauthorized_credentials")}, "unavailable | - | - | migrate create_user", ""},
		"refused again":           {"auth0|x", []stytchtest.Fault{stytchtest.Error(400, "invalid_external_id"), stytchtest.Error(400, "invalid_external_id")}, "refused | - | - | migrate create_user create_user", ""},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				doraIsNew(a)
				a.Resolve = func(value string) (stytchmigrate.LegacySession, error) {
					s := apptest.LegacySession("dora", value)
					s.Identity.Subject = row.subject
					return s, nil
				}
				a.Stytch.Fail(stytchtest.CreateUser, row.faults...)
				got := a.Get(dorasCookie).String()
				assert.True(t, strings.HasSuffix(got, row.want), got)
				if users := a.Stytch.Users(); strings.HasPrefix(got, "migrated") && assert.Len(t, users, 3) {
					assert.Equal(t, row.id, users[2].ExternalID)
				}
			}, createUsers)
		})
	}
}
