package sealedstore

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// failingOnce is a Store of which the first Get fails, and no other.
type failingOnce struct {
	Backend
	asked bool
}

func (f *failingOnce) Get(context.Context, string) ([]byte, bool, error) {
	if f.asked {
		return nil, false, nil
	}
	f.asked = true
	return nil, false, errors.New("reset")
}

// A call works at the moment at which another's failure is told of: that the store
// has recovered is told after it.
func TestRecoveredIsTheLastWord(t *testing.T) {
	var told []string
	var v *Store
	get := func() { _, _, _ = v.Get(t.Context(), "key") }
	v = New("key", &failingOnce{}, time.Minute, func(err error) {
		if err == nil {
			told = append(told, "recovered")
			return
		}
		get()
		told = append(told, "failed")
	})
	get()
	get()
	assert.Equal(t, []string{"failed", "recovered"}, told)
}

// What is sealed opens under its own key and id alone.
func TestSeal(t *testing.T) {
	v, told := New("a key", nil, 0, nil), 0
	other := New("another key", nil, 0, func(error) { told++ })
	sealed := v.Seal("name", "id", []byte("plain"))
	plain, err := v.Open("name", "id", sealed)
	assert.NoError(t, err)
	assert.Equal(t, "plain", string(plain))
	for name, open := range map[string]func() ([]byte, error){
		"another name":    func() ([]byte, error) { return v.Open("nam", "id", sealed) },
		"another id":      func() ([]byte, error) { return v.Open("name", "", sealed) },
		"another key":     func() ([]byte, error) { return other.Open("name", "id", sealed) },
		"another version": func() ([]byte, error) { return v.Open("name", "id", append([]byte{2}, sealed[1:]...)) },
		"nothing":         func() ([]byte, error) { return v.Open("name", "id", nil) },
	} {
		_, err := open()
		assert.Error(t, err, name)
	}
	other.ReportUnreadable()
	other.ReportUnreadable()
	assert.Equal(t, 1, told, "once a minute")
}
