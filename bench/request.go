package main

import (
	"net/http"
)

// recorder is the ResponseWriter of every request: it keeps what is needed to tell
// a right answer, and is used again.
type recorder struct {
	header http.Header
	status int
}

func (w *recorder) Header() http.Header { return w.header }

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *recorder) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return len(p), nil
}

// visitor sends requests, one at a time. Request and recorder are the same for
// all of them, so that only what the middleware does itself is counted.
type visitor struct {
	r      *http.Request
	cookie []string
	w      recorder
}

func newVisitor() *visitor {
	r, err := http.NewRequest(http.MethodGet, "https://app.example.com/page", nil)
	if err != nil {
		panic(err) // the URL is a constant
	}
	v := &visitor{r: r, cookie: []string{""}, w: recorder{header: make(http.Header)}}
	for name, value := range map[string]string{
		"Accept": "text/html,application/xhtml+xml", "Accept-Encoding": "gzip, br", "Accept-Language": "en",
		"User-Agent":     "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
		"Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin",
	} {
		r.Header.Set(name, value)
	}
	return v
}

// send returns the status of the answer to a request with a Cookie header, or
// with none.
func (v *visitor) send(h http.Handler, cookie string) int {
	if cookie == "" {
		delete(v.r.Header, "Cookie")
	} else {
		v.cookie[0] = cookie
		v.r.Header["Cookie"] = v.cookie
	}
	clear(v.w.header)
	v.w.status = 0
	h.ServeHTTP(&v.w, v.r)
	return v.w.status
}

// rightUser is the status of a handler that found the user it was to find.
const rightUser = http.StatusNoContent

// application is the handler behind every middleware. It looks the user up, as any
// does, and answers whether it is the right one: so nobody is measured who is wrong.
func application(user func(*http.Request) string, want string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user != nil && user(r) != want {
			w.WriteHeader(http.StatusConflict)
			return
		}
		w.WriteHeader(rightUser)
	})
}
