package stytchtest_test

import (
	"net/http"
	"strings"
	"testing"

	"example.com/stytchmigrate/stytchtest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCreateUser(t *testing.T) {
	c := start(t, stytchtest.Config{})
	known := stytchtest.Person("known@example.com")
	known.ExternalID, known.PhoneNumber = "known", "+15550003333"
	c.AddUser(known)
	for _, row := range []struct {
		name   string
		body   object
		status int
		kind   string
	}{
		{"email", object{"email": "a@example.com"}, 200, ""},
		{"phone number", object{"phone_number": "+15550002222"}, 200, ""},
		{"external id", object{"email": "b@example.com", "external_id": "x.y_z-|1"}, 200, ""},
		{"nothing", object{}, 400, "bad_request"},
		{"known email", object{"email": "KNOWN@example.com"}, 400, "duplicate_email"},
		{"known external id", object{"email": "c@example.com", "external_id": "known"}, 400, "duplicate_external_id"},
		{"known phone number", object{"phone_number": "+15550003333"}, 400, "duplicate_phone_number"},
		{"no address", object{"email": "nobody"}, 400, "invalid_email"},
		{"address with a name", object{"email": "A <a@example.com>"}, 400, "invalid_email"},
		{"email of another type", object{"email": 1}, 400, "bad_request"},
		{"no number", object{"phone_number": "555"}, 400, "invalid_phone_number"},
		{"external id with a space", object{"email": "d@example.com", "external_id": "a b"}, 400, "invalid_external_id"},
		{"external id too long", object{"email": "d@example.com", "external_id": strings.Repeat("a", 129)}, 400, "invalid_external_id"},
	} {
		t.Run(row.name, func(t *testing.T) {
			before := len(c.Users())
			status, got := c.call(t, "POST", "/v1/users", row.body)
			assert.Equal(t, row.status, status)
			if row.kind != "" {
				assertError(t, row.kind, got)
				assert.Len(t, c.Users(), before)
				return
			}
			u, ok := c.User(got["user_id"].(string))
			require.True(t, ok)
			assert.Equal(t, "active", got["status"])
			if len(u.Emails) > 0 {
				assert.Equal(t, u.Emails[0].ID, got["email_id"])
				assert.False(t, u.Emails[0].Verified)
			}
		})
	}
}

func TestGetUser(t *testing.T) {
	c := start(t, stytchtest.Config{})
	person := stytchtest.Person("jane@example.com")
	person.ExternalID, person.TrustedMetadata = "people|7", object{"a": object{"b": 1.0}}
	jane := c.AddUser(person)
	for _, id := range []string{jane.ID, "people|7"} {
		status, got := c.call(t, "GET", "/v1/users/"+id, nil)
		assert.Equal(t, 200, status)
		assert.Equal(t, jane.ID, got["user_id"], "at top level")
		assert.Equal(t, "people|7", got["external_id"])
		assert.Equal(t, person.TrustedMetadata, got["trusted_metadata"])
	}
	status, got := c.call(t, "GET", "/v1/users/other", nil)
	assert.Equal(t, 404, status)
	assertError(t, "user_not_found", got)
}

// The live sessions of one user, by either id.
func TestListSessions(t *testing.T) {
	c := start(t, stytchtest.Config{})
	person := stytchtest.Person("jane@example.com")
	person.ExternalID = "people|7"
	jane, other := c.AddUser(person), c.AddUser(stytchtest.Person("john@example.com"))
	one, two := c.NewSession(jane.ID, 0), c.NewSession(jane.ID, 0)
	c.NewSession(other.ID, 0)
	c.RevokeSession(two.ID)
	for _, id := range []string{jane.ID, "people%7C7"} {
		status, got := c.call(t, "GET", "/v1/sessions?user_id="+id, nil)
		assert.Equal(t, 200, status)
		require.Len(t, got["sessions"], 1)
		assert.Equal(t, one.ID, got["sessions"].([]any)[0].(object)["session_id"])
	}
	assert.Equal(t, "people|7", c.Calls()[1].UserID)
	status, got := c.call(t, "GET", "/v1/sessions?user_id=other", nil)
	assert.Equal(t, 404, status)
	assertError(t, "user_not_found", got)
	status, got = c.call(t, "GET", "/v1/sessions", nil)
	assert.Equal(t, 400, status)
	assertError(t, "bad_request", got)
}

func TestUsersAreCopies(t *testing.T) {
	c := start(t, stytchtest.Config{InProcess: true})
	given := stytchtest.Person("jane@example.com")
	given.TrustedMetadata = object{"a": object{"b": 1.0}}
	jane := c.AddUser(given)
	given.Emails[0].Email = "changed@example.com"
	jane.TrustedMetadata["a"].(object)["b"] = 2.0
	got, _ := c.User(jane.ID)
	assert.Equal(t, "jane@example.com", got.Emails[0].Email)
	assert.Equal(t, object{"a": object{"b": 1.0}}, got.TrustedMetadata)

	c.UpdateUser(jane.ID, func(u *stytchtest.User) { u.Locked = true })
	got, _ = c.User(jane.ID)
	assert.True(t, got.Locked)
	assert.Panics(t, func() { c.AddUser(stytchtest.Person("Jane@example.com")) })
	assert.Panics(t, func() { c.UpdateUser("other", func(*stytchtest.User) {}) })
	assert.Panics(t, func() { c.NewSession("other", 0) })
	assert.Panics(t, func() { c.Claims("other") })
	assert.Panics(t, func() { c.JWT("other") })
	assert.Panics(t, func() { c.RevokeSession("other") })
	_, ok := c.Session("other")
	assert.False(t, ok)
	c.RemoveUser("other")
	assert.Len(t, c.Users(), 1)
}

func TestCredentials(t *testing.T) {
	c := start(t, stytchtest.Config{ProjectID: "project-live-7", Secret: "s"})
	for _, row := range []struct {
		name, method, path string
		auth               func(*http.Request)
		status             int
	}{
		{"right", "GET", "/v1/users/x", func(*http.Request) {}, 404},
		{"none", "GET", "/v1/users/x", func(r *http.Request) { r.Header.Del("Authorization") }, 401},
		{"other secret", "POST", "/v1/sessions/migrate", func(r *http.Request) { r.SetBasicAuth("project-live-7", "t") }, 401},
		{"other project", "POST", "/v1/users", func(r *http.Request) { r.SetBasicAuth("project-live-8", "s") }, 401},
		{"bearer", "POST", "/v1/sessions/revoke", func(r *http.Request) { r.Header.Set("Authorization", "Bearer s") }, 401},
		{"keys without", "GET", "/v1/sessions/jwks/project-live-7", func(r *http.Request) { r.Header.Del("Authorization") }, 200},
		{"keys of another project", "GET", "/v1/sessions/jwks/project-live-8", func(*http.Request) {}, 404},
		{"unknown path", "GET", "/v1/other", func(*http.Request) {}, 404},
		{"other method", "GET", "/v1/sessions/migrate", func(*http.Request) {}, 404},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := c.request(t, row.method, row.path, nil)
			row.auth(r)
			resp, err := c.http.Do(r)
			require.NoError(t, err)
			defer resp.Body.Close()
			assert.Equal(t, row.status, resp.StatusCode)
		})
	}
	assert.Regexp(t, `^user-live-`, c.AddUser(stytchtest.User{}).ID)
}
