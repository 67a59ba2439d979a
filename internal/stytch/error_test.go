package stytch_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/stytch"
)

var errPublic = errors.New("stytchmigrate: stytch answered 404")

func TestAnswerOf(t *testing.T) {
	no := &stytch.CallError{Op: stytch.Migrate, Answer: stytch.No}
	assert.Equal(t, stytch.Yes, stytch.AnswerOf(nil))
	assert.Equal(t, stytch.No, stytch.AnswerOf(no))
	assert.Equal(t, stytch.No, stytch.AnswerOf(fmt.Errorf("on the way: %w", no)))
	assert.Equal(t, stytch.CantTell, stytch.AnswerOf(&stytch.CallError{Op: stytch.Migrate}))
	assert.Equal(t, stytch.CantTell, stytch.AnswerOf(errors.New("an error of the application")))
	assert.Equal(t, stytch.CantTell, stytch.AnswerOf(stytch.ErrNoAnswer))
	assert.Same(t, no, stytch.AsCall(fmt.Errorf("on the way: %w", no)))
	assert.Nil(t, stytch.AsCall(errPublic))
}

func TestCallError(t *testing.T) {
	ours := &stytch.CallError{Op: stytch.Revoke, Reason: "timed out"}
	theirs := &stytch.CallError{Op: stytch.Migrate, API: &stytch.APIError{Status: 404, Err: errPublic}}
	assert.EqualError(t, ours, "stytchmigrate: revoke: timed out")
	assert.EqualError(t, theirs, "stytchmigrate: stytch answered 404 to migrate")
	assert.ErrorIs(t, theirs, errPublic)
	assert.NoError(t, ours.Unwrap())
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%t"} {
		assert.Equal(t, theirs.Error(), fmt.Sprintf(verb, theirs), verb)
	}
}

// Only a call that was not sent is held back.
func TestHeldBack(t *testing.T) {
	api := &stytch.APIError{Status: 503, Err: errPublic}
	assert.True(t, (&stytch.CallError{RetryAfter: time.Second}).HeldBack())
	assert.False(t, (&stytch.CallError{}).HeldBack())
	assert.False(t, (&stytch.CallError{API: api, RetryAfter: time.Second}).HeldBack())
}

// RFC 6265 section 4.1.1: %x21 / %x23-2B / %x2D-3A / %x3C-5B / %x5D-7E.
func TestIsToken(t *testing.T) {
	for c := range 256 {
		isOctet := c == 0x21 || c >= 0x23 && c <= 0x2b || c >= 0x2d && c <= 0x3a || c >= 0x3c && c <= 0x5b || c >= 0x5d && c <= 0x7e
		for _, v := range []string{string([]byte{byte(c)}), string([]byte{'a', byte(c)}), string([]byte{byte(c), 'a'})} {
			assert.Equal(t, isOctet, stytch.IsToken(v), "%q", v)
		}
	}
	assert.False(t, stytch.IsToken(""))
	assert.True(t, stytch.IsToken(strings.Repeat("a", 10_000)), "the length is for others to judge")
}
