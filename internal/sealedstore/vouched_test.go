package sealedstore_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/sealedstore"
)

// vouched is an error of a Backend that says which text may be logged.
type vouched struct {
	safe func() string
	err  error // wrapped
}

func (vouched) Error() string      { return "canary" }
func (v vouched) Unwrap() error    { return v.err }
func (v vouched) SafeText() string { return v.safe() }

func says(text string) error { return vouched{safe: func() string { return text }} }

// untyped is a vouching error whose method fails on a nil pointer.
type untyped struct{ text string }

func (*untyped) Error() string      { return "canary" }
func (u *untyped) SafeText() string { return u.text }

// broken is an error that does not even unwrap.
type broken struct{}

func (broken) Error() string { return "canary" }
func (broken) Unwrap() error { panic("canary") }

// Each row is an error of a Backend, and what is logged of it.
func TestVouchedErrors(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "canary", Err: syscall.ECONNREFUSED}
	for name, row := range map[string]struct {
		err  error
		want string
	}{
		"vouched":                 {says("db: NOPERM"), "db: NOPERM"},
		"wrapped":                 {fmt.Errorf("canary: %w", says("db: NOPERM")), "db: NOPERM"},
		"one of several":          {errors.Join(errors.New("canary"), says("first"), says("second")), "first"},
		"instead of our words":    {vouched{func() string { return "db: away" }, refused}, "db: away"},
		"of a time-out":           {vouched{func() string { return "db: slow" }, context.DeadlineExceeded}, "db: slow"},
		"several lines":           {says("a\r\nb\tc\u2028d\u0085e\x00f\x1b[31mg\u202eh"), "a b c d e f [31mg h"},
		"not UTF-8":               {says("a\xffb"), "a b"},
		"other scripts":           {says("Größe 大"), "Größe 大"},
		"as long as may be":       {says(strings.Repeat("a", 200)), strings.Repeat("a", 200)},
		"too long":                {says(strings.Repeat("a", 201)), strings.Repeat("a", 199) + "…"},
		"too long, other scripts": {says(strings.Repeat("大", 201)), strings.Repeat("大", 199) + "…"},
		"much too long":           {says(strings.Repeat("\n", 1<<20) + "a"), "failed (sealedstore_test.vouched)"},
		"nothing":                 {says(""), "failed (sealedstore_test.vouched)"},
		"nothing but spaces":      {says(" \n "), "failed (sealedstore_test.vouched)"},
		"nothing, of a network":   {vouched{func() string { return "" }, refused}, "dial: connection refused"},
		"panics":                  {vouched{safe: func() string { panic("canary") }}, "failed (sealedstore_test.vouched)"},
		"panics, of a network":    {vouched{func() string { panic("canary") }, refused}, "dial: connection refused"},
		"a nil pointer":           {(*untyped)(nil), "failed (*sealedstore_test.untyped)"},
		"exits":                   {vouched{safe: func() string { runtime.Goexit(); return "" }}, "left by runtime.Goexit"},
		"hangs":                   {vouched{safe: func() string { time.Sleep(time.Hour); return "canary" }}, "timed out"},
		"does not unwrap":         {broken{}, "panicked (string)"},
		"not vouched":             {fmt.Errorf("canary: %w", errors.New("canary")), "failed (*fmt.wrapError)"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBackend()
				b.before = func(context.Context, string) error { return row.err }
				s, told := newStore(b)
				_, _, err := s.Get(t.Context(), "k")
				assert.EqualError(t, err, "stytchmigrate: store: get: "+row.want)
				assert.Equal(t, []string{err.Error()}, told.lines)
				time.Sleep(2 * time.Hour) // for calls that the Store does not wait for
			})
		})
	}
}

// A caller that has left is none of the store's failures, though the error is vouched.
func TestVouchedErrorAfterTheCallerLeft(t *testing.T) {
	b := newBackend()
	b.before = func(context.Context, string) error {
		return vouched{func() string { return "db: gone" }, context.Canceled}
	}
	s, told := newStore(b)
	for range 5 {
		assert.ErrorContains(t, calls["get"](t.Context(), s), "stytchmigrate: store: get: ")
	}
	assert.Len(t, b.calls, 5)
	assert.Empty(t, told.lines)
}

func TestProbeSaysWhatIsVouched(t *testing.T) {
	refuses := func(context.Context, string) error { return says("db: NOPERM") }
	assert.Equal(t, "Get failed: db: NOPERM", sealedstore.Probe(t.Context(), doing(refuses), 2*time.Second))
	assert.Equal(t, "Claim failed: db: NOPERM", sealedstore.Probe(t.Context(), only("claim", refuses), 2*time.Second))
}
