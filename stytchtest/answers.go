package stytchtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
)

// object is a JSON object on its way out.
type object = map[string]any

// apiError is an error as the API tells it, but for what is added to each.
type apiError struct {
	status  int
	kind    string // error_type
	message string
}

func badRequest(message string) *apiError {
	return &apiError{400, "bad_request", message}
}

// answer is what an endpoint has decided to say. Nothing of it is written yet.
type answer struct {
	status int
	body   object
}

// succeed completes body to the answer of a call that went well.
func (c *Call) succeed(body object) answer {
	body["request_id"] = c.RequestID
	body["status_code"] = http.StatusOK
	return answer{http.StatusOK, body}
}

// fail makes an error the answer of a call.
func (c *Call) fail(e *apiError) answer {
	return answer{e.status, object{
		"status_code":   e.status,
		"request_id":    c.RequestID,
		"error_type":    e.kind,
		"error_message": e.message,
		"error_url":     fmt.Sprintf("https://stytch.com/docs/api/errors/%d#%s", e.status, e.kind),
	}}
}

// write writes a with a Content-Length, as Stytch's gateway does.
func (a answer) write(w http.ResponseWriter) {
	body := mustJSON(a.body)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(a.status)
	w.Write(body)
}

// mustJSON encodes what the server itself has built, or a test's Mutate.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("stytchtest: no JSON: " + err.Error())
	}
	return b
}

// objectOf is m as an answer shows it: {} if there is nothing in it.
func objectOf(m map[string]any) object {
	if m == nil {
		return object{}
	}
	return cloneJSON(m)
}
