package main

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// journal is what was said between this application and Stytch, for the pages
// and the walk to show. It is an http.RoundTripper: whatever the middleware
// sends goes through Config.HTTPClient, where tracing would sit as well.
//
// It is no log: it holds paths, statuses and the application's ids of users, no
// tokens and no emails.
type journal struct {
	mu      sync.Mutex
	entries []*entry
	dropped int // from the front, so that it stays small
}

const maxEntries = 200

type entry struct {
	At     time.Time
	What   string
	Result string // empty while it is under way
}

func (e entry) String() string {
	if e.Result == "" {
		return e.What + " → …"
	}
	return e.What + " → " + e.Result
}

func (j *journal) add(what, result string) *entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	e := &entry{time.Now(), what, result}
	j.entries = append(j.entries, e)
	if len(j.entries) > maxEntries {
		j.entries = j.entries[1:]
		j.dropped++
	}
	return e
}

// position is where the journal ends now.
func (j *journal) position() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.dropped + len(j.entries)
}

// since returns copies of the entries from a position on.
func (j *journal) since(position int) []entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []entry
	for _, e := range j.entries[min(max(0, position-j.dropped), len(j.entries)):] {
		out = append(out, *e)
	}
	return out
}

// RoundTrip notes a call when it goes out, so that what Stytch asks before it
// answers comes after it.
func (j *journal) RoundTrip(r *http.Request) (*http.Response, error) {
	e := j.add(r.Method+" "+r.URL.Path, "")
	resp, err := http.DefaultTransport.RoundTrip(r)
	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil {
		e.Result = "no answer"
	} else {
		e.Result = strconv.Itoa(resp.StatusCode)
	}
	return resp, err
}

// seen is a request as it came, before the middleware changed anything.
type seen struct {
	cookies  []*http.Cookie
	position int // in the journal
}

type seenKey struct{}

// observe keeps what the pages tell of a request's beginning.
func (a *app) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := seen{r.Cookies(), a.journal.position()}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), seenKey{}, s)))
	})
}
