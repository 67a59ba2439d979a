package oldcode_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/oldcode"
	"example.com/stytchmigrate/internal/sealedstore"
	"example.com/stytchmigrate/storetest"
)

func machine(backend sealedstore.Backend) *oldcode.Watch {
	return oldcode.New(sealedstore.New("a key of 32 bytes, or of even more", backend, time.Second, func(error) {}), "key")
}

var words = map[oldcode.Answer]string{oldcode.CantTell: "can't tell", oldcode.No: "no", oldcode.Yes: "yes"}

// Each row is what a machine has seen, in order, and what it says then. "set" and "may" are
// cookies that a handler set; "started" is a session that a browser brought, with the time
// since its start; a duration passes.
func TestWatch(t *testing.T) {
	for events, want := range map[string]string{
		"":                         "no",
		"set":                      "yes",
		"set 23h59m59s":            "yes",
		"set 24h":                  "no",
		"set 23h set 23h":          "yes",
		"may":                      "can't tell",
		"may 24h":                  "no",
		"may set":                  "yes",
		"set 12h may 12h":          "can't tell",
		"started:0s":               "yes",
		"started:23h59m59s":        "yes",
		"started:23h59m59s 1s":     "no",
		"started:24h":              "no",
		"started:-5m":              "yes", // a clock that is ahead
		"started:-5m1s":            "no",
		"set started:23h 23h30m":   "yes", // the later one counts
		"started:23h set 23h30m":   "yes",
		"started:unknown":          "no",
		"set 23h started:20h 3h":   "yes",
		"started:1h started:2h 1h": "yes",
	} {
		synctest.Test(t, func(t *testing.T) {
			w := machine(nil)
			for event := range strings.FieldsSeq(events) {
				see(t, w, event)
			}
			assert.Equal(t, want, words[w.Ask(t.Context())], events)
			assert.Equal(t, want == "yes", w.Lives(), events)
		})
	}
}

func see(t *testing.T, w *oldcode.Watch, event string) {
	t.Helper()
	started, isStart := strings.CutPrefix(event, "started:")
	switch {
	case event == "set":
		w.Set()
	case event == "may":
		w.MaySet()
	case started == "unknown":
		w.Started(time.Time{})
	default:
		d, err := time.ParseDuration(started)
		assert.NoError(t, err)
		if isStart {
			w.Started(time.Now().Add(-d))
		} else {
			time.Sleep(d)
		}
	}
}

// A machine tells the others once an hour, and again at once if the store was down.
func TestOtherMachines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var store storetest.Memory
		writes, down := 0, errors.New("down")
		fault := down
		store.Fail(func(op, _ string) error {
			if op == "put" {
				writes++
			}
			return fault
		})
		a, b := machine(&store), machine(&store)
		ask := func() string { return words[b.Ask(t.Context())] }
		a.Set()
		a.Share(t.Context())
		assert.Equal(t, "can't tell", ask(), "the store is down")
		fault = nil
		assert.Equal(t, "no", ask())
		for range 3 {
			a.Share(t.Context())
		}
		assert.Equal(t, "yes", ask())
		assert.False(t, b.Lives(), "it asks again")
		assert.Equal(t, 2, writes)
		time.Sleep(time.Hour - time.Second)
		a.Share(t.Context())
		assert.Equal(t, 2, writes)
		time.Sleep(time.Second)
		a.Share(t.Context())
		assert.Equal(t, 3, writes)
		time.Sleep(24 * time.Hour)
		b.Share(t.Context()) // b has it from the store alone
		time.Sleep(time.Hour - time.Second)
		assert.Equal(t, "yes", ask())
		time.Sleep(time.Second)
		assert.Equal(t, "no", ask())
	})
}

// What nobody can read in the store is no answer.
func TestForgedMark(t *testing.T) {
	var store storetest.Memory
	_, err := store.Put(t.Context(), "key", "", []byte("forged"), time.Hour)
	assert.NoError(t, err)
	assert.Equal(t, "can't tell", words[machine(&store).Ask(t.Context())])
}

func TestTellNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := machine(nil)
		assert.False(t, w.JustSet())
		w.Set()
		assert.True(t, w.TellNow() && w.JustSet())
		time.Sleep(time.Minute - time.Second)
		assert.True(t, w.JustSet())
		assert.False(t, w.TellNow())
		time.Sleep(time.Second)
		assert.False(t, w.JustSet())
		assert.True(t, w.TellNow())
	})
}

func TestIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for ago, want := range map[time.Duration]bool{
			0: true, 24*time.Hour - 1: true, 24 * time.Hour: false, -5 * time.Minute: true, -5*time.Minute - 1: false,
		} {
			assert.Equal(t, want, oldcode.IsNew(time.Now().Add(-ago)), ago)
		}
		assert.False(t, oldcode.IsNew(time.Time{}))
	})
}
