package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"strings"

	"example.com/stytchmigrate"
)

// crowd is a Stytch that migrates any number of legacy sessions. The sessions
// differ in their ids alone, and the JWTs of its answers are not signed anew: the
// middleware takes those as they come, from Stytch itself, and signing a hundred
// thousand takes minutes.
type crowd struct {
	answer                        string // of the one session that the others are made from
	jwt, token, id, userID, claim string // what differs from one to the next
}

func (w *world) newCrowd() (c crowd, err error) {
	path := "/v1/sessions/migrate"
	c.answer = string(w.tape.answers[path+"\n"+string(w.tape.example(path))].body)
	var in struct {
		SessionJWT   string `json:"session_jwt"`
		SessionToken string `json:"session_token"`
		Session      struct {
			SessionID    string            `json:"session_id"`
			UserID       string            `json:"user_id"`
			CustomClaims map[string]string `json:"custom_claims"`
		}
	}
	err = json.Unmarshal([]byte(c.answer), &in)
	c.jwt, c.token = in.SessionJWT, in.SessionToken
	c.id, c.userID, c.claim = in.Session.SessionID, in.Session.UserID, in.Session.CustomClaims["legacy_session"]
	return c, err
}

// of is what id would be for member i. Members have ids of the same length.
func of(id string, i int) string { return fmt.Sprintf("%s%08d", id[:len(id)-8], i) }

// member is the answer about legacy session i, whose claim is given, and its JWT.
func (c crowd) member(i int, claim string) (answer, jwt string) {
	ids := strings.NewReplacer(c.id, of(c.id, i), c.userID, of(c.userID, i), c.token, of(c.token, i), c.claim, claim)
	parts := strings.Split(c.jwt, ".")
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
	parts[1] = base64.RawURLEncoding.EncodeToString([]byte(ids.Replace(string(payload))))
	jwt = strings.Join(parts, ".")
	return ids.Replace(strings.Replace(c.answer, c.jwt, jwt, 1)), jwt
}

const notFound = `{"status_code":404,"request_id":"request-id-test-0","error_type":"session_not_found",` +
	`"error_message":"There is no such session, or it has ended.","error_url":"https://stytch.com/docs"}`

// RoundTrip migrates the members, and knows no other token.
func (c crowd) RoundTrip(r *http.Request) (*http.Response, error) {
	defer r.Body.Close()
	var in struct {
		Token  string            `json:"session_token"`
		Claims map[string]string `json:"session_custom_claims"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		return nil, err
	}
	a := recorded{status: http.StatusNotFound, header: http.Header{"Content-Type": {"application/json"}}, body: []byte(notFound)}
	if i, err := strconv.Atoi(strings.TrimPrefix(in.Token, "token-of-")); err == nil && in.Claims != nil {
		answer, _ := c.member(i, in.Claims["legacy_session"])
		a.status, a.body = http.StatusOK, []byte(answer)
	}
	return a.response(r), nil
}

// guarded is a middleware whose Stytch is the crowd, and what its last request
// was told.
func (w *world) guarded(c crowd) (h http.Handler, last *found, err error) {
	cfg := w.config()
	cfg.HTTPClient = &http.Client{Transport: c}
	cfg.Legacy = []stytchmigrate.LegacyCookie{{Name: oldName, Resolve: w.resolve}}
	m, err := stytchmigrate.New(cfg)
	if err != nil {
		return nil, nil, err
	}
	last = new(found)
	return m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		last.user, last.claim = ourUser(r), ""
		if s, ok := stytchmigrate.SessionFromContext(r.Context()); ok {
			last.claim, _ = s.CustomClaims["legacy_session"].(string)
		}
	})), last, nil
}

// found is what a handler learnt.
type found struct{ user, claim string }

// heap is what is in use after a full collection. The second one frees what
// finalizers and pools kept.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// memory writes what n sessions take that a Middleware migrated, and returns the
// bytes of one that it still knows.
func (w *world) memory(out io.Writer, n int) (each float64, err error) {
	c, err := w.newCrowd()
	if err != nil {
		return 0, err
	}
	h, last, err := w.guarded(c)
	if err != nil {
		return 0, err
	}
	v, before, sent := newVisitor(), heap(), 0
	var claims []string
	fmt.Fprintf(out, "\n### Memory\n\n| sessions migrated | of which are known by their JWT | heap, records included | for each that is known |\n| --: | --: | --: | --: |\n")
	for _, part := range []int{10, 4, 2, 1} {
		for ; sent < n/part; sent++ {
			v.send(h, fmt.Sprintf("%s=%08d", oldName, sent))
			if last.user != of(c.userID, sent) {
				return 0, fmt.Errorf("bench: legacy session %d is %q", sent, last.user)
			}
			claims = append(claims, strings.Clone(last.claim))
		}
		ours := int64(sent * (16 + len(claims[0]))) // what is kept here of the claims
		used := heap() - before - ours
		known, step := 0, max(1, n/1000) // the newest are known: what was not used for longest makes room
		for i := sent - 1; i >= 0 && c.isKnown(i, claims[i], h, v, last); i -= step {
			known += step
		}
		known = min(known, sent)
		each = float64(used) / float64(known)
		fmt.Fprintf(out, "| %d | %d | %.1f MB | %.1f KB |\n", sent, known, mega(used), each/1e3)
	}
	runtime.KeepAlive(h)
	return each, nil
}

// isKnown says whether the JWT of session i is in memory. As its signature is
// wrong, it is nobody's where it is not.
func (c crowd) isKnown(i int, claim string, h http.Handler, v *visitor, last *found) bool {
	_, jwt := c.member(i, claim)
	v.send(h, jwts(jwt)[0])
	return last.user == of(c.userID, i)
}

// rubbish sends tokens that Stytch does not know, and forged JWTs, no two alike.
func (w *world) rubbish(out io.Writer, n int) error {
	c, err := w.newCrowd()
	if err != nil {
		return err
	}
	h, last, err := w.guarded(c)
	if err != nil {
		return err
	}
	v, before := newVisitor(), heap()
	parts := strings.Split(w.wrongKey, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\n| distinct tokens of nobody | heap |\n| --: | --: |\n")
	for i := range n {
		parts[1] = base64.RawURLEncoding.EncodeToString([]byte(of(string(payload[:len(payload)-1])+`,"n":"00000000`, i) + `"}`))
		cookie := jwtName + "=" + strings.Join(parts, ".")
		if i%2 == 0 {
			cookie = fmt.Sprintf("%s=%044d", sessionName, i)
		}
		if v.send(h, cookie); last.user != "" {
			return fmt.Errorf("bench: rubbish %d is %q", i, last.user)
		}
		if i+1 == n/10 || i+1 == n {
			fmt.Fprintf(out, "| %d | %.1f MB |\n", i+1, mega(heap()-before))
		}
	}
	runtime.KeepAlive(h)
	return nil
}

func mega(n int64) float64 { return float64(n) / 1e6 }
