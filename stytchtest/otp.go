package stytchtest

import (
	"crypto/rand"
	"fmt"
	"math/big"
	"time"
)

// otpLifetime is how long a code is good for.
const otpLifetime = 10 * time.Minute

// passcode is a one-time code that was sent to an email.
type passcode struct {
	code      string
	expiresAt time.Time
}

// LastCode returns the code that was sent last to an email, and so is what its owner
// would find in their inbox. It is "" if none was sent, or if it was used.
func (s *Server) LastCode(email string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.findEmail(email); u != nil {
		for _, e := range u.Emails {
			if lowerASCII(e.Email) == lowerASCII(email) {
				return s.codes[e.ID].code
			}
		}
	}
	return ""
}

// serveSendOTP sends a code to an email, and makes a user of it first if there is none.
// Nothing is sent anywhere: LastCode returns the code.
func (s *Server) serveSendOTP(c *Call) answer {
	email, _ := c.Body["email"].(string)
	if err := firstError(checkStrings(c.Body, "email"), checkIdentifiers(email, "", "")); err != nil {
		return c.fail(err)
	}
	// A conflict means that there is a user by now: two calls may come at once.
	_, conflict := s.addUser(User{Emails: []Email{{Email: email}}})
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.findEmail(email)
	if u == nil {
		return c.fail(&apiError{404, "email_not_found", "The user was removed in between."})
	}
	if u.Locked {
		return c.fail(&apiError{429, "user_lock_limit_reached", "The user is locked."})
	}
	id := ""
	for _, e := range u.Emails {
		if lowerASCII(e.Email) == lowerASCII(email) {
			id = e.ID
		}
	}
	if s.codes == nil {
		s.codes = make(map[string]passcode)
	}
	s.codes[id] = passcode{newCode(), now.Add(otpLifetime)}
	return c.succeed(object{"user_id": u.ID, "email_id": id, "user_created": conflict == ""})
}

// newCode returns six random digits.
func newCode() string {
	n, err := rand.Int(rand.Reader, big.NewInt(1_000_000))
	if err != nil { // crypto/rand ends the program instead
		panic(err)
	}
	return fmt.Sprintf("%06d", n)
}

// serveAuthenticateOTP signs the owner of an email in by a code. It makes a session if
// it is told how long that is to last.
func (s *Server) serveAuthenticateOTP(c *Call) answer {
	if err := firstError(
		checkStrings(c.Body, "method_id", "code", "session_token", "session_jwt"),
		checkMinutes(c.Body),
		checkClaims(c.Body),
	); err != nil {
		return c.fail(err)
	}
	methodID, _ := c.Body["method_id"].(string)
	code, _ := c.Body["code"].(string)
	u, factor, apiErr := s.useCode(methodID, code)
	if apiErr != nil {
		return c.fail(apiErr)
	}
	body := object{
		"user_id": u.ID, "user": u.wire(), "method_id": methodID, "session_token": "", "session_jwt": "", "session": nil,
		"reset_sessions": false, "user_device": nil,
	}
	if c.DurationMinutes > 0 {
		made := s.startSession(u.ID, time.Duration(c.DurationMinutes)*time.Minute, c.CustomClaims, factor)
		body["session_token"], body["session_jwt"] = made.Token, made.JWT
		body["session"] = s.wireSession(made.ID)
	}
	return c.succeed(body)
}

// useCode takes the code of an email, which is good once, and marks the email as verified.
func (s *Server) useCode(methodID, code string) (User, object, *apiError) {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	sent, ok := s.codes[methodID]
	if !ok || !now.Before(sent.expiresAt) {
		return User{}, nil, &apiError{404, "otp_code_not_found", "No code was sent, or it has expired or was used."}
	}
	if code == "" || code != sent.code {
		return User{}, nil, &apiError{401, "unable_to_auth_otp_code", "The code is wrong."}
	}
	delete(s.codes, methodID)
	for _, u := range s.users {
		for i, e := range u.Emails {
			if e.ID == methodID {
				u.Emails[i].Verified = true
				factor := object{
					"type": "otp", "delivery_method": "email",
					"email_factor": object{"email_id": e.ID, "email_address": e.Email},
				}
				return u.clone(), factor, nil
			}
		}
	}
	return User{}, nil, &apiError{404, "otp_code_not_found", "The user was removed in between."}
}
