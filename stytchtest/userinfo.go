package stytchtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"
)

const (
	userInfoTimeout = 5 * time.Second
	userInfoLimit   = 1 << 20
)

// userInfo is how the server learns whose a legacy token is. Server.mu guards it.
type userInfo struct {
	url      string
	client   *http.Client
	hook     func(ctx context.Context, token string) (email string, err error)
	accepted map[string]string // token to email
}

// userInfoClient returns c without the following of redirects: the legacy token
// would travel with them.
func userInfoClient(c *http.Client) *http.Client {
	own := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	if c != nil {
		own = *c
	}
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &own
}

// SetUserInfoURL makes migrate calls ask the endpoint at url whose a token is,
// by GET with the token as Bearer credentials. Empty means that the project has
// no endpoint, and migrate_from_external_missing_userinfo is the answer.
func (s *Server) SetUserInfoURL(url string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.userInfo.url = url
}

// SetUserInfoClient makes c ask the endpoint, as Config.UserInfoClient does.
func (s *Server) SetUserInfoClient(c *http.Client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.userInfo.client = userInfoClient(c)
}

// SetUserInfo makes migrate calls ask f, in place of the endpoint at the
// UserInfo URL, for the email of the bearer of a token. An error, or no email,
// is answered migrate_from_external_unexpected_response. Calls may ask f at the
// same time. Nil undoes it.
func (s *Server) SetUserInfo(f func(ctx context.Context, token string) (email string, err error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.userInfo.hook = f
}

// Accept makes migrate calls take token for that of the person with the email,
// without asking anyone; other tokens are asked about as before. It does not
// matter whether a user has the email.
func (s *Server) Accept(token, email string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.userInfo.accepted == nil {
		s.userInfo.accepted = make(map[string]string)
	}
	s.userInfo.accepted[token] = email
}

var errNoEmail = errors.New("stytchtest: no email for the token")

// whose finds the email of the bearer of a call's legacy token.
func (s *Server) whose(ctx context.Context, c *Call) (string, *apiError) {
	s.mu.Lock()
	email, accepted := s.userInfo.accepted[c.SessionToken]
	info := s.userInfo // its map is not looked at any more
	s.mu.Unlock()

	var err error
	switch {
	case accepted:
	case info.hook != nil:
		email, err = info.hook(ctx, c.SessionToken)
	case info.url != "":
		email, err = info.ask(ctx, c.SessionToken)
	case len(info.accepted) > 0:
		// The test says by Accept which tokens are good; this one is not.
	default:
		return "", &apiError{400, "migrate_from_external_missing_userinfo", "No UserInfo URL is configured for the project."}
	}
	if err == nil && email == "" {
		err = errNoEmail
	}
	if err != nil {
		s.mu.Lock()
		c.UserInfoErr = err
		s.mu.Unlock()
		return "", &apiError{400, "migrate_from_external_unexpected_response", "The UserInfo endpoint did not return what was expected."}
	}
	return email, nil
}

// ask asks the endpoint as OpenID Connect Core section 5.3 has it.
func (i userInfo) ask(ctx context.Context, token string) (email string, err error) {
	ctx, cancel := context.WithTimeout(ctx, userInfoTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, i.url, nil)
	if err != nil {
		return "", err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Accept", "application/json")
	resp, err := i.client.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	return readUserInfo(resp)
}

// readUserInfo insists on what the provider of an email must say for it to be
// believed, email_verified above all.
func readUserInfo(resp *http.Response) (email string, err error) {
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("stytchtest: UserInfo: status %d", resp.StatusCode)
	}
	if t, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); t != "application/json" {
		return "", fmt.Errorf("stytchtest: UserInfo: content type %q", resp.Header.Get("Content-Type"))
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, userInfoLimit+1))
	if err != nil {
		return "", fmt.Errorf("stytchtest: UserInfo: %w", err)
	}
	if len(body) > userInfoLimit {
		return "", fmt.Errorf("stytchtest: UserInfo: body over %d bytes", userInfoLimit)
	}
	var claims struct {
		Sub           string `json:"sub"`
		Email         string `json:"email"`
		EmailVerified bool   `json:"email_verified"`
	}
	if err := json.Unmarshal(body, &claims); err != nil {
		return "", fmt.Errorf("stytchtest: UserInfo: %w", err)
	}
	if claims.Sub == "" || claims.Email == "" || !claims.EmailVerified {
		return "", errors.New("stytchtest: UserInfo: sub, email and email_verified true are needed")
	}
	return claims.Email, nil
}
