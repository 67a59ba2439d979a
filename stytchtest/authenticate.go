package stytchtest

import "time"

var errSessionNotFound = &apiError{404, "session_not_found", "There is no such session, or it has ended."}

// serveAuthenticate looks a session up by its token or by a JWT of it, and
// extends it if asked to: to so many minutes from now, even if that is sooner
// than it would have ended. authorization_check is not evaluated.
func (s *Server) serveAuthenticate(c *Call) answer {
	if err := firstError(
		checkStrings(c.Body, "session_token", "session_jwt"),
		checkMinutes(c.Body),
		checkClaims(c.Body),
	); err != nil {
		return c.fail(err)
	}
	x, apiErr := s.lookUp(c)
	if apiErr != nil {
		return c.fail(apiErr)
	}
	u, apiErr := s.touch(x, c)
	if apiErr != nil {
		return c.fail(apiErr)
	}
	return c.succeed(object{
		"session_token": x.Token, // fixed, so mu is not needed
		"session_jwt":   s.mint(x),
		"session":       s.wireSession(x.ID),
		"user":          u.wire(),
	})
}

// serveRevoke ends a session. One that has ended already is not found.
func (s *Server) serveRevoke(c *Call) answer {
	if err := checkStrings(c.Body, "session_id", "session_token", "session_jwt"); err != nil {
		return c.fail(err)
	}
	x, apiErr := s.lookUp(c)
	if apiErr != nil {
		return c.fail(apiErr)
	}
	s.mu.Lock()
	x.Revoked = true
	s.mu.Unlock()
	return c.succeed(object{})
}

// lookUp finds the live session that a request means by exactly one of its
// token, its JWT and, to revoke it, its id.
func (s *Server) lookUp(c *Call) (*session, *apiError) {
	id := ""
	if c.Op == Revoke {
		id = c.SessionID
	}
	given := 0
	for _, v := range []string{c.SessionToken, c.SessionJWT, id} {
		if v != "" {
			given++
		}
	}
	switch {
	case given == 0:
		return nil, &apiError{400, "no_session_arguments", "A session_token or a session_jwt is required."}
	case given > 1 && c.Op == Revoke:
		return nil, &apiError{400, "too_many_session_revoke_arguments", "Only one way to name the session may be used."}
	case given > 1:
		return nil, &apiError{400, "too_many_session_arguments", "Only one of session_token and session_jwt may be given."}
	case c.SessionToken != "" && !tokenShape.MatchString(c.SessionToken):
		return nil, &apiError{400, "invalid_session_token", "The session_token is malformed."}
	case c.SessionToken != "":
		return s.live(func(x *session) bool { return x.Token == c.SessionToken })
	case id != "":
		return s.live(func(x *session) bool { return x.ID == id })
	}
	userID, id, err := s.parseJWT(c.SessionJWT)
	if err != nil {
		return nil, err
	}
	return s.live(func(x *session) bool { return x.ID == id && x.UserID == userID })
}

func (s *Server) live(is func(*session) bool) (*session, *apiError) {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := s.findSession(is); x != nil && x.liveAt(now) {
		return x, nil
	}
	return nil, errSessionNotFound
}

// touch applies to x what an authenticate call changes, all of it or nothing.
func (s *Server) touch(x *session, c *Call) (User, *apiError) {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.findUser(x.UserID)
	if u == nil || x.Revoked {
		return User{}, errSessionNotFound
	}
	claims := mergeClaims(x.CustomClaims, c.CustomClaims)
	if err := claimsSize(claims); err != nil {
		return User{}, err
	}
	x.CustomClaims, x.LastAccessedAt = claims, now
	if c.DurationMinutes > 0 {
		x.ExpiresAt = now.Add(time.Duration(c.DurationMinutes) * time.Minute)
	}
	return u.clone(), nil
}
