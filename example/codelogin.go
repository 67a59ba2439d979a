package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"example.com/stytchmigrate"
)

// codeLogin is the new sign-in: Stytch sends a code to the user's email. It stands for
// each login of Stytch's that a server completes: a magic link, OAuth or a password.
type codeLogin struct {
	project *project
	client  *http.Client

	mu   sync.Mutex
	sent map[string]person // by Stytch's id of the email. A form that named the user itself could name another one
}

func newCodeLogin(p *project, j *journal) *codeLogin {
	return &codeLogin{project: p, client: &http.Client{Transport: j, Timeout: 10 * time.Second}, sent: make(map[string]person)}
}

// send sends a code to a user. It returns what Stytch knows the email by.
func (c *codeLogin) send(ctx context.Context, p person) (methodID string, err error) {
	var out struct {
		EmailID string `json:"email_id"`
	}
	if err := c.call(ctx, "/v1/otps/email/login_or_create", map[string]any{"email": p.Email}, &out); err != nil {
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent[out.EmailID] = p
	return out.EmailID, nil
}

// sentTo returns the user that a code was sent to.
func (c *codeLogin) sentTo(methodID string) (person, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.sent[methodID]
	return p, ok
}

// authenticate returns the tokens of the session that a code is good for.
func (c *codeLogin) authenticate(ctx context.Context, methodID, code string, p person) (token, jwt stytchmigrate.Secret, err error) {
	var out struct {
		Token stytchmigrate.Secret `json:"session_token"`
		JWT   stytchmigrate.Secret `json:"session_jwt"`
	}
	err = c.call(ctx, "/v1/otps/authenticate", map[string]any{
		"method_id": methodID, "code": code, "session_duration_minutes": 30 * 24 * 60, "session_custom_claims": claimsOf(p.ID),
	}, &out)
	return out.Token, out.JWT, err
}

var errRefused = errors.New("stytch refused")

// call sends JSON to Stytch. An application uses Stytch's SDK in its place.
func (c *codeLogin) call(ctx context.Context, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	url := cmp.Or(c.project.baseURL, "https://test.stytch.com") + path
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.SetBasicAuth(c.project.id, string(c.project.secret))
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		var failed struct {
			Type string `json:"error_type"`
		}
		_ = json.NewDecoder(resp.Body).Decode(&failed) // the status says enough
		if resp.StatusCode/100 == 4 && resp.StatusCode != http.StatusTooManyRequests {
			return fmt.Errorf("%w: %d %s", errRefused, resp.StatusCode, failed.Type)
		}
		return fmt.Errorf("stytch: %d %s", resp.StatusCode, failed.Type)
	}
	return json.NewDecoder(resp.Body).Decode(out)
}

// sendCode sends a code to a user, and asks for it.
func (a *app) sendCode(w http.ResponseWriter, r *http.Request) {
	p, ok := find(r.PostFormValue("user"))
	if !ok {
		http.Error(w, "There is no such user.", http.StatusBadRequest)
		return
	}
	methodID, err := a.codes.send(r.Context(), p)
	a.askForCode(w, r, p, methodID, err)
}

// askForCode shows the form for the code, and what went wrong, if anything did.
func (a *app) askForCode(w http.ResponseWriter, r *http.Request, p person, methodID string, err error) {
	v := a.view("Enter the code", r)
	v.Page, v.Person, v.MethodID = "code", p, methodID
	status := http.StatusOK
	if err != nil {
		a.log.WarnContext(r.Context(), "sign-in by code failed", "error", err)
		v.Wrong, status = "Stytch can't be asked right now. You are signed in as before.", http.StatusServiceUnavailable
		if errors.Is(err, errRefused) || errors.Is(err, stytchmigrate.ErrNoSession) {
			v.Wrong, status = "Stytch did not accept that. You are signed in as before.", http.StatusUnprocessableEntity
		}
	}
	if a.standIn != nil {
		v.Code = a.standIn.LastCode(p.Email)
	}
	a.render(w, status, v)
}

// signIn completes the sign-in by a code. SignIn sets the Stytch cookies, and ends the
// sessions that this browser had.
func (a *app) signIn(w http.ResponseWriter, r *http.Request) {
	methodID := r.PostFormValue("method_id")
	p, ok := a.codes.sentTo(methodID)
	if !ok {
		http.Error(w, "No code was sent.", http.StatusBadRequest)
		return
	}
	token, jwt, err := a.codes.authenticate(r.Context(), methodID, r.PostFormValue("code"), p)
	if err == nil {
		err = a.auth().SignIn(w, r, token, jwt)
	}
	if err != nil {
		a.askForCode(w, r, p, methodID, err)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
