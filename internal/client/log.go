package client

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"example.com/stytchmigrate/internal/stytch"
)

// LogError writes one line for a call that failed, with Stytch's request_id. It does
// nothing if err is no *stytch.CallError.
//
//   - Debug: the call was held back, or a setting was wrong that was logged less than a
//     minute ago. There may be thousands of them a second.
//   - Info: Stytch said no, for a reason that is expected every day.
//   - Warn: Stytch did not answer, or said no for a reason that may be a wrong setting.
//   - Error: a setting of the application is wrong.
func (c *Client) LogError(ctx context.Context, op stytch.Op, took time.Duration, err error) {
	call := stytch.AsCall(err)
	if call == nil {
		return
	}
	level := slog.LevelWarn
	attrs := []slog.Attr{slog.String("op", string(op)), slog.Duration("duration", took)}
	if call.HeldBack() {
		level = slog.LevelDebug
	}
	if call.API == nil {
		attrs = append(attrs, slog.String("reason", call.Reason))
	} else {
		attrs = append(attrs, slog.Int("status_code", call.API.Status),
			slog.String("error_type", call.API.Type), slog.String("request_id", call.API.RequestID))
		var setting string
		if level, setting = c.severity(op, call.API); setting != "" {
			attrs = append(attrs, slog.String("setting", setting))
		}
		if level == slog.LevelError && !c.refusals.isNews(op, setting, call.API.RefusesProject()) {
			level = slog.LevelDebug
		}
		if call.API.Type == "" {
			attrs = append(attrs, slog.String("reason", between(call.API.Status)))
		}
	}
	c.Log.LogAttrs(ctx, level, "stytchmigrate: call to Stytch failed", attrs...)
}

// logAccepted writes one line when Stytch accepts an operation that it refused because
// of the project or its credentials.
func (c *Client) logAccepted(ctx context.Context, op stytch.Op, err error) {
	if call := stytch.AsCall(err); call != nil && (call.API == nil || call.API.Type == "" || call.API.Setting() != "" || call.API.Status >= 500) {
		return
	}
	if setting := c.refusals.end(op); setting != "" {
		c.Log.LogAttrs(ctx, slog.LevelInfo, "stytchmigrate: Stytch accepts calls again", slog.String("op", string(op)), slog.String("setting", setting))
	}
}

// between says where an answer comes from that is not in the form of Stytch's errors.
func between(status int) string {
	if status == http.StatusProxyAuthRequired {
		return "a proxy between here and Stytch asks for credentials"
	}
	return "the answer is not Stytch's: a proxy, a firewall or a gateway between here and Stytch sent it"
}

// severity returns the level of an error that Stytch answered, and the setting that
// the operator should look at.
func (c *Client) severity(op stytch.Op, e *stytch.APIError) (level slog.Level, setting string) {
	meaning := stytch.Interpret(op, e)
	switch {
	case e.Type == stytch.NoUserInfo:
		return slog.LevelWarn, "UserInfo endpoint: Check says what is wrong with it"
	case meaning == stytch.NoUser && !c.CreatesUsers:
		return slog.LevelWarn, "import of users, or Config.CreateUsers"
	case meaning == stytch.Unclear && e.Setting() != "":
		return slog.LevelError, e.Setting()
	case meaning == stytch.Unclear, meaning == stytch.UnlistedNo:
		return slog.LevelWarn, ""
	}
	return slog.LevelInfo, ""
}
