package mistakes

import (
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
)

// wrongAfter is after how many different values of a cookie, all of them no session, its
// name or its keys are wrong. A site may give the cookie to each visitor, too. So the first
// value with a session in it ends the count for good.
const wrongAfter = 20

// Cookies judges the legacy cookies by the values that come. Make it with [NewCookies]. It
// is safe for concurrent use.
type Cookies struct {
	names  []string // by entry of Config.Legacy
	values []values // by entry; of several with one name the first one's is used
	seed   maphash.Seed
}

// values is what came under one name.
type values struct {
	decided atomic.Bool // nothing is counted any more

	mu   sync.Mutex
	seen map[uint64]struct{} // hashes of the values that were no session
}

// NewCookies returns Cookies for the entries of Config.Legacy, by their names.
func NewCookies(names []string) *Cookies {
	return &Cookies{names: names, values: make([]values, len(names)), seed: maphash.MakeSeed()}
}

// of returns the values of an entry's name. Entries of one name read one cookie, in the
// formats of before and after a change of the application: one of them may hardly see a
// session.
func (c *Cookies) of(entry int) *values { return &c.values[slices.Index(c.names, c.names[entry])] }

// Decided reports whether more values of an entry say nothing.
func (c *Cookies) Decided(entry int) bool { return c.of(entry).decided.Load() }

// Good notes that a value of an entry has a session in it, or is a visitor's for sure.
func (c *Cookies) Good(entry int) {
	if v := c.of(entry); !v.decided.Load() {
		v.decided.Store(true)
	}
}

// Bad notes that a value is no session, by every entry of the name. It returns true with
// the value that is enough.
func (c *Cookies) Bad(entry int, value string) (wrong bool) {
	v := c.of(entry)
	if v.decided.Load() {
		return false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.seen == nil {
		v.seen = make(map[uint64]struct{}, wrongAfter)
	}
	v.seen[maphash.String(c.seed, value)] = struct{}{}
	return len(v.seen) >= wrongAfter && v.decided.CompareAndSwap(false, true)
}
