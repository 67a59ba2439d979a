package userinfo_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/userinfo"
)

// deadlined is a response of a connection whose reads may be given a time.
type deadlined struct {
	*httptest.ResponseRecorder
	within time.Duration
}

func (d *deadlined) SetReadDeadline(t time.Time) error {
	d.within = time.Until(t)
	return nil
}

// A form that does not end holds a handler for ten seconds, on a server that
// bounds only the headers. Nothing else is read, and so nothing else has a time.
func TestTimeOfForms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := userinfo.Handler(func(context.Context, string) (userinfo.Identity, error) {
			return userinfo.Identity{}, userinfo.ErrInvalidToken
		})
		for contentType, want := range map[string]time.Duration{formType: 10 * time.Second, "application/json": 0, "": 0} {
			r := httptest.NewRequest(http.MethodPost, "/userinfo", strings.NewReader("access_token=a"))
			r.Header.Set("Content-Type", contentType)
			w := &deadlined{ResponseRecorder: httptest.NewRecorder()}
			h.ServeHTTP(w, r)
			assert.Equal(t, want, w.within, contentType)
			assert.Equal(t, 401, w.Code)
		}
	})
}
