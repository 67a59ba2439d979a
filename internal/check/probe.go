package check

import (
	"context"
	"crypto/rand"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"example.com/stytchmigrate/internal/client"
	"example.com/stytchmigrate/internal/rawjson"
	"example.com/stytchmigrate/internal/sealedstore"
	"example.com/stytchmigrate/internal/stytch"
)

// probeAll sends all probes side by side, and waits for the replies.
func (c *check) probeAll(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	var all sync.WaitGroup
	all.Go(func() { c.user = c.probeStytch(limited, http.MethodGet, "/v1/users/"+c.unknownUserID(), "") })
	all.Go(func() { // the key set is public: no credentials are sent
		c.keySet = c.probe(limited, http.MethodGet, c.Client.JWKSURL(), "", func(*http.Request) {})
	})
	if c.ticket != "" {
		// Without Tickets there is no token that is both valid and of no user. A
		// made-up token proves nothing, since a correct endpoint and a wrong one both
		// refuse it, and Stytch throttles projects that send many.
		all.Go(func() {
			// A ticket is base64url, and needs no quoting. Without session_duration_minutes,
			// Stytch makes no session.
			c.exchange = c.probeStytch(limited, http.MethodPost, "/v1/sessions/migrate", `{"session_token":"`+string(c.ticket)+`"}`)
		})
	}
	if c.probesUserInfo() {
		all.Go(func() { c.bare = c.probeUserInfo(limited, "") })
		all.Go(func() { c.madeUp = c.probeUserInfo(limited, rand.Text()) })
		if c.ticket != "" {
			all.Go(func() { c.ticketed = c.probeUserInfo(limited, string(c.ticket)) })
		}
	}
	if c.Store != nil {
		all.Go(func() { c.storeProblem = sealedstore.Probe(limited, c.Store, c.Timeout) })
	}
	all.Wait()
	c.interrupted = ctx.Err() != nil && c.lacksReplies()
}

func (c *check) probesUserInfo() bool { return c.UserInfoURL != "" && c.hasLegacy() }

// unknownUserID has the form of Stytch's ids, and is the id of no user.
func (c *check) unknownUserID() string {
	env, _, _ := strings.Cut(strings.TrimPrefix(c.ProjectID, "project-"), "-")
	return "user-" + env + "-00000000-0000-4000-8000-000000000000"
}

// lacksReplies reports whether a probe that was sent failed.
func (c *check) lacksReplies() bool {
	for _, r := range []*reply{&c.user, &c.keySet, &c.exchange, &c.bare, &c.madeUp, &c.ticketed} {
		if r.failed() {
			return true
		}
	}
	return c.storeProblem != ""
}

func (c *check) probeStytch(ctx context.Context, method, path, body string) reply {
	return c.probe(ctx, method, c.Client.Base+path, body, c.Client.Authorize)
}

// probeUserInfo asks the endpoint as Stytch does (OpenID Connect Core section 5.3.1).
// It uses the transport for calls to Stytch, since the application's proxy is the way
// out for this call too. It does not send the project's secret.
func (c *check) probeUserInfo(ctx context.Context, token string) reply {
	return c.probe(ctx, http.MethodGet, c.UserInfoURL, "", func(r *http.Request) {
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
	})
}

func (c *check) probe(ctx context.Context, method, to, body string, authorize func(*http.Request)) reply {
	req, err := http.NewRequestWithContext(ctx, method, to, strings.NewReader(body))
	if err != nil {
		return reply{Received: client.Received{Failure: "request could not be made"}}
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	authorize(req)
	start := time.Now()
	r := reply{Received: c.Client.Send(req), took: time.Since(start)}
	if r.answered() && r.Status != http.StatusOK {
		r.api = c.Client.ReadError(r.Status, r.Body)
	}
	r.readClock(start.Add(r.took / 2))
	return r
}

// reply is what came of one probe. The zero value is that of a probe that was not
// sent.
type reply struct {
	client.Received
	api     *stytch.APIError // Stytch's error; nil for a 200, and without an answer
	took    time.Duration
	skew    time.Duration // how far this machine's clock is ahead of the Date header
	hasSkew bool
}

func (r *reply) answered() bool { return r.Status != 0 }

// failed reports a probe that was sent and got no answer.
func (r *reply) failed() bool { return !r.answered() && r.Failure != "" }

// summary is the text for a finding: the status, and the error type if there is
// one.
func (r *reply) summary() string {
	switch {
	case !r.answered():
		return r.Failure
	case r.errorType() != "":
		return strconv.Itoa(r.Status) + " " + r.errorType()
	}
	return strconv.Itoa(r.Status)
}

func (r *reply) errorType() string {
	if r.api == nil {
		return ""
	}
	return r.api.Type
}

// isTemporary reports an answer about the state of the server, not about the
// request.
func (r *reply) isTemporary() bool {
	return r.Status >= 500 || r.Status == http.StatusTooManyRequests || r.Status == http.StatusRequestTimeout
}

// isFromStytch reports whether Stytch's API gave the answer. Each of its answers has
// a request_id, and each of its errors a type.
func (r *reply) isFromStytch() bool {
	if r.Status != http.StatusOK {
		return r.errorType() != "" && r.errorType() != "route_not_found"
	}
	var body struct {
		RequestID string `json:"request_id" required:"true"`
	}
	return rawjson.Decode(r.Body, &body) == nil
}

// readClock compares the Date header, in whole seconds, with the middle of the call.
// A missing or malformed Date is no finding: a proxy may remove it, and nothing else
// depends on it. An answer with Age comes from a cache, so its Date is in the past.
func (r *reply) readClock(middle time.Time) {
	date, err := http.ParseTime(r.Header.Get("Date"))
	if err == nil && r.Header.Get("Age") == "" {
		r.skew, r.hasSkew = middle.Sub(date), true
	}
}
