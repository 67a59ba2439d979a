package stytchtest

import (
	"context"
	"time"
)

const (
	minMinutes = 5
	maxMinutes = 366 * 24 * 60
)

// minutes returns session_duration_minutes; false if it is there but is no
// whole number. Zero, and JSON's null, stand for its absence.
func minutes(body map[string]any) (int, bool) {
	v, ok := body["session_duration_minutes"]
	if !ok || v == nil {
		return 0, true
	}
	f, ok := v.(float64)
	return int(f), ok && f == float64(int32(f))
}

func checkMinutes(body map[string]any) *apiError {
	n, ok := minutes(body)
	if _, given := body["session_duration_minutes"].(float64); !given && ok {
		return nil
	}
	if !ok || n < minMinutes || n > maxMinutes {
		return &apiError{400, "invalid_session_duration_minutes", "Session duration must be between 5 and 527040 minutes."}
	}
	return nil
}

// checkStrings refuses members that are there but are no strings.
func checkStrings(body map[string]any, names ...string) *apiError {
	for _, name := range names {
		if v, ok := body[name]; ok && v != nil {
			if _, ok := v.(string); !ok {
				return badRequest(name + " must be a string")
			}
		}
	}
	return nil
}

func firstError(errs ...*apiError) *apiError {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// serveMigrate exchanges a legacy token. A locked user is refused here, and here
// alone: what a lock does to sessions that exist is not described.
func (s *Server) serveMigrate(ctx context.Context, c *Call) answer {
	if err := firstError(
		checkStrings(c.Body, "session_token", "telemetry_id"),
		checkMinutes(c.Body),
		checkClaims(c.Body),
	); err != nil {
		return c.fail(err)
	}
	if c.SessionToken == "" {
		return c.fail(&apiError{400, "missing_session_token", "A session_token is required."})
	}
	email, apiErr := s.whose(ctx, c)
	if apiErr != nil {
		return c.fail(apiErr)
	}
	u, apiErr := s.migratable(email)
	if apiErr != nil {
		return c.fail(apiErr)
	}
	body := object{
		"user_id": u.ID, "user": u.wire(), "session_token": "", "session_jwt": "", "session": nil, "user_device": nil,
	}
	if c.DurationMinutes > 0 {
		made := s.startSession(u.ID, time.Duration(c.DurationMinutes)*time.Minute, c.CustomClaims, object{"type": "imported", "delivery_method": "imported_auth0"})
		body["session_token"], body["session_jwt"] = made.Token, made.JWT
		body["session"] = s.wireSession(made.ID)
	}
	return c.succeed(body)
}

// migratable returns the user with the email.
func (s *Server) migratable(email string) (User, *apiError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.findEmail(email)
	switch {
	case u == nil:
		return User{}, &apiError{404, "migrate_from_external_email_does_not_exist", "No user of the project has the email that the UserInfo endpoint returned."}
	case u.Locked:
		return User{}, &apiError{429, "user_lock_limit_reached", "The user is locked."}
	}
	return u.clone(), nil
}
