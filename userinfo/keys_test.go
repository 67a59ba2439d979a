package userinfo_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/userinfo"
)

func TestNewTicketsNamesEverythingWrong(t *testing.T) {
	tests := []struct {
		name string
		keys [][]byte
		want string
	}{
		{"no keys", nil, "userinfo: no keys given"},
		{"a hash key alone", [][]byte{newHash}, "userinfo: pair 1: block key is missing"},
		{"one key too many", [][]byte{newHash, newBlock, oldHash}, "userinfo: pair 2: block key is missing"},
		{"a short hash key", [][]byte{newHash[:31], newBlock}, "userinfo: pair 1: hash key has 31 bytes, not 32 or more"},
		{"a nil block key, which securecookie takes for no sealing", [][]byte{newHash, nil}, "userinfo: pair 1: block key has 0 bytes, not 16, 24 or 32"},
		{"a block key of a wrong size", [][]byte{newHash, newBlock[:17]}, "userinfo: pair 1: block key has 17 bytes, not 16, 24 or 32"},
		{"everything", [][]byte{nil, nil, newHash, newBlock[:31], oldHash[:8]}, "userinfo: pair 1: hash key has 0 bytes, not 32 or more\n" +
			"userinfo: pair 1: block key has 0 bytes, not 16, 24 or 32\nuserinfo: pair 2: block key has 31 bytes, not 16, 24 or 32\n" +
			"userinfo: pair 3: hash key has 8 bytes, not 32 or more\nuserinfo: pair 3: block key is missing"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			tickets, err := userinfo.NewTickets(tc.keys...)
			assert.EqualError(t, err, tc.want)
			assert.Nil(t, tickets)
		})
	}
	for _, n := range []int{16, 24, 32} {
		_, err := userinfo.NewTickets(newHash, newBlock[:n])
		assert.NoError(t, err, "a block key of %d bytes", n)
	}
}

func TestKeysAreCopied(t *testing.T) {
	hash, block := bytes.Clone(newHash), bytes.Clone(newBlock)
	tickets := newTickets(t, hash, block)
	clear(hash)
	clear(block)
	assertRedeems(t, newTickets(t, newHash, newBlock), mint(t, tickets, project))
}

// TestNotMade: a setting that is wrong is not the user's fault, so it reads as
// "can't tell".
func TestNotMade(t *testing.T) {
	for _, tickets := range []*userinfo.Tickets{nil, {}} {
		_, err := tickets.Minter(project)(ada)
		assert.EqualError(t, err, "userinfo: Tickets was not made by NewTickets")
		_, err = tickets.Redeem(t.Context(), "good")
		assert.EqualError(t, err, "userinfo: Tickets was not made by NewTickets")
		call(t, userinfo.Handler(tickets.Redeem), request("GET", "/", "", "Bearer good"), unavailable)
	}
}

func TestConcurrentUse(t *testing.T) {
	tickets := newTickets(t, newHash, newBlock)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			token, err := tickets.Minter(project)(ada)
			assert.NoError(t, err)
			id, err := tickets.Redeem(context.Background(), token)
			assert.NoError(t, err)
			assert.Equal(t, ada, id)
		})
	}
	wg.Wait()
}

// TestNothingPrintsKeys prints Tickets in every way, also where fmt may not call
// its methods.
func TestNothingPrintsKeys(t *testing.T) {
	tickets := newTickets(t, newHash, newBlock, oldHash, oldBlock)
	minter := tickets.Minter(project)
	wrapped := struct {
		p *userinfo.Tickets
		v userinfo.Tickets
		P *userinfo.Tickets
		V userinfo.Tickets
	}{tickets, *tickets, tickets, *tickets}

	var out strings.Builder
	text, jsonLog := slog.New(slog.NewTextHandler(&out, nil)), slog.New(slog.NewJSONHandler(&out, nil))
	for _, v := range []any{tickets, *tickets, wrapped, &wrapped, minter, []any{tickets}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%d", "%s", "%q", "%x", "%X", "%t", "%p"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		text.Info("", "tickets", v)
		jsonLog.Info("", "tickets", v)
		b, _ := json.Marshal(v) // a func has no JSON
		out.Write(b)
	}
	assertNoCanary(t, out.String())

	for _, verb := range []string{"%v", "%+v", "%#v", "%d", "%s", "%q", "%x"} {
		assert.Equal(t, "[redacted] [redacted]", fmt.Sprintf(verb+" "+verb, tickets, *tickets))
	}
	assert.Equal(t, "[redacted]", tickets.LogValue().String())
}

// TestNoAnswerEchoesTheToken, the yes included.
func TestNoAnswerEchoesTheToken(t *testing.T) {
	for _, err := range []error{nil, userinfo.ErrInvalidToken, fmt.Errorf("canary-token: %s", newHash)} {
		h := userinfo.Handler(func(context.Context, string) (userinfo.Identity, error) { return ada, err })
		want := map[bool]reply{true: yes, false: unavailable}[err == nil]
		if err == userinfo.ErrInvalidToken {
			want = badToken
		}
		for _, r := range []*http.Request{
			request(http.MethodGet, "/", "", "Bearer canary-token"),
			formRequest("access_token=canary-token"),
		} {
			r, logged := withErrorLog(r)
			call(t, h, r, want)
			assertNoCanary(t, logged.String())
		}
	}
}

// assertNoCanary looks for keys and tokens as text, hex, base64 and lists of
// numbers.
func assertNoCanary(t *testing.T, s string) {
	t.Helper()
	const canary = "canary"
	assert.NotContains(t, s, canary)
	assert.NotContains(t, strings.ToLower(s), hex.EncodeToString([]byte(canary)))
	assert.NotContains(t, s, base64.StdEncoding.EncodeToString([]byte(canary)))
	assert.NotContains(t, s, strings.Trim(fmt.Sprint([]byte(canary)), "[]"))
	assert.NotContains(t, s, "0x63, 0x61, 0x6e, 0x61, 0x72, 0x79")
}
