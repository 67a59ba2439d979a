package exchange

import (
	"context"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"example.com/stytchmigrate/internal/background"
	"example.com/stytchmigrate/internal/cache"
	"example.com/stytchmigrate/internal/session"
	"example.com/stytchmigrate/internal/stytch"
)

const (
	maxShadowed = 100_000         // legacy sessions that are remembered as tried out
	maxShadows  = 4               // exchanges at once; what is beyond comes with a later request
	shadowLife  = 5 * time.Minute // of a session that could not be revoked: as short as Stytch lets it be
)

// shadow is what was tried out, and what is being.
type shadows struct {
	done  *lru.Cache[string, struct{}] // keys of legacy sessions
	slots chan struct{}                // one in it for each exchange under way
}

func newShadows() shadows {
	return shadows{done: cache.LRU[string, struct{}](maxShadowed), slots: make(chan struct{}, maxShadows)}
}

// Tried is what a legacy session would have come to.
type ShadowResult struct {
	Err     error // ErrAnotherPerson, with UserID, or why there would be no session
	Took    time.Duration
	UserID  string // of another person
	NotSent bool   // nothing was sent, for want of what is needed
}

// TryOut exchanges a legacy session for nobody, apart from the request, unless that
// was done before or there is no room. Only the preparation is the request's.
func (m *Exchanger) Shadow(ctx context.Context, l *Legacy, prepare Prepare, tell func(context.Context, ShadowResult)) {
	s := &m.shadows
	if s.done.Contains(l.Key) || m.refused(l.Key) != nil || !m.Limiter.HasRoom() {
		return
	}
	in, err := prepare()
	if err == nil && in.Token == "" {
		in.Token, err = m.Mint(l.Identity)
	}
	if err != nil {
		if again, _ := s.done.ContainsOrAdd(l.Key, struct{}{}); !again {
			tell(ctx, ShadowResult{Err: err, NotSent: true})
		}
		return
	}
	select {
	case s.slots <- struct{}{}:
	default:
		return
	}
	again, _ := s.done.ContainsOrAdd(l.Key, struct{}{})
	if again || !m.Limiter.Take() {
		if !again {
			s.done.Remove(l.Key)
		}
		<-s.slots
		return
	}
	in.Minutes = session.Minutes(shadowLife)
	ctx = context.WithoutCancel(ctx)
	background.Go(func() {
		defer func() { <-s.slots }()
		tell(ctx, m.shadow(ctx, l, in))
	})
}

// compare makes the exchange, gives its session up at once, and tells if it was
// another person's. What can't be told is tried again.
func (m *Exchanger) shadow(ctx context.Context, l *Legacy, in stytch.ExchangeRequest) ShadowResult {
	asking, cancel := context.WithTimeout(ctx, m.Timeout)
	defer cancel()
	began := time.Now()
	out, err := m.API.Exchange(asking, in)
	took := time.Since(began)
	if err != nil {
		if x := failed(err); x.Answer != stytch.No {
			if !x.until.IsZero() { // a no would hold up who moves in the stage that comes next
				m.refusals.Add(l.Key, x)
			}
			m.shadows.done.Remove(l.Key)
		}
		return ShadowResult{Err: err, Took: took}
	}
	revoking, stop := context.WithTimeout(ctx, m.Timeout)
	defer stop()
	m.revokeToken(revoking, out.Token)
	if out.User.Accepts(l.Identity) {
		return ShadowResult{Took: took}
	}
	return ShadowResult{Err: ErrAnotherPerson, Took: took, UserID: out.UserID}
}
