package stories_test

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
)

// The handler gets a copy of the request, with a context and perhaps cookies of its own.
// What it leaves in the copy has to be in the request that came, and what net/http adds
// to that while the body is read has to be in the copy.

// passedOn is the kinds of requests of which a copy is passed on, and their cookies.
func passedOn(t *testing.T, check func(t *testing.T, a *apptest.App, cookies string)) {
	t.Helper()
	for name, row := range map[string]struct {
		stage  stytchmigrate.Stage
		before func(a *apptest.App) string
	}{
		"anonymous": {stytchmigrate.StageReplace, func(*apptest.App) string { return "" }},
		"known":     {stytchmigrate.StageReplace, func(a *apptest.App) string { return a.Get("sid=ada-1").Jar("") }},
		"moving":    {stytchmigrate.StageReplace, func(*apptest.App) string { return "sid=ada-1" }},
		"kept":      {stytchmigrate.StageKeep, func(a *apptest.App) string { return a.Get("sid=ada-1").Jar("sid=ada-1") }},
		"legacy":    {stytchmigrate.StageObserve, func(*apptest.App) string { return "sid=ada-1" }},
	} {
		t.Run(name, func(t *testing.T) {
			a := apptest.New(t, stytchtest.Config{InProcess: true}, apptest.Stage(row.stage))
			check(t, a, row.before(a))
		})
	}
}

// upload is a form with a file of 64 KB.
func upload(t *testing.T) (body io.Reader, contentType string) {
	t.Helper()
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	require.NoError(t, form.WriteField("title", "portrait"))
	file, err := form.CreateFormFile("photo", "ada.png")
	require.NoError(t, err)
	_, err = file.Write(make([]byte, 64<<10))
	require.NoError(t, err)
	require.NoError(t, form.Close())
	return &b, form.FormDataContentType()
}

// post sends a form over a socket.
func post(t *testing.T, s *httptest.Server, cookies, contentType string, body io.Reader) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/photos/7", body)
	require.NoError(t, err)
	r.Header.Set("Content-Type", contentType)
	if r.Host = "app.example.com"; cookies != "" {
		r.Header.Set("Cookie", cookies)
	}
	resp, err := s.Client().Do(r)
	require.NoError(t, err)
	_, _ = io.Copy(io.Discard, resp.Body)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)
}

// An upload leaves no file behind: net/http removes those of the request that came.
func TestUploadLeavesNoFile(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		passedOn(t, func(t *testing.T, a *apptest.App, cookies string) {
			dir := t.TempDir()
			t.Setenv("TMPDIR", dir)
			files := func() []string {
				all, err := filepath.Glob(filepath.Join(dir, "multipart-*"))
				require.NoError(t, err)
				return all
			}
			s := a.Site(t, http2, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				assert.NoError(t, r.ParseMultipartForm(1))
				assert.Equal(t, "portrait", r.FormValue("title"))
				assert.Len(t, files(), 1)
			}))
			body, contentType := upload(t)
			post(t, s, cookies, contentType, body)
			s.Close() // once the server has ended the request
			assert.Empty(t, files())
		})
	}
}

// A middleware outside finds the pattern that a mux inside has matched, and the form.
func TestPatternIsSeenOutside(t *testing.T) {
	passedOn(t, func(t *testing.T, a *apptest.App, cookies string) {
		mux := http.NewServeMux()
		mux.HandleFunc("POST /photos/{id}", func(_ http.ResponseWriter, r *http.Request) {
			assert.Equal(t, "7", r.PathValue("id"))
			assert.NoError(t, r.ParseForm())
		})
		inside := a.Middleware.Handler(mux)
		outside := http.NewServeMux()
		var pattern, title string
		outside.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
			defer func() { pattern, title = r.Pattern, r.PostForm.Get("title") }()
			inside.ServeHTTP(w, r)
		})
		s := socket(t, outside)
		post(t, s, cookies, "application/x-www-form-urlencoded", strings.NewReader("title=portrait"))
		assert.Equal(t, "POST /photos/{id} portrait", pattern+" "+title)
	})
}

// The trailer of a chunked request reaches the handler, announced or not.
func TestTrailerReachesTheHandler(t *testing.T) {
	for _, announced := range []bool{true, false} {
		passedOn(t, func(t *testing.T, a *apptest.App, cookies string) {
			var sum string
			s := socket(t, a.Middleware.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				_, err := io.Copy(io.Discard, r.Body)
				assert.NoError(t, err)
				sum = r.Trailer.Get("X-Sum")
			})))
			head := "POST / HTTP/1.1\r\nHost: app.example.com\r\nTransfer-Encoding: chunked\r\n"
			if announced {
				head += "Trailer: X-Sum\r\n"
			}
			if cookies != "" {
				head += "Cookie: " + cookies + "\r\n"
			}
			resp := apptest.RawRequest(t, s, head+"Connection: close\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 6\r\n\r\n")
			require.NoError(t, resp.Body.Close())
			assert.Equal(t, "6", sum)
		})
	}
}

func socket(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}
