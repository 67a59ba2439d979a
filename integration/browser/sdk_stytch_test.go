package browser

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"time"

	"example.com/stytchmigrate/stytchtest"
)

// serveSDK is the part of Stytch that its browser SDK talks to, under /sdk/v1. No
// public text describes it: this is what version 6.3.0 of the SDK sends and reads.
func (w *sdkWorld) serveSDK(rw http.ResponseWriter, r *http.Request) {
	allowScripts(rw.Header(), r.Header.Get("Origin"))
	if r.Method == http.MethodOptions {
		return
	}
	w.note(r)
	switch path := strings.TrimPrefix(r.URL.Path, "/sdk/v1"); path {
	case "/sessions/authenticate", "/sessions/revoke":
		w.session(rw, r, path)
	case "/passwords/authenticate":
		w.password(rw, r)
	case "/projects/bootstrap/public-token-test-1":
		answerSDK(rw, http.StatusOK, bootstrap())
	default: // events
		answerSDK(rw, http.StatusOK, map[string]any{})
	}
}

// allowScripts lets the pages of an origin send what the SDK sends.
func allowScripts(h http.Header, origin string) {
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Allow-Credentials", "true")
	h.Set("Access-Control-Allow-Headers", "authorization, content-type, x-sdk-client, x-sdk-parent-host")
}

// bootstrap is what the SDK asks about the project at each start.
func bootstrap() map[string]any {
	return map[string]any{
		"project_name": "Application", "vertical": "CONSUMER", "password_config": nil,
		"captcha_settings": map[string]any{"enabled": false},
		"rbac_policy":      map[string]any{"roles": []any{}, "resources": []any{}, "scopes": []any{}},
	}
}

func (w *sdkWorld) note(r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if line := r.Method + " " + r.Host + r.URL.Path; !slices.Contains(w.asked, line) {
		w.asked = append(w.asked, line)
	}
}

// answerSDK writes what the SDK unwraps: data, where all is well.
func answerSDK(rw http.ResponseWriter, status int, body map[string]any) {
	if status == http.StatusOK {
		body = map[string]any{"data": body}
	}
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(status)
	_ = json.NewEncoder(rw).Encode(body)
}

// session passes a call on to the API that servers use. The token is the password
// of the Authorization header, or else in the custom domain's own cookie.
func (w *sdkWorld) session(rw http.ResponseWriter, r *http.Request, path string) {
	token := sdkBearer(r)
	if token == "" {
		answerSDK(rw, http.StatusUnauthorized, map[string]any{"status_code": 401, "error_type": "user_unauthenticated"})
		return
	}
	body := map[string]any{}
	_ = json.NewDecoder(r.Body).Decode(&body) // a revocation has none
	body["session_token"] = token
	status, out := w.call("/v1"+path, body)
	w.keepSecret(rw, r, status, out)
	answerSDK(rw, status, out)
}

func sdkBearer(r *http.Request) string {
	public, token, _ := r.BasicAuth()
	if token != public {
		return token
	}
	if c, err := r.Cookie("stytch_session"); err == nil && r.Host == sdkDomain {
		return c.Value
	}
	return ""
}

// call is a call to the stand-in by the project itself.
func (w *sdkWorld) call(path string, body map[string]any) (int, map[string]any) {
	raw, _ := json.Marshal(body)
	r := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(raw))
	r.Header.Set("Content-Type", "application/json")
	r.SetBasicAuth(w.stytch.ProjectID, w.stytch.Secret)
	rec := httptest.NewRecorder()
	w.stytch.ServeHTTP(rec, r)
	out := map[string]any{}
	_ = json.NewDecoder(rec.Body).Decode(&out)
	if user, ok := out["user"].(map[string]any); ok {
		out["__user"] = maps.Clone(user)
	}
	return rec.Code, out
}

// keepSecret moves the tokens of an answer into cookies that no script can read,
// as a project does that has HttpOnly cookies switched on.
func (w *sdkWorld) keepSecret(rw http.ResponseWriter, r *http.Request, status int, out map[string]any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.httpOnly || r.Host != sdkDomain || status != http.StatusOK {
		return
	}
	for cookie, member := range map[string]string{"stytch_session": "session_token", "stytch_session_jwt": "session_jwt"} {
		c := &http.Cookie{Name: cookie, Domain: "example.com", Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode, MaxAge: -1}
		if v, ok := out[member].(string); ok { // a revocation answers with none
			c.Value, c.MaxAge, out[member] = v, int(30*24*time.Hour/time.Second), ""
		}
		http.SetCookie(rw, c)
	}
}

// password signs in whoever the SDK names.
func (w *sdkWorld) password(rw http.ResponseWriter, r *http.Request) {
	var in struct{ Email string }
	_ = json.NewDecoder(r.Body).Decode(&in)
	users := w.stytch.Users()
	i := slices.IndexFunc(users, func(u stytchtest.User) bool { return u.Emails[0].Email == in.Email })
	s := w.stytch.NewSession(users[i].ID, 24*time.Hour)
	status, out := w.call("/v1/sessions/authenticate", map[string]any{"session_token": s.Token})
	answerSDK(rw, status, out)
}
