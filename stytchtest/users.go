package stytchtest

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// User is a person in the project. The zero value is an active user without an
// email, a name or a factor. Users given to and got from a [Server] are copies.
type User struct {
	ID         string // empty: AddUser makes one
	ExternalID string
	Emails     []Email

	FirstName, MiddleName, LastName string

	// What the user can sign in with, besides a link sent to an email. Each
	// that is set shows in the answers as one registration.
	PhoneNumber  string // verified
	OAuth        string // provider type, such as Google
	HasPassword  bool
	HasPasskey   bool
	HasTOTP      bool
	HasBiometric bool
	HasWallet    bool

	Roles             []string // nil means stytch_user alone
	Pending           bool     // status pending in place of active
	Locked            bool
	TrustedMetadata   map[string]any // JSON values
	UntrustedMetadata map[string]any // JSON values
	CreatedAt         time.Time      // zero: AddUser takes the server's time
}

// Email is an address of a user.
type Email struct {
	ID       string // empty: AddUser makes one
	Email    string
	Verified bool
}

// Person returns a user with one verified email, for AddUser.
func Person(email string) User {
	return User{Emails: []Email{{Email: email, Verified: true}}}
}

func (u User) clone() User {
	u.Emails = slices.Clone(u.Emails)
	u.Roles = slices.Clone(u.Roles)
	u.TrustedMetadata = cloneJSON(u.TrustedMetadata)
	u.UntrustedMetadata = cloneJSON(u.UntrustedMetadata)
	return u
}

// AddUser adds u and returns it with its ids filled in. It panics if another
// user has the id, the external id, the phone number or one of the emails already:
// a test that adds a person twice has a mistake in it.
func (s *Server) AddUser(u User) User {
	u, conflict := s.addUser(u)
	if conflict != "" {
		panic("stytchtest: AddUser: " + conflict)
	}
	return u
}

// addUser adds u unless it is in conflict with another user, and says which
// error Stytch has for that.
func (s *Server) addUser(u User) (_ User, conflict string) {
	u = u.clone()
	if u.ID == "" {
		u.ID = s.newID("user")
	}
	for i := range u.Emails {
		if u.Emails[i].ID == "" {
			u.Emails[i].ID = s.newID("email")
		}
	}
	if u.Roles == nil {
		u.Roles = []string{"stytch_user"}
	}
	if u.CreatedAt.IsZero() {
		u.CreatedAt = s.now()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if conflict := s.userConflict(u); conflict != "" {
		return User{}, conflict
	}
	added := u.clone()
	s.users = append(s.users, &added)
	return u, ""
}

// userConflict needs mu.
func (s *Server) userConflict(u User) string {
	if s.findUser(u.ID) != nil {
		return "duplicate_user_id"
	}
	if u.ExternalID != "" && s.findUser(u.ExternalID) != nil {
		return "duplicate_external_id"
	}
	for _, x := range s.users {
		if u.PhoneNumber != "" && x.PhoneNumber == u.PhoneNumber {
			return "duplicate_phone_number"
		}
	}
	for _, e := range u.Emails {
		if s.findEmail(e.Email) != nil {
			return "duplicate_email"
		}
	}
	return ""
}

// findUser finds a user by id or external id; nil if there is none. It needs mu.
func (s *Server) findUser(id string) *User {
	for _, u := range s.users {
		if id != "" && (u.ID == id || u.ExternalID == id) {
			return u
		}
	}
	return nil
}

// findEmail finds a user by email, verified or not, without regard to the case
// of ASCII letters alone: Unicode folding would make a Kelvin sign a k, and two
// people one. It needs mu.
func (s *Server) findEmail(email string) *User {
	email = lowerASCII(email)
	for _, u := range s.users {
		for _, e := range u.Emails {
			if lowerASCII(e.Email) == email {
				return u
			}
		}
	}
	return nil
}

func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// User returns the user with the id or external id.
func (s *Server) User(id string) (User, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.findUser(id); u != nil {
		return u.clone(), true
	}
	return User{}, false
}

// Users returns all users in the order of their creation.
func (s *Server) Users() []User {
	s.mu.Lock()
	defer s.mu.Unlock()
	users := make([]User, len(s.users))
	for i, u := range s.users {
		users[i] = u.clone()
	}
	return users
}

// UpdateUser changes the user with the id by change, which must not use the
// server. It panics if there is no such user.
func (s *Server) UpdateUser(id string, change func(*User)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.findUser(id)
	if u == nil {
		panic("stytchtest: UpdateUser: no such user: " + id)
	}
	changed := u.clone()
	change(&changed)
	*u = changed.clone()
}

// RemoveUser removes the user with the id, if there is one, and the user's
// sessions.
func (s *Server) RemoveUser(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.findUser(id)
	if u == nil {
		return
	}
	s.users = slices.DeleteFunc(s.users, func(x *User) bool { return x == u })
	s.sessions = slices.DeleteFunc(s.sessions, func(x *session) bool { return x.UserID == u.ID })
}

// wire is u as the API shows it. Ids of factors are made from the user's,
// so that they are the same in each answer.
func (u User) wire() object {
	suffix := strings.TrimPrefix(u.ID, "user-") // test-<uuid>
	o := object{
		"user_id": u.ID, "status": "active", "is_locked": u.Locked,
		"emails": []any{}, "phone_numbers": []any{}, "webauthn_registrations": []any{},
		"providers": []any{}, "totps": []any{}, "crypto_wallets": []any{}, "biometric_registrations": []any{},
		"name":             object{"first_name": u.FirstName, "middle_name": u.MiddleName, "last_name": u.LastName},
		"roles":            append([]string{}, u.Roles...),
		"trusted_metadata": objectOf(u.TrustedMetadata), "untrusted_metadata": objectOf(u.UntrustedMetadata),
		"created_at":  u.CreatedAt.UTC().Format(time.RFC3339),
		"external_id": nil, "password": nil, "lock_created_at": nil, "lock_expires_at": nil,
	}
	emails := make([]any, len(u.Emails))
	for i, e := range u.Emails {
		emails[i] = object{"email_id": e.ID, "email": e.Email, "verified": e.Verified}
	}
	o["emails"] = emails
	if u.Pending {
		o["status"] = "pending"
	}
	if u.ExternalID != "" {
		o["external_id"] = u.ExternalID
	}
	if u.Locked {
		o["lock_created_at"] = u.CreatedAt.UTC().Format(time.RFC3339)
		o["lock_expires_at"] = u.CreatedAt.UTC().AddDate(100, 0, 0).Format(time.RFC3339)
	}
	maps.Copy(o, u.wireFactors(suffix))
	return o
}

// wireFactors is the part of wire about what u can sign in with.
func (u User) wireFactors(suffix string) object {
	o := object{}
	if u.HasPassword {
		o["password"] = object{"password_id": "password-" + suffix, "requires_reset": false}
	}
	if u.PhoneNumber != "" {
		o["phone_numbers"] = []any{object{"phone_id": "phone-number-" + suffix, "phone_number": u.PhoneNumber, "verified": true}}
	}
	if u.HasPasskey {
		o["webauthn_registrations"] = []any{object{
			"webauthn_registration_id": "webauthn-registration-" + suffix, "domain": "example.com",
			"user_agent": "", "verified": true, "authenticator_type": "platform", "name": "a passkey",
		}}
	}
	if u.OAuth != "" {
		o["providers"] = []any{object{
			"provider_type": u.OAuth, "provider_subject": suffix, "profile_picture_url": "", "locale": "",
			"oauth_user_registration_id": "oauth-user-" + suffix,
		}}
	}
	if u.HasTOTP {
		o["totps"] = []any{object{"totp_id": "totp-" + suffix, "verified": true}}
	}
	if u.HasBiometric {
		o["biometric_registrations"] = []any{object{"biometric_registration_id": "biometric-registration-" + suffix, "verified": true}}
	}
	if u.HasWallet {
		o["crypto_wallets"] = []any{object{
			"crypto_wallet_id": "crypto-wallet-" + suffix, "crypto_wallet_address": "0x" + suffix,
			"crypto_wallet_type": "ethereum", "verified": true,
		}}
	}
	return o
}
