package sealedstore

import (
	"context"
	"errors"
	"fmt"
	"net"

	"example.com/stytchmigrate/internal/background"
	"example.com/stytchmigrate/internal/redact"
)

// failure is an error of a Backend in words that may be logged. It does not wrap the
// error itself, whose text may hold keys or values and whose methods may panic.
type failure struct {
	text       string
	isVouched  bool // the text is the Backend's own
	callerLeft bool // the error is of context.Canceled
}

func (f *failure) Error() string { return f.text }

// Is lets errors.Is find context.Canceled.
func (f *failure) Is(target error) bool { return f.callerLeft && target == context.Canceled }

// describe returns a [*failure] for an error of a Backend, and nil for nil. It calls the
// error's methods, which are anyone's code, so it runs where the Backend's call runs.
func describe(err error) error {
	if err == nil {
		return nil
	}
	f := &failure{callerLeft: errors.Is(err, context.Canceled)}
	if f.text = vouchedText(err); f.text != "" {
		f.isVouched = true
		return f
	}
	var network net.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded), f.callerLeft, errors.As(err, &network):
		f.text = redact.Reason(err)
	default:
		f.text = fmt.Sprintf("failed (%T)", err)
	}
	return f
}

// vouchedText returns the text that a Backend vouches for, by the method SafeText of its
// error: the doc of stytchmigrate.Store tells of it. It returns "" if there is no such
// method, or if the method panics.
func vouchedText(err error) (text string) {
	defer func() {
		if recover() != nil {
			text = ""
		}
	}()
	var v interface{ SafeText() string }
	if !errors.As(err, &v) {
		return ""
	}
	return redact.Line(v.SafeText())
}

func storeError(op string, err error) error {
	return fmt.Errorf("stytchmigrate: store: %s: %s", op, reason(err))
}

// reason describes the error of a call: a [*failure], or what ended the call without an
// answer of the Backend's.
func reason(err error) string {
	var own redact.Text
	var crash *background.Crash
	var f *failure
	switch {
	case errors.As(err, &crash):
		return crash.Error()
	case errors.As(err, &own):
		return string(own)
	case errors.As(err, &f):
		return f.text
	}
	return redact.Reason(err)
}
