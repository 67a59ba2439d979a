// Package oldcode remembers whether the application's old code still sets its session
// cookie. While it does, users sign in by it, and their cookies must not be expired.
package oldcode

import (
	"context"
	"sync/atomic"
	"time"

	"example.com/stytchmigrate/internal/latch"
	"example.com/stytchmigrate/internal/sealedstore"
)

const (
	// Period is how long the old code counts as alive after it set a cookie. On a quiet
	// site a day may pass between two sign-ins.
	Period = 24 * time.Hour

	// skew is how far the clock of the machine that started a session may be ahead. A
	// session that started later than that tells nothing.
	skew = 5 * time.Minute

	justNow    = time.Minute // a second sighting within that time tells nothing new
	shareEvery = time.Hour
)

// Answer is whether the old code is alive.
type Answer int

// The zero value is CantTell: nothing is expired then.
const (
	CantTell Answer = iota
	No
	Yes
)

// Watch remembers the latest sign of the old code. Make it with [New]. It is safe for
// concurrent use.
type Watch struct {
	store *sealedstore.Store
	key   string

	seen    atomic.Int64 // the latest sign, in Unix nanoseconds; 0: none
	doubted atomic.Int64 // the latest cookie of which it can't be told
	shared  atomic.Int64 // when the other machines were told last
	told    latch.Latch  // it was reported
}

// New returns a Watch that has seen nothing. key is where machines share in the store
// that one of them has.
func New(store *sealedstore.Store, key string) *Watch { return &Watch{store: store, key: key} }

// Set notes that a handler has just set a legacy cookie with a session in it.
func (w *Watch) Set() { w.note(&w.seen, time.Now()) }

// MaySet notes that a handler has set a legacy cookie, and that it can't be told whether
// a session is in it.
func (w *Watch) MaySet() { w.note(&w.doubted, time.Now()) }

// Started notes when a legacy session started that a browser brought. The old code has
// set its cookie then, on whatever machine. The zero time is ignored.
func (w *Watch) Started(at time.Time) {
	if IsNew(at) {
		w.note(&w.seen, at)
	}
}

// IsNew reports whether a session that started then tells that the old code is alive.
func IsNew(started time.Time) bool {
	now := time.Now()
	return !started.IsZero() && now.Sub(started) < Period && started.Sub(now) <= skew
}

// note keeps the later one of two times.
func (w *Watch) note(latest *atomic.Int64, at time.Time) {
	for {
		before := latest.Load()
		if before >= at.UnixNano() || latest.CompareAndSwap(before, at.UnixNano()) {
			return
		}
	}
}

// JustSet reports that Set was called a moment ago, so that it need not be found out
// again.
func (w *Watch) JustSet() bool { return within(&w.seen, justNow) }

// Lives reports that this machine knows the old code to be alive.
func (w *Watch) Lives() bool { return within(&w.seen, Period) }

func within(latest *atomic.Int64, d time.Duration) bool {
	at := latest.Load()
	return at != 0 && time.Since(time.Unix(0, at)) < d
}

// Share tells the other machines, once an hour, what this machine has seen itself. What it
// has from the store alone it does not write again: the mark would never expire. The store
// keeps the mark for an hour longer than a Period, because it is written once an hour.
func (w *Watch) Share(ctx context.Context) {
	if !w.Lives() || within(&w.shared, shareEvery) {
		return
	}
	if err := w.store.Mark(ctx, w.key, Period+shareEvery); err == nil {
		w.note(&w.shared, time.Now())
	}
}

// Local is Ask, as far as this machine knows.
func (w *Watch) Local() Answer {
	switch {
	case w.Lives():
		return Yes
	case within(&w.doubted, Period):
		return CantTell
	}
	return No
}

// Ask reports whether the old code is alive. It asks the store unless this machine knows:
// call it before a cookie is expired, and not for each request.
func (w *Watch) Ask(ctx context.Context) Answer {
	local := w.Local()
	if local == Yes {
		return Yes
	}
	marked, err := w.store.Marked(ctx, w.key)
	switch {
	case marked:
		return Yes
	case err != nil:
		return CantTell
	}
	return local
}

// TellNow reports whether it is time to report that the old code is alive: once a minute.
func (w *Watch) TellNow() bool { return w.told.SetEvery(time.Minute) }
