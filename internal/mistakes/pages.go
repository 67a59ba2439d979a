package mistakes

import (
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"example.com/stytchmigrate/internal/cache"
)

const (
	// sameBurst is for what a page fetches besides: a browser may have sent all of it
	// before the first response came.
	sameBurst = time.Second

	maxSessions = 4096 // strangers can't fill it: each is a session that moved
)

// Pages counts the pages, in a row, whose response changed cookies that the browser's next
// request shows to be as before. One such page may have been lost to a connection that
// broke off. Make it with [NewPages]. It is safe for concurrent use.
//
// It finds browsers that do not keep the cookies that they are given: such a browser brings
// its legacy cookie alone again, and is given the same Stytch session with each page. And it
// finds cookies that come again after their deletion.
type Pages struct {
	enough int

	mu     sync.Mutex // makes a look and a change one step
	counts *lru.Cache[string, count]
}

type count struct {
	pages int
	last  time.Time
}

// NewPages returns Pages with an empty memory. enough is how many pages in a row tell
// something.
func NewPages(enough int) *Pages {
	return &Pages{enough: enough, counts: cache.LRU[string, count](maxSessions)}
}

// Of returns how many pages there were for a session. Ask when a request comes, before it
// waits for anything, and give the answer to [Pages.Given].
func (p *Pages) Of(key string) int {
	c, _ := p.counts.Get(key)
	return c.pages
}

// Given notes that a response has changed the cookies again. before is what [Pages.Of] said
// when the request came: requests that were under way at the same time are one page, as
// several tabs are that a browser restores. fetch says that the response is no document.
// Given returns true with the page that is enough, and not with those after it.
func (p *Pages) Given(key string, before int, fetch bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	c, _ := p.counts.Get(key)
	now := time.Now()
	if c.pages != before || fetch && now.Sub(c.last) < sameBurst {
		return false
	}
	p.counts.Add(key, count{c.pages + 1, now})
	return c.pages+1 == p.enough
}

// Kept notes that a browser has obeyed: a row of pages has ended.
func (p *Pages) Kept(key string) {
	if p.counts.Contains(key) { // as a rule not, and this lock is shared
		p.counts.Remove(key)
	}
}
