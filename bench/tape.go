package main

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"example.com/stytchmigrate/stytchtest"
)

// tape answers calls to Stytch in process, and in no time: the stand-in answers a
// call once, and the tape gives that answer to every call that asks the same. The
// stand-in signs a JWT for each answer, as Stytch does; that takes longer than all
// that is measured here, and is not the client's work.
type tape struct {
	stytch *stytchtest.Server
	calls  atomic.Int64 // all but those for the key set
	missed atomic.Int64 // the stand-in was asked
	delay  atomic.Int64 // of each answer, in nanoseconds

	mu      sync.RWMutex
	answers map[string]recorded // by path and body
}

type recorded struct {
	status int
	header http.Header
	body   []byte
}

func newTape(s *stytchtest.Server) *tape {
	return &tape{stytch: s, answers: make(map[string]recorded)}
}

func (t *tape) client() *http.Client { return &http.Client{Transport: t} }

// RoundTrip keeps the rules of http.RoundTripper that clients rely on: it reads
// and closes the request's body, and every answer has headers of its own.
func (t *tape) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		defer r.Body.Close()
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	if r.Method == http.MethodPost {
		t.calls.Add(1)
		time.Sleep(time.Duration(t.delay.Load()))
	}
	key := r.URL.Path + "\n" + string(body)
	t.mu.RLock()
	a, ok := t.answers[key]
	t.mu.RUnlock()
	if !ok {
		var err error
		if a, err = t.record(r, key, body); err != nil {
			return nil, err
		}
	}
	return a.response(r), nil
}

func (t *tape) record(r *http.Request, key string, body []byte) (a recorded, err error) {
	t.missed.Add(1)
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(body))
	resp, err := t.stytch.RoundTripper().RoundTrip(r)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	a = recorded{status: resp.StatusCode, header: resp.Header}
	if a.body, err = io.ReadAll(resp.Body); err != nil {
		return a, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.answers[key] = a
	return a, nil
}

// example returns the body of a call that was answered 200.
func (t *tape) example(path string) []byte {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for key, a := range t.answers {
		if body, ok := strings.CutPrefix(key, path+"\n"); ok && a.status == http.StatusOK {
			return []byte(body)
		}
	}
	return nil
}

func (a recorded) response(r *http.Request) *http.Response {
	return &http.Response{
		Status: http.StatusText(a.status), StatusCode: a.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: a.header.Clone(), Body: io.NopCloser(bytes.NewReader(a.body)),
		ContentLength: int64(len(a.body)), Request: r,
	}
}

// keySetOnly is the whole network of the peers: whatever they ask for, by the
// paths of their own providers too, the answer is the project's key set.
type keySetOnly struct{ set recorded }

func newKeySetClient(s *stytchtest.Server) (*http.Client, error) {
	resp, err := s.Client().Get(s.URL + "/v1/sessions/jwks/" + s.ProjectID)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	set := recorded{status: resp.StatusCode, header: resp.Header, body: body}
	return &http.Client{Transport: keySetOnly{set}}, err
}

func (k keySetOnly) RoundTrip(r *http.Request) (*http.Response, error) {
	return k.set.response(r), nil
}
