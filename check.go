package stytchmigrate

import (
	"context"

	"example.com/stytchmigrate/internal/check"
)

// Check tries the settings out, and returns nil if all is as it must be. Else the
// error joins a line for each finding: what is wrong, why it matters, and how to
// mend it. What it could not find out is a finding too, and says so. No line holds
// a secret, an email or a URL.
//
// Call it when the application has started to serve, and in the step of a
// deployment that decides whether to go on, on one machine of many; not in each
// request or health check, for it makes up to 3 calls to Stytch, 3 to UserInfoURL
// and 8 to Store. That Stytch can't be reached is an error as well: ask again
// before you take it for a wrong setting. It neither slows down the requests that
// are served meanwhile nor learns from them, makes no user and no session, and ends
// with ctx, or after Config.Timeout.
//
// Calls to Stytch tell whether ProjectID, Secret and BaseURL are right, whether
// session JWTs can be verified, and how far the clocks are apart. If there are
// Tickets, and Legacy is not empty, Stytch is asked to exchange a ticket of
// somebody it can't know: its answer tells whether Stytch got through to the
// UserInfo URL in its dashboard, and whether the machine there has our keys.
//
// If UserInfoURL is set, and Legacy is not empty, Check asks there itself, and so
// can say what is wrong with the endpoint. That it answers here does not mean that
// it does for Stytch.
//
// Of cookies it finds what browsers are going to refuse, as far as the settings
// tell: it knows nothing of the hosts and paths that the application is served at.
// Nor does it call Resolve, SessionClaims, End or OnEvent, or log anything.
func (m *Middleware) Check(ctx context.Context) error {
	return check.Run(ctx, check.Config{
		Client: m.probes, ProjectID: m.cfg.ProjectID, BaseURL: m.cfg.BaseURL, UserInfoURL: m.cfg.UserInfoURL,
		Mint: m.cfg.minter(), Store: m.cfg.Store, Timeout: m.cfg.Timeout,
		Policy: m.cookies, Cookies: m.cfg.Cookies.options(), Legacy: legacyCookies(m.cfg.Legacy), SessionDuration: m.cfg.SessionDuration,
	})
}
