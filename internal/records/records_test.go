package records_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/records"
	"example.com/stytchmigrate/internal/sealedstore"
	"example.com/stytchmigrate/internal/stytch"
)

// codec writes the id of a session, and nothing else of it.
var codec = records.Codec{
	Encode: func(s *stytch.Session) (json.RawMessage, error) { return json.Marshal(s.ID) },
	Decode: func(raw json.RawMessage) (*stytch.Session, error) {
		s := new(stytch.Session)
		if err := json.Unmarshal(raw, &s.ID); err != nil || s.ID == "" {
			return nil, errors.New("of no use")
		}
		return s, nil
	},
}

// keeper returns the records of one machine, and what it was loud about.
func keeper() (s *records.Records, v *sealedstore.Store, loud *[]error) {
	loud = &[]error{}
	v = sealedstore.New("a key of 32 bytes, or of even more", nil, 0, func(err error) { *loud = append(*loud, err) })
	return records.New(v, codec, 5*time.Nanosecond/2), v, loud
}

// What each value of a cookie became is remembered for no more of them than there
// is room for, and those that came last are.
func TestRecordsAreBounded(t *testing.T) {
	s, _, loud := keeper()
	const n = 20_000
	at := time.Now()
	for i := range n + 100 {
		assert.True(t, s.Put(t.Context(), fmt.Sprint(i), "", "", &records.Record{VouchedAt: at, Session: &stytch.Session{ID: fmt.Sprint("s", i)}}))
	}
	assert.Nil(t, s.Load(t.Context(), "99", ""))
	for _, i := range []int{100, n + 99} {
		r := s.Load(t.Context(), fmt.Sprint(i), "")
		if assert.NotNil(t, r, i) {
			assert.Equal(t, fmt.Sprint("s", i), r.Session.ID)
			assert.True(t, at.Equal(r.VouchedAt))
		}
	}
	assert.Empty(t, *loud)
	assert.Nil(t, s.Load(t.Context(), "100", "another session's id"))
	assert.Equal(t, []error{sealedstore.ErrUnreadable}, *loud)
}

// A source may have more members than are known, and lack all of them but the
// cookie's name.
func TestSourcesOfTwoVersions(t *testing.T) {
	s, _, loud := keeper()
	s.PutSource(t.Context(), "key", records.Source{Cookie: "sid", ID: "1"}, time.Hour)
	src, found := s.Source(t.Context(), "key")
	assert.True(t, found)
	assert.Equal(t, records.Source{Cookie: "sid", ID: "1"}, src)
	_, found = s.Source(t.Context(), "other")
	assert.False(t, found)
	assert.Empty(t, *loud)
}

// A Config.Timeout of a few nanoseconds, which New accepts, leaves no time between two
// renewals.
func TestTinyLease(t *testing.T) {
	v := sealedstore.New("key", silent{}, time.Second, func(error) {})
	s := records.New(v, codec, 5*time.Nanosecond/2)
	s.Hold(t.Context(), "key", "owner")()
}

// silent is a Store that is never asked anything in this test.
type silent struct{ sealedstore.Backend }
