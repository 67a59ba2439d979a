package client

import (
	"sync"
	"time"

	"example.com/stytchmigrate/internal/stytch"
)

// sayAgain is the time between two log lines about one wrong setting.
const sayAgain = time.Minute

// refusals remembers which settings were reported as wrong, and which operations Stytch
// refuses because of one. Settings and operations are few. The zero value is empty.
type refusals struct {
	mu      sync.Mutex
	said    map[string]time.Time // by setting, guarded by mu
	refused map[stytch.Op]string // the setting, guarded by mu
}

// isNews reports whether a wrong setting is to be reported: the first time, and once a
// minute. ofProject means that Stytch refuses the operation until the setting is right.
func (r *refusals) isNews(op stytch.Op, setting string, ofProject bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.said == nil {
		r.said, r.refused = map[string]time.Time{}, map[stytch.Op]string{}
	}
	if ofProject {
		r.refused[op] = setting
	}
	now := time.Now()
	if at, said := r.said[setting]; said && now.Sub(at) < sayAgain {
		return false
	}
	r.said[setting] = now
	return true
}

// end returns the setting because of which an operation was refused until now, or "".
func (r *refusals) end(op stytch.Op) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	setting := r.refused[op]
	delete(r.refused, op)
	return setting
}
