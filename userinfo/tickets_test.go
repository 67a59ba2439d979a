package userinfo_test

import (
	"encoding/base64"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/securecookie"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/userinfo"
)

const project = "project-test-11111111-1111-4111-8111-111111111111"

// The two pairs of keys of the tests. They are text, so that a leak shows.
var (
	oldHash, oldBlock = []byte("canary-old-hash-key-0123456789ab"), []byte("canary-old-block")
	newHash, newBlock = []byte("canary-new-hash-key-0123456789ab"), []byte("canary-new-block-key-0123456789a")
)

func newTickets(t testing.TB, keyPairs ...[]byte) *userinfo.Tickets {
	t.Helper()
	tickets, err := userinfo.NewTickets(keyPairs...)
	require.NoError(t, err)
	return tickets
}

func mint(t testing.TB, tickets *userinfo.Tickets, projectID string) string {
	t.Helper()
	token, err := tickets.Minter(projectID)(ada)
	require.NoError(t, err)
	return token
}

// assertRedeems and assertRefuses take the endpoint's way, so that they also see
// that a refusal looks the same whatever the reason.
func assertRedeems(t *testing.T, tickets *userinfo.Tickets, token string, msg ...any) {
	t.Helper()
	id, err := tickets.Redeem(t.Context(), token)
	require.NoError(t, err, msg...)
	require.Equal(t, ada, id, msg...)
}

func assertRefuses(t *testing.T, tickets *userinfo.Tickets, token string, msg ...any) {
	t.Helper()
	id, err := tickets.Redeem(t.Context(), token)
	require.True(t, err == userinfo.ErrInvalidToken, msg...) // the very same, nothing wrapped
	require.Empty(t, id, msg...)
}

func TestRedeem(t *testing.T) {
	minting := newTickets(t, newHash, newBlock)
	token := mint(t, minting, project)
	assertRedeems(t, minting, token, "where it was minted")
	assertRedeems(t, minting, token, "a second time")
	assertRedeems(t, newTickets(t, newHash, newBlock), token, "on another machine")

	call(t, userinfo.Handler(minting.Redeem), request("GET", "/", "", "Bearer "+token), yes)
	call(t, userinfo.Handler(newTickets(t, oldHash, oldBlock).Redeem), request("GET", "/", "", "Bearer "+token), badToken)
}

// TestTicketForm: a ticket is a b64token of RFC 6750, padding included, and ends
// well below what servers and proxies take for a header.
func TestTicketForm(t *testing.T) {
	b64token := regexp.MustCompile(`^[A-Za-z0-9\-._~+/]+=*$`)
	padding := map[int]bool{}
	for _, token := range ofAllPaddings(t, newTickets(t, newHash, newBlock)) {
		assert.Regexp(t, b64token, token)
		assert.Less(t, len(token), 1024)
		padding[strings.Count(token, "=")] = true
	}
	assert.Len(t, padding, 3, "lengths of padding seen")

	tickets := newTickets(t, newHash, newBlock)
	assert.NotEqual(t, mint(t, tickets, project), mint(t, tickets, project), "two tickets of one identity")
}

// ofAllPaddings mints tickets that end in no =, one and two. Where there are
// some, the last character holds bits that count for nothing.
func ofAllPaddings(t *testing.T, tickets *userinfo.Tickets) []string {
	t.Helper()
	var tokens []string
	for _, subject := range []string{"1", "1234", "1234567"} {
		token, err := tickets.Minter(project)(userinfo.Identity{Subject: subject, Email: ada.Email, EmailVerified: true})
		require.NoError(t, err)
		tokens = append(tokens, token)
	}
	return tokens
}

// TestTicketIsSealed unwraps what base64 there is and finds nothing to read.
func TestTicketIsSealed(t *testing.T) {
	text := mint(t, newTickets(t, newHash, newBlock), project)
	outer, err := base64.URLEncoding.DecodeString(text)
	require.NoError(t, err)
	inner, err := base64.URLEncoding.DecodeString(strings.Split(string(outer), "|")[1])
	require.NoError(t, err)
	for _, readable := range []string{"ada", "user-17", "project", "email"} {
		assert.NotContains(t, string(inner), readable)
	}
}

func TestLongNames(t *testing.T) {
	tickets := newTickets(t, newHash, newBlock)
	id := ada
	id.Name = strings.Repeat("x", 100<<10)
	token, err := tickets.Minter(project)(id)
	require.NoError(t, err)
	assert.Less(t, len(token), 1024)
	got, err := tickets.Redeem(t.Context(), token)
	require.NoError(t, err)
	assert.Equal(t, userinfo.Identity{Subject: ada.Subject, Email: ada.Email, EmailVerified: true}, got)

	// The worst that Validate lets through still fits.
	id = userinfo.Identity{Subject: strings.Repeat("<", 255), Email: strings.Repeat("&", 252) + "@x", EmailVerified: true, Name: strings.Repeat("\x00", 512)}
	token, err = tickets.Minter(project)(id)
	require.NoError(t, err)
	got, err = tickets.Redeem(t.Context(), token)
	require.NoError(t, err)
	assert.Equal(t, id, got)
}

func TestMinterRefuses(t *testing.T) {
	minter := newTickets(t, newHash, newBlock).Minter(project)
	tests := []struct {
		name string
		id   userinfo.Identity
	}{
		{"nobody", userinfo.Identity{}},
		{"no subject", userinfo.Identity{Email: "ada@example.org", EmailVerified: true}},
		{"no email", userinfo.Identity{Subject: "user-17", EmailVerified: true}},
		{"an email that is not verified", userinfo.Identity{Subject: "user-17", Email: "ada@example.org"}},
		{"two addresses", userinfo.Identity{Subject: "user-17", Email: "ada@example.org,eve@example.org", EmailVerified: true}},
		{"a control character", userinfo.Identity{Subject: "user-17", Email: "ada\n@example.org", EmailVerified: true}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			token, err := minter(tc.id)
			assert.Equal(t, tc.id.Validate(), err)
			assert.Error(t, err)
			assert.Empty(t, token)
		})
	}
}

func TestTicketLife(t *testing.T) {
	tests := []struct {
		name  string
		after time.Duration
		live  bool
	}{
		{"at once", 0, true},
		{"within its minute", 59 * time.Second, true},
		{"after its minute, for a clock that is ahead", 89*time.Second + 999*time.Millisecond, true},
		{"after its minute and the leeway", 90 * time.Second, false},
		{"much later", 24 * time.Hour, false},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tickets := newTickets(t, newHash, newBlock)
				token := mint(t, tickets, project)
				time.Sleep(tc.after)
				if tc.live {
					assertRedeems(t, tickets, token)
					return
				}
				assertRefuses(t, tickets, token)
			})
		})
	}
}

// TestTicketFromTheFuture mints on a machine whose clock is ahead: every bubble
// starts at the same time.
func TestTicketFromTheFuture(t *testing.T) {
	tests := []struct {
		name  string
		ahead time.Duration
		live  bool
	}{
		{"a clock 30 s ahead", 30 * time.Second, true},
		{"a clock more than 30 s ahead", 30*time.Second + time.Millisecond, false},
		{"a clock a day ahead", 24 * time.Hour, false},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			var token string
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(tc.ahead)
				token = mint(t, newTickets(t, newHash, newBlock), project)
			})
			synctest.Test(t, func(t *testing.T) {
				if tc.live {
					assertRedeems(t, newTickets(t, newHash, newBlock), token)
					return
				}
				assertRefuses(t, newTickets(t, newHash, newBlock), token)
			})
		})
	}
}

func TestOneHashKeyTwoBlockKeys(t *testing.T) {
	both := newTickets(t, newHash, newBlock, newHash, oldBlock)
	assertRedeems(t, both, mint(t, newTickets(t, newHash, oldBlock), project), "the second pair's")
	assertRefuses(t, newTickets(t, newHash, newBlock), mint(t, newTickets(t, newHash, oldBlock), project), "another block key")
	assertRefuses(t, newTickets(t, newHash, newBlock), mint(t, newTickets(t, oldHash, newBlock), project), "another hash key")
}

func TestProjects(t *testing.T) {
	const other = "project-live-22222222-2222-4222-8222-222222222222"
	ours, theirs := mint(t, newTickets(t, newHash, newBlock), project), mint(t, newTickets(t, newHash, newBlock), other)

	redeemOnly := newTickets(t, newHash, newBlock)
	assertRedeems(t, redeemOnly, ours, "no project named: any")
	assertRedeems(t, redeemOnly, theirs, "no project named: any")

	named := newTickets(t, newHash, newBlock)
	named.Minter(project)
	assertRedeems(t, named, ours, "one project named: its own")
	assertRefuses(t, named, theirs, "one project named: another's")

	named.Minter(other)
	assertRedeems(t, named, ours, "two projects named: the first's")
	assertRedeems(t, named, theirs, "two projects named: the second's")
}

func TestForgedTickets(t *testing.T) {
	tickets := newTickets(t, newHash, newBlock)
	for _, token := range ofAllPaddings(t, tickets) {
		for i := range token {
			for bit := range 8 {
				forged := []byte(token)
				forged[i] ^= 1 << bit
				assertRefuses(t, tickets, string(forged), "byte %d, bit %d", i, bit)
			}
			assertRefuses(t, tickets, token[:i], "cut off at %d", i)
			assertRefuses(t, tickets, token[:i]+"\n"+token[i:], "a line break at %d", i)
			assertRefuses(t, tickets, token[:i]+"\r"+token[i:], "a carriage return at %d", i)
		}
		for _, junk := range []string{token + "=", token + "\n", token + token, " " + token} {
			assertRefuses(t, tickets, junk)
		}
	}
	for _, junk := range []string{"", "=", "good", strings.Repeat("A", 64<<10)} {
		assertRefuses(t, tickets, junk)
	}
}

// TestOtherSealedValues: what an application seals with the same keys for a
// purpose of its own is no ticket, and a ticket is no such value.
func TestOtherSealedValues(t *testing.T) {
	tickets := newTickets(t, newHash, newBlock)
	codec := securecookie.New(newHash, newBlock).SetSerializer(securecookie.JSONEncoder{})
	now := time.Now().UnixMilli()
	cookie, err := codec.Encode("session", map[string]any{"project": project, "iat": now, "exp": now + 60_000, "identity": ada})
	require.NoError(t, err)
	assertRefuses(t, tickets, cookie, "a cookie with what a ticket has in it")

	var payload any
	assert.Error(t, codec.Decode("session", mint(t, tickets, project), &payload), "a ticket as a cookie")
}

// FuzzRedeem overwrites a part of a ticket: nothing but the ticket itself is
// redeemed. The seeds hold no ticket, because each fuzzing process mints its own.
func FuzzRedeem(f *testing.F) {
	tickets := newTickets(f, newHash, newBlock)
	ticket := mint(f, tickets, project)
	f.Add(uint(0), "")
	f.Add(uint(0), "fHw=")
	f.Add(uint(12), "\r\n")
	f.Add(uint(len(ticket)-1), "=")
	f.Add(uint(len(ticket)), "\n")
	f.Fuzz(func(t *testing.T, at uint, with string) {
		from := int(at % uint(len(ticket)+1))
		token := ticket[:from] + with + ticket[min(from+len(with), len(ticket)):]
		if token != ticket {
			assertRefuses(t, tickets, token)
		}
	})
}
