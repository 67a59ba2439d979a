package stytchtest

import (
	"net/mail"
	"regexp"
)

var (
	externalIDShape = regexp.MustCompile(`^[A-Za-z0-9._|-]{1,128}$`)
	phoneShape      = regexp.MustCompile(`^\+[1-9][0-9]{1,14}$`)
)

// serveCreateUser adds a user. The email counts as unverified until the user has
// proved it, which the stand-in has no means for; UpdateUser does.
func (s *Server) serveCreateUser(c *Call) answer {
	str := func(name string) string { v, _ := c.Body[name].(string); return v }
	if err := firstError(
		checkStrings(c.Body, "email", "phone_number", "external_id"),
		checkIdentifiers(str("email"), str("phone_number"), str("external_id")),
	); err != nil {
		return c.fail(err)
	}
	u := User{ExternalID: str("external_id"), PhoneNumber: str("phone_number")}
	if email := str("email"); email != "" {
		u.Emails = []Email{{Email: email}}
	}
	name, _ := c.Body["name"].(map[string]any)
	u.FirstName, _ = name["first_name"].(string)
	u.MiddleName, _ = name["middle_name"].(string)
	u.LastName, _ = name["last_name"].(string)
	u.Pending, _ = c.Body["create_user_as_pending"].(bool)
	u.TrustedMetadata, _ = c.Body["trusted_metadata"].(map[string]any)
	u.UntrustedMetadata, _ = c.Body["untrusted_metadata"].(map[string]any)
	u, conflict := s.addUser(u)
	if conflict != "" {
		return c.fail(&apiError{400, conflict, "A user with that email, phone number or external id exists already."})
	}
	wire := u.wire()
	body := object{"user_id": u.ID, "email_id": "", "phone_id": "", "status": wire["status"], "user": wire}
	if len(u.Emails) > 0 {
		body["email_id"] = u.Emails[0].ID
	}
	if u.PhoneNumber != "" {
		body["phone_id"] = wire["phone_numbers"].([]any)[0].(object)["phone_id"]
	}
	return c.succeed(body)
}

func checkIdentifiers(email, phone, externalID string) *apiError {
	if email == "" && phone == "" {
		return badRequest("An email or a phone_number is required.")
	}
	if email != "" {
		// An address alone: "Jane <jane@example.com>" is none.
		if a, err := mail.ParseAddress(email); err != nil || a.Address != email {
			return &apiError{400, "invalid_email", "The email is no address."}
		}
	}
	if phone != "" && !phoneShape.MatchString(phone) {
		return &apiError{400, "invalid_phone_number", "The phone_number is not of the form of E.164."}
	}
	if externalID != "" && !externalIDShape.MatchString(externalID) {
		return &apiError{400, "invalid_external_id", "The external_id has a character that is not allowed, or too many."}
	}
	return nil
}

// serveGetUser answers the user's members beside request_id, not under "user".
func (s *Server) serveGetUser(c *Call, id string) answer {
	u, ok := s.User(id)
	if !ok {
		return c.fail(&apiError{404, "user_not_found", "There is no such user."})
	}
	return c.succeed(u.wire())
}

// serveListSessions answers the live sessions of a user, all in one answer.
func (s *Server) serveListSessions(c *Call) answer {
	if c.UserID == "" {
		return c.fail(badRequest("user_id is required."))
	}
	u, ok := s.User(c.UserID)
	if !ok {
		return c.fail(&apiError{404, "user_not_found", "There is no such user."})
	}
	all := []any{}
	for _, x := range s.Sessions() {
		if x.UserID == u.ID && x.Live {
			all = append(all, s.wireSession(x.ID))
		}
	}
	return c.succeed(object{"sessions": all})
}
